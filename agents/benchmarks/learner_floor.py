"""The limit of any update: its floating-point operations at the rate of one large matrix product."""

import numpy as np

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_work import SIZES

_SIDE = 1024


def prepare(size: str, seconds: float, threads: int) -> Prepared:
    """A product of float32 matrices on ``threads`` threads, and the operations of an update of ``size``.

    The process's environment tells NumPy so: see `agents.benchmarks.learner.THREADS`.
    """
    left, right = np.random.default_rng(0).standard_normal((2, _SIDE, _SIDE), np.float32)
    product = np.zeros((_SIDE, _SIDE), np.float32)
    operations = SIZES[size].operations

    def milliseconds() -> float:
        of_product = seconds_per_call(lambda: np.matmul(left, right, out=product), seconds)
        return 1e3 * operations * of_product / (2 * _SIDE**3)

    return Prepared(
        {"update": milliseconds},
        note=f"{operations / 1e9:.2f} thousand million operations, at NumPy's rate for one product of "
        f"{_SIDE} x {_SIDE} matrices on {threads} {'thread' if threads == 1 else 'threads'}",
    )
