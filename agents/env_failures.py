"""Say which environment of many failed, and how; close them all whatever happened.

Gymnasium's vector environments raise whatever comes first: a dead worker is a `BrokenPipeError` or an
`EOFError` that names nobody, a time-out leaves its answer in the pipe for the next step to take as its own,
and `close` waits for workers that no longer answer. So each row is watched where it is called: the single
environment of a `SyncVectorEnv`, the pipe of a worker of an `AsyncVectorEnv`. Other vector environments
have no such place; there a failure names all rows.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import queue
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

_log = logging.getLogger(__name__)

# A worker puts its exception into a queue, whose thread may send it a little after the worker's answer.
_EXCEPTION_SECONDS = 3.0
# What a worker may take to die after its pipe has closed, or to obey a signal.
_EXIT_SECONDS = 1.0
# What healthy workers may take to close their environments (files, simulators).
_CLOSE_SECONDS = 5.0


class EnvironmentFailure(RuntimeError):
    """An environment raised, its process died, or it did not answer in time.

    Attributes:
        rows: the failing environments, in rising order; all of them where it cannot be told which.
    """

    def __init__(self, message: str, rows: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.rows = rows


class Watch:
    """Watches a vector environment about which nothing more is known than its number of rows."""

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self._envs = envs
        self._all_rows = tuple(range(envs.num_envs))

    def start(self) -> None:
        """To be called before each call of the environments: the time limit counts from here."""

    def stop(self) -> None:
        """To be called after each call, and after `failure` if it failed."""

    def failure(self, error: BaseException) -> EnvironmentFailure:
        """What `error`, raised by a call of the environments, means: which rows, and what happened to them."""
        return EnvironmentFailure(
            f"the environments failed (which of the {len(self._all_rows)} rows is not known): {_one_line(error)}",
            self._all_rows,
        )

    def close(self, *, failed: bool) -> None:
        """Close the environments. Never raises; what goes wrong is logged. `failed`: don't wait for them."""
        try:
            self._envs.close()
        except Exception as error:
            _log.warning("closing %s raised %s", self._envs, _one_line(error))


def watch(envs: VectorEnv[Any, Any, Any], *, timeout_seconds: float | None, keep_final: bool) -> Watch:
    """The watch that fits `envs`, set up.

    Args:
        envs: any vector environment, wrapped or not.
        timeout_seconds: time one call may take, for an `AsyncVectorEnv` only.
        keep_final: see `SyncWatch`.

    Raises:
        ValueError: a time limit that is not positive, or given for environments that cannot be interrupted.
    """
    inner = envs.unwrapped
    if timeout_seconds is not None:
        if not 0 < timeout_seconds < float("inf"):
            raise ValueError(f"timeout_seconds={timeout_seconds} must be positive and finite, or None for no limit")
        if not isinstance(inner, AsyncVectorEnv):
            raise ValueError(
                f"timeout_seconds={timeout_seconds} needs environments in processes of their own "
                f"(AsyncVectorEnv), not {type(inner).__name__}: make them with mode='async', or pass None"
            )
    if isinstance(inner, AsyncVectorEnv):
        return AsyncWatch(envs, inner, timeout_seconds)
    if isinstance(inner, SyncVectorEnv):
        return SyncWatch(envs, inner, keep_final)
    return Watch(envs)


class SyncWatch(Watch):
    """Watches each environment of a `SyncVectorEnv`.

    `keep_final`: also copy each episode's last observation. In SAME_STEP mode the vector environment resets
    before it hands that observation on, and an environment that reuses its buffer has overwritten it by then.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], inner: SyncVectorEnv[Any, Any], keep_final: bool) -> None:
        super().__init__(envs)
        self._inner = inner
        self._watched = [_WatchedEnv(env, keep_final) for env in inner.envs]
        inner.envs = list(self._watched)

    def failure(self, error: BaseException) -> EnvironmentFailure:
        for row, env in enumerate(self._watched):
            if env.failed:
                return EnvironmentFailure(_sentence({row: f"raised {_one_line(error)}"}), (row,))
        return super().failure(error)

    def close(self, *, failed: bool) -> None:
        if not self._inner.closed:
            for row, env in enumerate(self._watched):
                try:
                    env.close()
                except Exception as error:
                    _log.warning("closing environment row %d raised %s", row, _one_line(error))
            self._inner.closed = True
        super().close(failed=failed)


class _WatchedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Remembers whether its environment raised."""

    def __init__(self, env: gymnasium.Env[Any, Any], keep_final: bool) -> None:
        super().__init__(env)
        self.failed = False
        self._keep_final = keep_final

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception:
            self.failed = True
            raise
        if self._keep_final and (terminated or truncated):
            observation = copy.deepcopy(observation)
        return observation, reward, terminated, truncated, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except Exception:
            self.failed = True
            raise
        return observation, info


