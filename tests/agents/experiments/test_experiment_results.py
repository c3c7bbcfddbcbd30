"""Figures over seeds, and when a published one counts as different from ours."""

import pytest

from agents.experiments.results import Experiment, Figure, Outcome, Results


def measured(*values, published=None, average="mean"):
    """Results with one figure, and the figure."""
    figure = Figure("model", "measure", published, average=average)
    results = Results(Experiment("name", "title", lambda setup: Outcome({}), (figure,)))
    for seed, value in enumerate(values):
        results.add(seed, Outcome({("model", "measure"): value}), seconds=1.0)
    return results, figure


def test_a_figure_is_summed_up_by_mean_or_median_and_its_range():
    assert measured(1.0, 2.0, 6.0)[0].summary(measured()[1]) == (3.0, 1.0, 6.0)
    results, figure = measured(1.0, 2.0, 6.0, average="median")
    assert results.summary(figure) == (2.0, 1.0, 6.0)


def test_what_was_measured_several_times_counts_as_often():
    results, figure = measured([1.0, 2.0], [9.0])
    assert results.values(figure) == [1.0, 2.0, 9.0]
    assert results.summary(figure) == (4.0, 1.0, 9.0)


@pytest.mark.parametrize(
    ("published", "ours", "differs"),
    [
        (78, [100 * 18 / 23], False),  # 78.26
        (83, [100 * 19 / 23], False),  # 82.61
        (97, [100 * 22 / 23], True),  # 95.65
        (30.4, [100 * 7 / 23], False),  # 30.43
        (30.4, [30.5], True),
        (4.35, [100 / 23], False),  # 4.348
        (4, [100 / 23], False),
        (13.04, [100 * 3 / 23], False),  # 13.043
        (78, [60.0, 90.0], False),  # between two of ours
        (78, [79.0, 90.0], True),
        (78, [60.0, 77.0], True),
        (None, [60.0], False),
    ],
)
def test_a_published_figure_differs_outside_of_our_range_beyond_its_rounding(published, ours, differs):
    results, figure = measured(*ours, published=published)
    assert results.differs(figure) == differs


def test_figures_and_checks_must_be_those_of_the_experiment():
    results = Results(Experiment("name", "title", lambda setup: Outcome({}), (Figure("a", "b"),), ("it holds",)))
    with pytest.raises(ValueError, match=r"figures of name are \[\], must be \[\('a', 'b'\)\]"):
        results.add(0, Outcome({}, {"it holds": True}), 1.0)
    with pytest.raises(ValueError, match=r"checks of name are \['other'\], must be \['it holds'\]"):
        results.add(0, Outcome({("a", "b"): 1.0}, {"other": True}), 1.0)
    assert not results.outcomes
    for seed, held in enumerate((True, False, True)):
        results.add(seed, Outcome({("a", "b"): 1.0}, {"it holds": held}), 1.0)
    assert results.held("it holds") == 2


def test_two_figures_may_not_have_the_same_key():
    with pytest.raises(ValueError, match="figures of name must differ in model or measure"):
        Experiment("name", "title", lambda setup: Outcome({}), (Figure("a", "b"), Figure("a", "b", 3.0)))
