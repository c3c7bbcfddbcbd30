"""Burn-in: from a stored state, over a prefix of real steps, to a state that today's weights would have.

Source: Kapturowski et al. (ICLR 2019), section 3: "burn-in" with stored states.
"""

from typing import Any

import tensorflow as tf

from r2d2.cores import State
from r2d2.network import RecurrentQNetwork
from r2d2.replay.batch import Inputs


def burn_in(network: RecurrentQNetwork, state: State, prefix: Inputs, lengths: Any) -> State:
    """The state after each row's prefix, with no gradient to anything read on the way.

    Args:
        network: warms itself with its own weights; call once for the online and once for the target network.
        state: stored states, ``[batch, ...]``.
        prefix: ``[batch, time, ...]``, right-padded; time may be 0.
        lengths: int32[batch], steps of each row's prefix, 0 to time. A row without a prefix keeps its state.
    """
    stored = tuple(tf.convert_to_tensor(part) for part in state)
    if prefix.previous_action.shape[1] == 0:
        warm = stored
    else:
        # Keras's recurrent layers need a step to run; whether there is one may be known only when the graph runs.
        warm = tf.cond(
            tf.shape(prefix.previous_action)[1] > 0,
            lambda: network.advance(prefix, stored, lengths),
            lambda: stored,
        )
    return tuple(tf.stop_gradient(part) for part in warm)
