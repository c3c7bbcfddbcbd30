"""Learners and actors are given the same weights and numbers, and must answer the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.benchmarks import acting_keras, acting_ours, acting_work, learner_floor, learner_keras, learner_ours
from agents.benchmarks import recurrent_work as of_work
from agents.benchmarks.acting import AGREEMENT as ACTING_AGREEMENT
from agents.benchmarks.learner import AGREEMENT, THREADS, LearnerOptions, plan
from agents.benchmarks.processes import SubjectProcess
from agents.benchmarks.recurrent_work import ACTIONS, FEATURES, Size, answers, weights
from agents.benchmarks.rounds import difference
from r2d2.replay.two_threads import available_cores

TINY = Size(batch=3, burn_in=2, train_length=7, units=5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(of_work.SIZES, "tiny", TINY)
    monkeypatch.setattr(acting_work, "UNITS", 5)
    for module in (acting_keras, acting_ours):
        monkeypatch.setattr(module, "UNITS", 5)


def farthest(own: dict[str, list[float]], reference: dict[str, list[float]]) -> float:
    assert list(own) == list(reference)
    return max(difference(own[key], reference[key]) for key in reference)


def test_operations_are_those_of_the_anchored_sizes() -> None:
    """Two for each of 2 units x 4 units weights, step and row: 40 + 85 steps forward in both networks, and 80 twice
    backward; a floor of 847 ms at 130 thousand million a second."""
    assert of_work.SIZES["large"].operations == 64 * (2 * 1024 * 2048) * (2 * 125 + 2 * 80)
    assert of_work.SIZES["large"].operations / 130e9 == pytest.approx(0.847, abs=0.001)


def test_weights_are_the_same_every_time_and_differ_between_the_networks() -> None:
    first, again, target = weights(5), weights(5), weights(5, of_work.TARGET_SEED)
    for own, same, other in zip(first, again, target, strict=True):
        for a, b, c in zip(own, same, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a != c).all()
    assert [part.shape for part in first.lstm] == [(5, 20), (5, 20), (20,)]
    assert (first.torso[0].shape, first.advantage[0].shape) == ((FEATURES, 5), (5, ACTIONS))


@pytest.fixture(scope="module")
def ours() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(of_work.SIZES, "tiny", TINY)
        return learner_ours.prepare("tiny", 0.001)


@pytest.mark.parametrize("xla", [False, True])
def test_our_update_and_that_of_keras_are_the_same(ours: Any, xla: bool) -> None:
    keras = learner_keras.prepare("tiny", 0.001, xla)
    assert list(ours.answers) == ["loss", "priorities", *(f"gradient {n}" for n in range(9))]
    assert farthest(keras.answers, ours.answers) < 1e-5 < AGREEMENT
    assert set(ours.tasks) == set(keras.tasks) == {"update", "first update"}
    assert all(task() > 0 for task in ours.tasks.values())
    assert all(task() > 0 for task in keras.tasks.values())


@pytest.mark.parametrize(("name", "value"), [("GAMMA", 0.99), ("ETA", 0.8), ("TARGET_SEED", 0)])
def test_another_update_is_recognised(ours: Any, name: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_keras, name, value)
    assert farthest(learner_keras.prepare("tiny", 0.001, False).answers, ours.answers) > AGREEMENT


def test_one_wrong_entry_of_a_gradient_is_recognised() -> None:
    gradient = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    wrong = gradient.copy()
    wrong[17, 3] += 0.5
    right, other = (answers(1.0, np.ones(2, np.float32), [g]) for g in (gradient, wrong))
    assert farthest(right, right) == 0
    assert farthest(other, right) > AGREEMENT


def test_the_floor_is_the_time_of_the_operations_at_the_rate_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_floor, "seconds_per_call", lambda work, seconds: 2 * 1024**3 / 1e12)
    floor = learner_floor.prepare("tiny", 0.001, threads=1).tasks["update"]()
    assert floor == pytest.approx(1e3 * TINY.operations / 1e12)


@pytest.mark.parametrize("cores", range(1, 1 + min(2, available_cores())))
def test_the_floor_uses_and_names_as_many_threads_as_the_case_has_cores(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in THREADS:  # what the caller has set for itself does not count
        monkeypatch.setenv(variable, str(3 - cores))
    (case,) = plan(LearnerOptions(sizes=("small",), cores=(cores,), seconds=0.001))
    (floor,) = [subject for subject in case.subjects if subject.role == "limit"]
    process = SubjectProcess(floor, 60.0)
    try:
        assert process.do("update")["update"] > 0
        assert process.note.endswith(
            f"at NumPy's rate for one product of 1024 x 1024 matrices on {cores} thread" + "s" * (cores > 1)
        )
        assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == cores
    finally:
        process.close()


@pytest.mark.parametrize("cores", [(0,), (1, 1000)])
def test_more_cores_than_there_are_cannot_be_measured(cores: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^cores={re.escape(str(cores))} must be from 1 to {available_cores()}, "):
        LearnerOptions(cores=cores)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_actors_agree_also_when_a_row_starts_anew(num_envs: int) -> None:
    ours = acting_ours.prepare(num_envs, 0.001)
    assert ours.tasks["acting"]() > 0  # type: ignore[operator]
    assert len(ours.answers) == 10
    assert re.search(r"takes over the weights once after an update, not at every step; that takes \d+ us", ours.note)
    kinds: list[acting_keras.Kind] = ["held", "passed"]
    for kind in kinds:
        keras = acting_keras.prepare(kind, num_envs, 0.001)
        assert farthest(keras.answers, ours.answers) < 1e-5 < ACTING_AGREEMENT
        assert keras.tasks["acting"]() > 0  # type: ignore[operator]


def test_the_rate_of_acting_counts_the_steps_of_all_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting_work, "seconds_per_call", lambda work, seconds: 0.5)
    assert acting_ours.prepare(3, 0.001).tasks["acting"]() == 6.0


def test_an_actor_that_forgets_to_reset_is_recognised() -> None:
    class Forgets(acting_keras.StatesPassed):
        def q_values(self, observation: Any, first: Any) -> Any:
            return super().q_values(observation, np.zeros_like(first))

    ours = acting_ours.prepare(3, 0.001)
    forgets = acting_work.prepare_acting(Forgets(3), 3, 0.001)
    assert farthest(forgets.answers, ours.answers) > ACTING_AGREEMENT


def test_predict_answers_nothing_but_can_be_measured() -> None:
    prepared = acting_keras.prepare("predict", 2, 0.001)
    assert prepared.answers == {}
    assert prepared.tasks["acting"]() > 0  # type: ignore[operator]
