"""How many threads TensorFlow uses: what is fast for a large network is slow for a small one."""

import contextlib

from agents.config import Config

_SMALL = 96
"""Units up to which one thread an operation is the faster way: at 64 by a twentieth, at 128 both are alike."""


def set_threads(config: Config) -> None:
    """Give each operation of a small network one thread, and run independent operations side by side.

    To be called before TensorFlow computes anything; later it changes nothing.
    """
    import tensorflow as tf

    if max(*config.core_units, config.torso_units) <= _SMALL:
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun, and keeps the threads it has
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(2)
