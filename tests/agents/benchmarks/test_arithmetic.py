"""Medians, ratios and slopes of benchmarks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.benchmarks.arithmetic import best, growth_per_decade, log_log_slope, spread, times_better

positive = st.floats(0.01, 1e6)


def test_the_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 10.0]) == (3.0, 1.0, 10.0)
    assert spread([4.0, 1.0]) == (2.5, 1.0, 4.0)


def test_a_ratio_above_one_is_better_for_rates_and_for_times() -> None:
    assert times_better([20.0], [10.0], "higher") == 2.0
    assert times_better([20.0], [10.0], "lower") == 0.5


def test_rounds_are_compared_with_each_other_and_not_their_medians() -> None:
    """The machine slows down tenfold between rounds, and this between two subjects once."""
    own, other = [200.0, 20.0, 20.0], [100.0, 100.0, 10.0]  # medians 20 and 100, rounds 2, 0.2, 2
    assert times_better(own, other, "higher") == 2.0
    assert times_better(own, other, "lower") == 0.5


def test_rounds_that_do_not_match_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        times_better([1.0, 2.0], [1.0], "higher")


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=9).filter(lambda rounds: len(rounds) % 2 == 1))
def test_what_is_twice_as_good_is_beaten_twice(rounds: list[tuple[float, float]]) -> None:
    own, other = zip(*rounds, strict=True)
    for better in ("higher", "lower"):
        assert times_better(own, other, better) == pytest.approx(1 / times_better(other, own, better))


def test_the_best_has_the_highest_rate_or_the_lowest_time() -> None:
    medians = {"a": 1.0, "b": 3.0, "c": 2.0}
    assert (best(medians, "higher"), best(medians, "lower"), best({}, "lower")) == ("b", "a", None)


@given(st.floats(-2, 2), positive)
def test_the_slope_of_a_power_law_is_its_exponent(exponent: float, factor: float) -> None:
    x = [10.0, 100.0, 300.0, 5000.0]
    assert log_log_slope(x, [factor * value**exponent for value in x]) == pytest.approx(exponent, abs=1e-6)


def test_growth_per_decade_is_what_a_tenfold_adds() -> None:
    assert growth_per_decade([1e4, 1e5, 1e6], [20.0, 23.0, 26.0]) == pytest.approx(3.0)


def test_one_point_has_no_slope() -> None:
    assert math.isnan(log_log_slope([10.0], [1.0]))
    assert math.isnan(growth_per_decade([10.0], [1.0]))
