"""How many threads TensorFlow uses: what is fast for a large network is slow for a small one."""

from agents.config import Config

MOST_UNITS = 96
"""Up to this width, the operations of a recurrent layer are too small to be shared between cores."""


def set_threads(config: Config) -> None:
    """Give each operation of a small network one thread, and run independent operations side by side.

    To be called before TensorFlow computes anything; it keeps its threads from then on.
    """
    import tensorflow as tf

    if max(config.core_units) <= MOST_UNITS:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(2)