class AsyncWatch(Watch):
    """Watches the pipe of each worker of an `AsyncVectorEnv`."""

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], inner: AsyncVectorEnv[Any, Any], timeout_seconds: float | None
    ) -> None:
        super().__init__(envs)
        self._inner = inner
        self._timeout_seconds = timeout_seconds
        self._deadline = _Deadline()
        self._pipes = [_WatchedPipe(pipe, self._deadline) for pipe in inner.parent_pipes]
        inner.parent_pipes = list(self._pipes)  # type: ignore[arg-type]  # has all that is used of a Connection

    def start(self) -> None:
        if self._timeout_seconds is not None:
            self._deadline.at = time.monotonic() + self._timeout_seconds

    def stop(self) -> None:
        self._deadline.at = None

    def failure(self, error: BaseException) -> EnvironmentFailure:
        for pipe in self._pipes:
            pipe.look()
        # A lost pipe comes with a worker that has just died, or is about to: give it the time to be known as dead.
        for pipe, process in zip(self._pipes, self._inner.processes, strict=True):
            if pipe.failure == "lost":
                process.join(_EXIT_SECONDS)
        raised = self._exceptions([row for row, pipe in enumerate(self._pipes) if pipe.failure == "raised"])

        reasons: dict[int, str] = {}
        notes: list[str] = []
        for row, (pipe, process) in enumerate(zip(self._pipes, self._inner.processes, strict=True)):
            if row in raised:
                reasons[row], trace = raised[row]
                if trace:
                    notes.append(f"In the worker of row {row}:\n{trace}")
            elif pipe.failure == "lost" or not process.is_alive():
                reasons[row] = f"lost its worker process {process.pid} ({_exit(process.exitcode)})"
            elif pipe.failure == "late":
                reasons[row] = f"did not answer within timeout_seconds={self._timeout_seconds}"
        if not reasons:
            return super().failure(error)
        failure = EnvironmentFailure(_sentence(reasons), tuple(reasons))
        for note in notes:
            failure.add_note(note)
        return failure

    def _exceptions(self, rows: list[int]) -> dict[int, tuple[str, str]]:
        """What each of `rows` raised, as (text, traceback in the worker)."""
        found = dict.fromkeys(rows, ("raised an exception that could not be sent to this process", ""))
        for _ in rows:
            try:
                row, kind, value, trace = self._inner.error_queue.get(timeout=_EXCEPTION_SECONDS)
            except queue.Empty:
                break
            except Exception:  # an exception whose class cannot be made again from its text
                continue
            found[row] = (f"raised {kind.__name__}: {' '.join(str(value).split())}", trace)
        return found

    def close(self, *, failed: bool) -> None:
        if not self._inner.closed:
            for pipe in self._pipes:
                with contextlib.suppress(OSError):
                    pipe.send(("close", None))
            wait_until = time.monotonic() + (_EXIT_SECONDS if failed else _CLOSE_SECONDS)
            for process in self._inner.processes:
                process.join(max(0.0, wait_until - time.monotonic()))
            # In one go for all of them first: waiting for each in turn would add up.
            for process in self._inner.processes:
                if process.is_alive():
                    process.terminate()
            for row, process in enumerate(self._inner.processes):
                if process.exitcode is None:
                    process.join(_EXIT_SECONDS)
                    _log.warning("the worker of environment row %d did not close in time and was stopped", row)
                if process.is_alive():
                    process.kill()
                    process.join()
            for pipe in self._pipes:
                pipe.close()
            self._inner.closed = True
        super().close(failed=failed)


@dataclass
class _Deadline:
    """When the answers of all workers are due, by the monotonic clock; None: whenever they come."""

    at: float | None = None

    def seconds_left(self) -> float | None:
        return None if self.at is None else max(0.0, self.at - time.monotonic())


class _WatchedPipe:
    """This process's end of the pipe to one worker. Knows how the worker failed, and keeps to a deadline.

    `failure` is None, "lost" (the other end is gone), "raised" (the worker's environment raised) or "late".
    """

    def __init__(self, pipe: Connection[Any, Any], deadline: _Deadline) -> None:
        self._pipe = pipe
        self._deadline = deadline
        self._unanswered = 0
        self.failure: str | None = None

    def send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            self.failure = "lost"
            raise
        self._unanswered += 1

    def recv(self) -> Any:
        # Without a deadline no poll: it costs as much as the message itself.
        if self._deadline.at is not None and not self._pipe.poll(self._deadline.seconds_left()):
            self.failure = "late"
            raise TimeoutError
        try:
            answer, succeeded = self._pipe.recv()
        except (EOFError, OSError):
            self.failure = "lost"
            raise
        self._unanswered -= 1
        if not succeeded:
            self.failure = "raised"
            raise RuntimeError("a worker's environment raised")
        return answer, succeeded

    def look(self) -> None:
        """Find out whether this worker has failed too, without waiting for it."""
        if self.failure is not None or self._unanswered == 0:
            return
        if self._pipe.poll(0):
            with contextlib.suppress(Exception):
                self.recv()
        elif self._deadline.seconds_left() == 0.0:
            self.failure = "late"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _exit(code: int | None) -> str:
    if code is None:
        return "it no longer answers"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"exit code {code}, killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _sentence(reasons: dict[int, str]) -> str:
    """`{0: "raised A", 2: "raised B", 3: "raised B"}` as one line; rows that share a reason stand together."""
    rows_of: dict[str, list[str]] = {}
    for row, reason in reasons.items():
        rows_of.setdefault(reason, []).append(str(row))
    return "; ".join(
        f"environment row{'s' if len(rows) > 1 else ''} {', '.join(rows)} {reason}" for reason, rows in rows_of.items()
    )
