"""How stale replayed states are: delta-Q, the measure of the R2D2 paper.

The state that a replayed sequence is trained from was made by older weights. Staleness compares the Q-values that
today's weights give from it (after burn-in) with those they give from the state which they reach by playing the
episode from its start.

Source: Kapturowski et al. (ICLR 2019), section 3, "delta Q".
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from r2d2.burn_in import burn_in
from r2d2.network import RecurrentQNetwork
from r2d2.replay.batch import Batch, Inputs


class Staleness(NamedTuple):
    """Delta-Q of each sequence, float32[B]: distance of the Q-values over the largest of them."""

    first: NDArray[np.float32]
    """At the first trained step."""
    last: NDArray[np.float32]
    """At the last trained step."""


def staleness(network: RecurrentQNetwork, batch: Batch, played: Inputs, played_length: Any) -> Staleness:
    """Delta-Q of the sequences of ``batch``, as its stored states and burn-in leave them.

    For a trained step with Q-values ``q_hat`` from the replayed state and ``q`` from the state that today's weights
    reach by playing the episode from its start:

        delta_Q = ||q_hat - q||_2 / max_a |q_hat_a|

    Args:
        network: today's weights.
        batch: sequences of the replay.
        played: their episodes' steps before the first trained one, ``[B, time, ...]``, right-padded.
        played_length: int32[B], how many; 0 for a sequence that starts its episode.
    """
    replayed = burn_in(network, _tensors(batch.state), _tensors(batch.prefix), tf.constant(batch.prefix_length))
    initial = network.initial_state(len(batch.keys))
    today = burn_in(network, initial, _tensors(played), tf.constant(played_length))
    unroll = _tensors(batch.unroll)
    q_hat = network.unroll(unroll, replayed, with_gradient=False)[0].numpy()
    q = network.unroll(unroll, today, with_gradient=False)[0].numpy()
    distance = np.linalg.norm(q_hat - q, axis=-1) / np.maximum(np.abs(q_hat).max(axis=-1), 1e-12)
    return Staleness(distance[:, 0], distance[np.arange(len(distance)), batch.train_length - 1])


def _tensors(tree: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, tree)
