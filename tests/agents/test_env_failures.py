"""Failing environments: the row is named, the stream is fenced, and closing leaves no process behind."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from agents import env_failures
from agents.env_failures import EnvironmentFailure
from agents.episodes import EpisodeStream

# Actions that make an environment misbehave; other actions come back as the reward.
RAISE, HANG, EXIT, INTERRUPT, RAISE_UNSENDABLE, RAISE_TWO, END, FAIL_RESET, INFINITE = range(90, 99)


class CannotBeSent(Exception):
    """Its instances cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.function = lambda: None


class NeedsTwo(Exception):
    """Its instances can be pickled, but not made again."""

    def __init__(self, text: str, _: str) -> None:
        super().__init__(text)


class Misbehaves(gymnasium.Env[Any, int]):
    """Observes the step in the episode; does what the action says."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(0, 1000, (1,), np.int64)
    action_space = spaces.Discrete(100)

    def __init__(self, close_file: Path | None = None, raise_in_close: bool = False, hang_in_close: bool = False):
        self.close_file, self.raise_in_close, self.hang_in_close = close_file, raise_in_close, hang_in_close
        self.fail_reset = False
        self.time = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self.fail_reset:
            raise OSError("no more episodes")
        self.time = 0
        return np.array([0]), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        if action == RAISE:
            raise ZeroDivisionError("the action was\n90")
        if action == HANG:
            time.sleep(60)
        if action == EXIT:
            os._exit(3)
        if action == INTERRUPT:
            raise KeyboardInterrupt
        if action == RAISE_UNSENDABLE:
            raise CannotBeSent("stays here")
        if action == RAISE_TWO:
            raise NeedsTwo("one", "two")
        self.fail_reset = action == FAIL_RESET
        ended = action in (END, FAIL_RESET)
        return np.array([self.time]), np.inf if action == INFINITE else float(action), ended, False, {}

    def close(self) -> None:
        if self.close_file is not None:
            self.close_file.touch()
        if self.raise_in_close:
            raise OSError("cannot close")
        if self.hang_in_close:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)


ENVS = {
    "sync": lambda makers: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED),
    "async": lambda makers: AsyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED),
}


@pytest.fixture(autouse=True)
def _quiet_workers(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """What dying workers print on standard error is no part of a test."""
    yield
    capfd.readouterr()


def three(kind: str) -> VectorEnv[Any, Any, Any]:
    return ENVS[kind]([Misbehaves] * 3)


def expect_fenced(stream: EpisodeStream, failure: Exception) -> None:
    """Every further step raises the very same error, and `observation` stays that of the last good step."""
    for _ in range(3):
        with pytest.raises(type(failure)) as again:
            stream.step(np.array([1, 2, 3]))
        assert again.value is failure
    assert stream.observation.tolist() == [[1], [1], [1]]
    assert stream.first.tolist() == [False, False, False]


def step_until_failure(stream: EpisodeStream, actions: list[int]) -> EnvironmentFailure:
    """One good step, then one with `actions`, which fails."""
    assert stream.step(np.array([1, 2, 3])).reward.tolist() == [1, 2, 3]
    with pytest.raises(EnvironmentFailure) as caught:
        stream.step(np.array(actions))
    expect_fenced(stream, caught.value)
    return caught.value


def expect_no_process(envs: VectorEnv[Any, Any, Any]) -> None:
    assert [process.is_alive() for process in getattr(envs.unwrapped, "processes", [])].count(True) == 0


@pytest.mark.parametrize("kind", ENVS)
def test_an_environment_that_raises_is_named(kind: str) -> None:
    envs = three(kind)
    with EpisodeStream(envs, seed=0) as stream:
        failure = step_until_failure(stream, [1, RAISE, 3])
    assert failure.rows == (1,)
    assert str(failure) == "environment row 1 raised ZeroDivisionError: the action was 90"
    expect_no_process(envs)


def test_the_traceback_of_a_worker_comes_with_the_failure() -> None:
    with EpisodeStream(three("async"), seed=0) as stream:
        failure = step_until_failure(stream, [RAISE, 2, 3])
    (note,) = failure.__notes__
    assert note.startswith("In the worker of row 0:\n")
    assert 'raise ZeroDivisionError("the action was' in note


@pytest.mark.parametrize("kind", ENVS)
def test_an_environment_that_cannot_begin_its_next_episode_is_named(kind: str) -> None:
    with EpisodeStream(three(kind), seed=0) as stream:
        failure = step_until_failure(stream, [1, 2, FAIL_RESET])
    assert failure.rows == (2,)
    assert str(failure) == "environment row 2 raised OSError: no more episodes"


@pytest.mark.parametrize("kind", ENVS)
def test_a_failing_first_reset_closes_the_environments(kind: str) -> None:
    class NeverStarts(Misbehaves):
        def __init__(self) -> None:
            super().__init__()
            self.fail_reset = True

    envs = ENVS[kind]([Misbehaves, NeverStarts])
    with pytest.raises(EnvironmentFailure, match="environment row 1 raised OSError: no more episodes"):
        EpisodeStream(envs, seed=0)
    assert envs.closed
    expect_no_process(envs)


def test_a_killed_worker_is_named_with_its_signal() -> None:
    envs = three("async")
    with EpisodeStream(envs, seed=0) as stream:
        stream.step(np.array([1, 2, 3]))
        process = envs.processes[2]
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with pytest.raises(EnvironmentFailure) as caught:
            stream.step(np.array([1, 2, 3]))
        expect_fenced(stream, caught.value)
    assert caught.value.rows == (2,)
    assert str(caught.value) == (
        f"environment row 2 lost its worker process {process.pid} (exit code -9, killed by SIGKILL)"
    )
    expect_no_process(envs)


def test_a_worker_killed_in_the_middle_of_a_step_is_named() -> None:
    envs = three("async")
    with EpisodeStream(envs, seed=0) as stream:
        failure = step_until_failure(stream, [EXIT, 2, 3])
    assert failure.rows == (0,)
    assert "environment row 0 lost its worker process" in str(failure)
    assert "(exit code 3)" in str(failure)
    expect_no_process(envs)


def test_all_failing_rows_are_named() -> None:
    envs = three("async")
    with EpisodeStream(envs, seed=0) as stream:
        stream.step(np.array([1, 2, 3]))
        for row in (0, 2):
            os.kill(envs.processes[row].pid, signal.SIGKILL)
            envs.processes[row].join()
        with pytest.raises(EnvironmentFailure) as caught:
            stream.step(np.array([1, 2, 3]))
    assert caught.value.rows == (0, 2)


@pytest.mark.parametrize("action", [RAISE_UNSENDABLE, RAISE_TWO])
def test_an_exception_that_cannot_be_sent_still_names_its_row(action: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_failures, "_EXCEPTION_SECONDS", 0.5)
    with EpisodeStream(three("async"), seed=0) as stream:
        failure = step_until_failure(stream, [1, action, 3])
    assert failure.rows == (1,)
    assert str(failure) == "environment row 1 raised an exception that could not be sent to this process"


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_wrapped_vector_environment_names_the_row_too(mode: AutoresetMode) -> None:
    envs = RecordEpisodeStatistics(AsyncVectorEnv([Misbehaves] * 3, autoreset_mode=mode))
    with EpisodeStream(envs, seed=0, timeout_seconds=30) as stream:
        failure = step_until_failure(stream, [1, 2, RAISE])
    assert failure.rows == (2,)
    expect_no_process(envs)


def test_a_foreign_vector_environment_names_all_rows() -> None:
    class Foreign(VectorEnv[Any, Any, Any]):
        num_envs = 3
        metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
        single_action_space, action_space = spaces.Discrete(9), spaces.MultiDiscrete([9] * 3)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros((3, 1)), {}

        def step(self, actions: Any) -> Any:
            raise MemoryError("too many")

    with EpisodeStream(Foreign(), seed=0) as stream, pytest.raises(EnvironmentFailure) as caught:
        stream.step(np.array([1, 2, 3]))
    assert caught.value.rows == (0, 1, 2)
    assert str(caught.value) == ("the environments failed (which of the 3 rows is not known): MemoryError: too many")


@pytest.mark.parametrize(
    ("actions", "rows", "named"), [([HANG, 2, HANG], (0, 2), "rows 0, 2"), ([1, HANG, 3], (1,), "row 1")]
)
def test_after_a_time_out_no_late_answer_is_taken(actions: list[int], rows: tuple[int, ...], named: str) -> None:
    envs = three("async")
    with EpisodeStream(envs, seed=0, timeout_seconds=0.8) as stream:
        began = time.monotonic()
        failure = step_until_failure(stream, actions)
        assert time.monotonic() - began < 5
        assert failure.rows == rows
        assert str(failure) == f"environment {named} did not answer within timeout_seconds=0.8"
    expect_no_process(envs)


def test_a_time_limit_counts_anew_for_each_step() -> None:
    class Slow(Misbehaves):
        def step(self, action: int) -> Any:
            time.sleep(0.1)
            return super().step(action)

        def late_answer(self) -> int:
            time.sleep(0.1)
            return self.time

    envs = AsyncVectorEnv([Slow, Slow], autoreset_mode=AutoresetMode.DISABLED)
    with EpisodeStream(envs, seed=0, timeout_seconds=1.0) as stream:
        for call in range(12):
            assert stream.step(np.array([call, END])).reward.tolist() == [call, END]
        time.sleep(1.0)
        assert envs.call("late_answer") == (12, 0)  # other calls of the environments have no limit


def test_an_interrupted_step_is_not_gone_on_with() -> None:
    with EpisodeStream(three("sync"), seed=0) as stream:
        stream.step(np.array([1, 2, 3]))
        with pytest.raises(KeyboardInterrupt):
            stream.step(np.array([1, INTERRUPT, 3]))
        with pytest.raises(EnvironmentFailure, match="interrupted by KeyboardInterrupt") as caught:
            stream.step(np.array([1, 2, 3]))
        assert caught.value.rows == (0, 1, 2)
        expect_fenced(stream, caught.value)


@pytest.mark.parametrize("kind", ENVS)
def test_a_reward_that_is_not_finite_names_its_row(kind: str) -> None:
    with EpisodeStream(three(kind), seed=0) as stream:
        stream.step(np.array([1, 2, 3]))
        with pytest.raises(EnvironmentFailure, match="environment row 2 gave reward=inf, which must be") as caught:
            stream.step(np.array([END, 2, INFINITE]))
        assert caught.value.rows == (2,)
        expect_fenced(stream, caught.value)


def test_a_failure_can_be_sent_between_processes() -> None:
    failure = pickle.loads(pickle.dumps(EnvironmentFailure("environment row 1 raised", (1,))))
    assert (str(failure), failure.rows) == ("environment row 1 raised", (1,))


# Closing


@pytest.mark.parametrize("kind", ENVS)
def test_close_closes_every_environment_and_may_be_repeated(kind: str, tmp_path: Path) -> None:
    files = [tmp_path / str(row) for row in range(3)]
    makers = [lambda file=file: Misbehaves(file, raise_in_close=True) for file in files]
    if kind == "async":  # it makes and closes one environment in this process first, to ask for its spaces
        makers = [Misbehaves, *makers]
    envs = ENVS[kind](makers)
    stream = EpisodeStream(envs, seed=0)
    assert not any(file.exists() for file in files)
    stream.close()
    stream.close()
    assert all(file.exists() for file in files)
    assert envs.closed
    expect_no_process(envs)
    with pytest.raises(RuntimeError, match="is closed"):
        stream.step(np.ones(envs.num_envs, int))


def test_a_worker_that_will_not_close_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_failures, "_CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(env_failures, "_EXIT_SECONDS", 0.2)
    envs = AsyncVectorEnv([Misbehaves, lambda: Misbehaves(hang_in_close=True), Misbehaves])
    stream = EpisodeStream(envs, seed=0)
    os.kill(envs.processes[2].pid, signal.SIGSTOP)  # it hears of no other signal than SIGKILL
    stream.close()
    expect_no_process(envs)


def test_a_stuck_worker_is_asked_to_terminate_before_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TidiesUp(Misbehaves):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            signal.signal(signal.SIGTERM, self.tidy_up)
            return super().reset(seed=seed, options=options)

        def tidy_up(self, *_: object) -> None:
            (tmp_path / "tidy").touch()
            os._exit(0)

    monkeypatch.setattr(env_failures, "_EXIT_SECONDS", 0.5)
    envs = AsyncVectorEnv([Misbehaves, TidiesUp, Misbehaves], autoreset_mode=AutoresetMode.DISABLED)
    with EpisodeStream(envs, seed=0, timeout_seconds=0.8) as stream:
        step_until_failure(stream, [1, HANG, 3])
    assert (tmp_path / "tidy").exists()
    expect_no_process(envs)


def test_a_failed_stream_raises_its_failure_also_after_close() -> None:
    stream = EpisodeStream(three("sync"), seed=0)
    failure = step_until_failure(stream, [RAISE, 2, 3])
    stream.close()
    expect_fenced(stream, failure)
