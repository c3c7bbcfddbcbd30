"""Subjects in processes of their own: asked in turn, failing without harm to others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.benchmarks import prepared, worker
from agents.benchmarks.plan import Subject
from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.processes import SubjectFailed, SubjectProcess

MODULE = """
import os, sys, time
from pathlib import Path
from agents.benchmarks.prepared import Prepared, WrongBatch

print("imported", flush=True)
os.write(1, b"and from C\\n")

def prepare(kind="good", size=0):
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    if kind == "wrong":
        raise WrongBatch("rewards are\\nnot those")
    if kind == "dies":
        print("out of something", file=sys.stderr, flush=True)
        os._exit(3)
    if kind == "slow":
        time.sleep(60)
    asked = []

    def count():
        print("noise", flush=True)
        asked.append(1)
        return len(asked)

    def fail():
        raise ValueError("not this time")

    return Prepared(
        {
            "count": count,
            "pid": lambda: os.getpid(),
            "several": lambda: {"a": 1.0, "b": size},
            "variable": lambda: float(os.environ["A_VARIABLE"]),
            "cores": lambda: len(os.sched_getaffinity(0)),
            "fail": fail,
            "die": lambda: os._exit(9),
        },
        {"loss": [1.5, 2.0]},
        "a note",
    )
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "subject_of_test.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@contextmanager
def running(patience: float = 30.0, **options: Any) -> Iterator[SubjectProcess]:
    settings = {key: options.pop(key) for key in ("kind", "size") if key in options}
    process = SubjectProcess(Subject("test", "ours", "subject_of_test", settings, **options), patience)
    try:
        yield process
    finally:
        process.close()


def is_alive(pid: float) -> bool:
    return Path(f"/proc/{int(pid)}").exists()


def test_it_stays_alive_between_tasks_and_is_gone_afterwards() -> None:
    with running(size=7) as process:
        pids = {process.do("pid")["pid"] for _ in range(3)}
        assert [process.do("count") for _ in range(3)] == [{"count": 1.0}, {"count": 2.0}, {"count": 3.0}]
        assert process.do("several") == {"a": 1.0, "b": 7}
        assert (process.answers, process.note, "count" in process.tasks) == ({"loss": [1.5, 2.0]}, "a note", True)
        (pid,) = pids
        assert pid != os.getpid()
        assert is_alive(pid)
    assert not is_alive(pid)
    process.close()  # twice does no harm


def test_its_environment_and_cores_are_its_own() -> None:
    with running(environment={"A_VARIABLE": "17"}, cores=1) as process:
        assert process.do("variable") == {"variable": 17.0}
        assert process.do("cores") == {"cores": 1.0}
    assert "A_VARIABLE" not in os.environ


def test_modules_that_it_must_not_find_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "subject_of_test.py").write_text("import json, decimal")
    with pytest.raises(SubjectFailed, match=r"ModuleNotFoundError: import of decimal halted; None in sys\.modules"):
        SubjectProcess(Subject("test", "ours", "subject_of_test", without=("decimal",)), 30.0)


def test_a_task_that_fails_says_why_and_the_process_goes_on() -> None:
    with running() as process:
        with pytest.raises(SubjectFailed, match=r"^ValueError: not this time$"):
            process.do("fail")
        assert process.do("count") == {"count": 1.0}


def test_a_process_that_dies_is_a_failure_with_its_status() -> None:
    with running() as process:
        with pytest.raises(SubjectFailed, match="its process ended with status 9"):
            process.do("die")
        with pytest.raises(SubjectFailed, match="its process ended with status 9"):
            process.do("count")


def test_a_preparation_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(SubjectFailed, match=r"^WrongBatch: rewards are not those$"), running(kind="wrong"):
        pass


def test_a_preparation_that_dies_is_told_with_its_last_words() -> None:
    with (
        pytest.raises(SubjectFailed, match=r"^its process ended with status 3: out of something$"),
        running(kind="dies"),
    ):
        pass


def test_who_takes_too_long_is_ended(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(SubjectFailed, match=r"no answer within 2 seconds"), running(kind="slow", patience=2.0):
        pass
    assert time.monotonic() - start < 20
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_module_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(SubjectFailed, match="ModuleNotFoundError: No module named 'no_such_subject'"):
        SubjectProcess(Subject("test", "ours", "no_such_subject"), 30.0)


def test_all_cores_are_used_unless_said_otherwise() -> None:
    before = os.sched_getaffinity(0)
    worker.use_cores(None)
    assert os.sched_getaffinity(0) == before


def test_the_worker_answers_line_by_line() -> None:
    class Answers:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    answers: Any = Answers()
    worker.serve(['{"task": "nothing"}\n', "no json\n"], answers)  # type: ignore[arg-type]
    first, second = (json.loads(line) for line in answers.text.splitlines())
    assert first == {"error": "KeyError: 'nothing'"}
    assert second["error"].startswith("JSONDecodeError")


def test_the_time_of_a_call_is_the_time_of_all_over_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def work() -> None:
        now[0] += 1.5

    monkeypatch.setattr(prepared.time, "perf_counter", lambda: now[0])
    assert seconds_per_call(work, 10.0) == 1.5
    assert now == [1.5 * 9]  # one that does not count, and 1, 1, 2, 4


def test_work_that_takes_longer_than_asked_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def work() -> None:
        now[0] += 5.0

    monkeypatch.setattr(prepared.time, "perf_counter", lambda: now[0])
    assert seconds_per_call(work, 0.1) == 5.0
    assert now == [10.0]  # one that does not count, and one


def test_a_subject_that_gives_nothing_has_no_answers() -> None:
    assert (Prepared({}).answers, Prepared({}).note) == ({}, "")
