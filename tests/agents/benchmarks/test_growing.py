"""What grows: sum trees, buffers, environments, sequences, networks; options that all benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.acting import Actor
from agents.benchmarks import end_to_end, growth, growth_ours, sum_tree, sum_tree_ours
from agents.benchmarks.catalogue import NAMES, benchmark
from agents.benchmarks.growth import GrowthOptions
from agents.benchmarks.growth_work import GROWTHS
from agents.benchmarks.options import Options, selected
from agents.benchmarks.plan import Case
from agents.benchmarks.prepared import WrongBatch
from agents.benchmarks.results import CaseResult
from agents.benchmarks.sum_tree import SumTreeOptions
from r2d2.learner import Learner
from r2d2.replay.sum_tree import SumTree


def power_law(cases: list[Case], size: str, exponent: float) -> list[CaseResult]:
    """Results in which every measure of every subject is its size to the power of ``exponent``."""
    return [
        CaseResult(
            case,
            {
                measure.name: {
                    subject.name: [factor * subject.settings[size] ** exponent for factor in (0.5, 1.0, 2.0)]
                    for subject in case.subjects
                }
                for measure in case.measures
            },
        )
        for case in cases
    ]


def test_growth_has_a_case_for_each_thing_that_grows_and_a_subject_for_each_size() -> None:
    cases = growth.plan(GrowthOptions(cores=1, seconds=0.5))
    assert [case.name for case in cases] == [
        "Buffer size",
        "Number of environments",
        "Sequence length",
        "LSTM units",
    ]
    buffer = cases[0]
    assert [s.name for s in buffer.subjects] == ["10,000", "100,000", "1,000,000", "10,000,000"]
    assert [m.name for m in buffer.measures] == ["sample", "priorities", "add a step"]
    assert buffer.subjects[1].settings == {"growth": "buffer", "size": 100_000, "seconds": 0.5}
    assert buffer.subjects[-1].memory == 10**9
    assert [GROWTHS[name].sizes[:: len(GROWTHS[name].sizes) - 1] for name in ("environments", "sequence", "units")] == [
        (1, 256),
        (20, 320),
        (32, 1024),
    ]


def test_growth_leaves_out_what_is_too_large_or_not_asked_for() -> None:
    (case,) = growth.plan(GrowthOptions(what=("units",), largest=100))
    assert [subject.name for subject in case.subjects] == ["32", "64"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest": 0}, "largest=0 must be at least 1"),
        ({"cores": 0}, "cores=0 must be from 1 to "),
        ({"what": ()}, "what is given without a value"),
        ({"what": ("units", "buffer", "units")}, "what names 'units' twice"),
        ({"largest": 30}, "largest=30 must be at least 10000, the smallest size of 'buffer'"),
        ({"largest": 31, "what": ("units",)}, "largest=31 must be at least 32, the smallest size of 'units'"),
    ],
)
def test_growth_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GrowthOptions(**options)


def test_slopes_of_growth_are_the_exponents(tmp_path: Path) -> None:
    results = power_law(growth.plan(GrowthOptions()), "size", 0.75)
    said, lines = growth.extra(results)
    assert said["log_log_slopes"] == pytest.approx(dict.fromkeys(said["log_log_slopes"], 0.75))
    assert "LSTM units: update: slope 0.75" in lines
    assert len(lines) == 3 + 2 + 2 + 1
    growth.draw(tmp_path / "chart.png", results, "caption")
    assert (tmp_path / "chart.png").stat().st_size > 10_000


def test_growth_of_one_size_has_no_slope() -> None:
    results = power_law(growth.plan(GrowthOptions(what=("units",), largest=32)), "size", 1.0)
    assert growth.extra(results) == (
        {"log_log_slopes": {"LSTM units: update": None}},
        ["LSTM units: update: slope nan"],
    )


def test_a_size_that_failed_is_left_out_of_the_slope() -> None:
    results = power_law(growth.plan(GrowthOptions(what=("units",))), "size", 1.0)
    results[0].values["update"]["32"] = [1e9]
    results[0].drop("32", "it broke")
    assert growth.extra(results)[0]["log_log_slopes"] == pytest.approx({"LSTM units: update": 1.0})


@pytest.mark.parametrize("what", ["buffer", "environments", "sequence", "units"])
def test_everything_that_grows_can_be_measured(what: Any) -> None:
    size = {"buffer": 5_000, "environments": 3, "sequence": 6, "units": 5}[what]
    prepared = growth_ours.prepare(what, size, 1e-4)
    assert tuple(prepared.tasks) == GROWTHS[what].curves
    assert all(task() > 0 for task in prepared.tasks.values())  # type: ignore[operator]


def test_a_cycle_acts_with_the_weights_of_its_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """As training does: the actor has a copy of them."""
    called: list[str] = []
    for owner, name in ((Learner, "update"), (Actor, "refresh"), (Actor, "q_values")):
        own = getattr(owner, name)

        def spy(*arguments: Any, own: Any = own, name: str = name) -> Any:
            called.append(name)
            return own(*arguments)

        monkeypatch.setattr(owner, name, spy)
    prepared = growth_ours.prepare("environments", 2, 1e-9)
    called.clear()
    prepared.tasks["cycle with an update"]()
    assert called == ["q_values", "update", "refresh"] * 2  # one does not count
    called.clear()
    prepared.tasks["act and store"]()
    assert called == ["q_values"] * 2


def test_the_sum_tree_has_a_case_for_each_number_of_leaves() -> None:
    cases = sum_tree.plan(SumTreeOptions(leaves=(1000, 100)))
    assert [case.name for case in cases] == ["100 leaves", "1,000 leaves"]
    assert [subject.name for subject in cases[0].subjects] == ["ours", "cpprb-malloc"]
    with pytest.raises(ValueError, match=r"leaves=\(63,\) must be numbers of at least 64"):
        SumTreeOptions(leaves=(63,))
    with pytest.raises(ValueError, match="leaves is given without a value; leave it out for its default"):
        SumTreeOptions(leaves=())


def test_growth_of_the_sum_tree_is_told(tmp_path: Path) -> None:
    results = power_law(sum_tree.plan(SumTreeOptions()), "leaves", 0.5)
    said, lines = sum_tree.extra(results)
    assert said["ours, draw"]["log_log_slope"] == pytest.approx(0.5)
    # 100, 316, 1000, 3162 for 1e4 .. 1e7: a line of least squares rises by 987.1 a decade.
    assert said["ours, draw"]["us_per_decade"] == pytest.approx(987.1, abs=0.1)
    assert "ours, draw: +987.1 us for ten times the leaves; slope 0.50" in lines
    sum_tree.draw(tmp_path / "chart.png", results, "caption")
    assert (tmp_path / "chart.png").stat().st_size > 10_000
    assert sum_tree.extra(results[:1]) == ({}, [])


def test_our_sum_tree_is_measured_and_one_that_draws_wrongly_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = sum_tree_ours.prepare(1000, 1e-4)
    assert {name: task() > 0 for name, task in prepared.tasks.items()} == {  # type: ignore[operator]
        "draw": True,
        "update": True,
    }
    monkeypatch.setattr(SumTree, "draw", lambda self, fractions: (fractions * self.size).astype(int))
    with pytest.raises(WrongBatch, match="leaf 333 has all the weight, and another was drawn"):
        sum_tree_ours.prepare(1000, 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_and_pytorch_are_never_imported_together(name: str) -> None:
    """A library may import the other one by itself, as a writer for TensorBoard does."""
    chosen = benchmark(name)
    for case in chosen.plan(chosen.options()):
        for subject in case.subjects:
            with_torch = {"torch", "torchrl", "sb3_contrib"} & set(subject.needs)
            assert ("tensorflow" in subject.without) == bool(with_torch)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_plan_with_us_in_every_case(name: str) -> None:
    chosen = benchmark(name)
    cases = chosen.plan(chosen.options())
    assert cases
    for case in cases:
        assert any(subject.role == "ours" for subject in case.subjects)
        assert len({subject.name for subject in case.subjects}) == len(case.subjects)
        once = {measure.of_task: measure.once for measure in case.measures}
        assert all(once[measure.of_task] == measure.once for measure in case.measures)


def test_cases_without_a_chosen_subject_are_left_out() -> None:
    cases = end_to_end.plan(end_to_end.EndToEndOptions(tasks=("cart-pole",)))
    assert [case.name for case in selected(cases, ("recurrent-ppo",))] == [
        "CartPole with hidden velocities: time to solve"
    ]


def test_subjects_can_be_chosen() -> None:
    cases = sum_tree.plan(SumTreeOptions(leaves=(100, 1000)))
    assert selected(cases, ()) is cases
    assert [[s.name for s in case.subjects] for case in selected(cases, ("ours",))] == [["ours"], ["ours"]]
    with pytest.raises(ValueError, match=r"^subjects='cppbr' must be among \['ours', 'cpprb-malloc'\]$"):
        selected(cases, ("ours", "cppbr"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds=0 must be at least 1"),
        ({"seconds": 0.0}, "seconds=0.0 must be a finite number greater than 0"),
        ({"seconds": float("inf")}, "seconds=inf must be a finite number greater than 0"),
    ],
)
def test_options_of_all_benchmarks_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**options)
    for name in NAMES:
        with pytest.raises(ValueError, match=message):
            benchmark(name).options(**options)
