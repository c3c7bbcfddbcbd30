"""What is computed from the rounds of a benchmark: medians, ratios, slopes."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

Better = Literal["higher", "lower"]


class Spread(NamedTuple):
    """The rounds of one subject in one measure."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    """Median and range of ``values``, at least one."""
    return Spread(median(values), min(values), max(values))


def times_better(own: Sequence[float], other: Sequence[float], better: Better) -> float:
    """How many times better ``own`` is than ``other``: above 1 is better, for rates and for times.

    The median over the rounds of the ratio within each: the two were measured side by side there, so what slowed the
    whole machine in that round cancels.

    Args:
        own, other: one value a round, in the same order, all positive.
        better: whether high values are good or low ones.
    """
    ratios = [a / b if better == "higher" else b / a for a, b in zip(own, other, strict=True)]
    return median(ratios)


def best(medians: dict[str, float], better: Better) -> str | None:
    """The name with the best median; None if there is none."""
    if not medians:
        return None
    return (max if better == "higher" else min)(medians, key=lambda name: medians[name])


def log_log_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent p of the power law ``y = a x^p`` that fits best in logarithms: 0 does not grow, 1 doubles with x.

    NaN with fewer than two points.
    """
    if len(x) < 2:
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth_per_decade(x: Sequence[float], y: Sequence[float]) -> float:
    """The b of ``y = a + b log10(x)`` that fits best: what a tenfold x adds. NaN with fewer than two points."""
    if len(x) < 2:
        return math.nan
    return float(np.polyfit(np.log10(x), y, 1)[0])
