"""The other end of `agents.benchmarks.worker`: starts the process of a subject and asks it."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.benchmarks.plan import Subject

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS_TO_LEAVE = 5.0


class SubjectFailed(RuntimeError):
    """A subject could not be prepared, or a round of it failed; the text says why, in one line."""


class SubjectProcess:
    """A subject in its own process, prepared.

    Args:
        subject: who it is.
        patience: seconds that one answer may take.

    Raises:
        SubjectFailed: it could not be prepared. Its process is gone then.
    """

    def __init__(self, subject: Subject, patience: float) -> None:
        self._patience = patience
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agents.benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                **subject.environment,
            },
            start_new_session=True,  # Ctrl-C is for the process that a person started; it ends this one
        )
        try:
            said = self._ask(
                {
                    "module": subject.module,
                    "settings": dict(subject.settings),
                    "cores": subject.cores,
                    "without": subject.without,
                }
            )
        except BaseException:
            self.close()
            raise
        self.pid = self._process.pid
        """Of its process."""
        self.tasks: list[str] = said["tasks"]
        """The tasks that it can do."""
        self.answers: dict[str, list[float]] = said["answers"]
        """What it computed while it was prepared."""
        self.note: str = said["note"]
        """What a reader of its numbers should know."""

    def do(self, task: str) -> dict[str, float]:
        """One round of a task: the values of its measures.

        Raises:
            SubjectFailed: it failed, or took too long.
        """
        values: dict[str, float] = self._ask({"task": task})["values"]
        return values

    def close(self) -> None:
        """End the process. May be called twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._errors.closed:
            self._process.stdin.close()
            if self._process.poll() is None:
                self._process.terminate()
            try:
                self._process.wait(_SECONDS_TO_LEAVE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            self._errors.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
        except BrokenPipeError as error:
            raise SubjectFailed(self._how_it_ended()) from error
        answer: dict[str, Any] = json.loads(self._line())
        if "error" in answer:
            raise SubjectFailed(answer["error"])
        return answer

    def _line(self) -> bytes:
        """The next line of its answers."""
        assert self._process.stdout is not None
        line, deadline = b"", time.monotonic() + self._patience
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise SubjectFailed(f"no answer within {self._patience:g} seconds")
                part = self._process.stdout.read(65536)
                if not part:
                    raise SubjectFailed(self._how_it_ended())
                line += part
        return line

    def _how_it_ended(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with status {status}" + (f": {said[-1]}" if said else "")
