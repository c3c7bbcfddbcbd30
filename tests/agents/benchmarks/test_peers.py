"""Peers do the work that they are measured with. Those that are not installed are skipped.

Each runs in a process of its own, as in a benchmark: TensorFlow and PyTorch are not imported together.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agents.benchmarks import acting, end_to_end, learner, replay, sum_tree
from agents.benchmarks.plan import Case
from agents.benchmarks.processes import SubjectProcess
from agents.benchmarks.replay import MEASURES, ReplayOptions
from agents.benchmarks.rounds import difference


def process(case: Case, name: str) -> SubjectProcess:
    (subject,) = [subject for subject in case.subjects if subject.name == name]
    for module in subject.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    return SubjectProcess(subject, 300.0)


@contextmanager
def running(case: Case, name: str) -> Iterator[SubjectProcess]:
    started = process(case, name)
    try:
        yield started
    finally:
        started.close()


@pytest.mark.parametrize("name", ["cpprb-malloc", "flashbax", "torchrl-slice", "torchrl-whole"])
def test_replays_hand_out_what_was_stored(name: str) -> None:
    """Preparing checks that; afterwards every task is done once."""
    (case,) = replay.plan(ReplayOptions(profiles=("P1",), capacity=32_000, seconds=0.001))
    with running(case, name) as subject:
        measured = {key for task in subject.tasks for key in subject.do(task)}
        assert measured >= {measure.name for measure in MEASURES} - {"priority update"}
        assert ("priority update" in measured) is not name.startswith("torchrl")


def test_the_sum_tree_of_cpprb() -> None:
    (case,) = sum_tree.plan(sum_tree.SumTreeOptions(leaves=(1000,), seconds=0.001))
    with running(case, "cpprb-malloc") as subject:
        assert all(subject.do(task)[task] > 0 for task in ("draw", "update"))


def farthest(own: dict[str, list[float]], reference: dict[str, list[float]]) -> float:
    assert list(own) == list(reference)
    return max(difference(own[key], reference[key]) for key in reference)


def test_the_update_in_pytorch_is_that_in_keras() -> None:
    (case,) = learner.plan(learner.LearnerOptions(sizes=("small",), cores=(1,), seconds=0.001))
    with running(case, "torch") as torch, running(case, "keras") as keras:
        assert farthest(torch.answers, keras.answers) < learner.AGREEMENT
        assert torch.do("update")["update"] > 0


def test_acting_in_pytorch_is_that_in_keras() -> None:
    (case,) = acting.plan(acting.ActingOptions(environments=(3,), seconds=0.001))
    with running(case, "torch") as torch, running(case, "keras-stateful") as keras:
        assert farthest(torch.answers, keras.answers) < acting.AGREEMENT


@pytest.mark.parametrize("task", ["cart-pole", "repeat-previous"])
def test_the_plain_agent_plays_and_learns(task: Any) -> None:
    (case,) = end_to_end.plan(end_to_end.EndToEndOptions(tasks=(task,), steps=1_000, solve=False))
    with running(case, "recurrent-double-q") as subject:
        measured = subject.do("run")
        assert measured["updates"] > 0
        assert measured["learning"] > measured["replay"] > 0
