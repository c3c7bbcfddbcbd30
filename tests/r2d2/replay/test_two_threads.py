"""Copies in two halves: all of it, once each, by two threads where there are many bytes, whatever comes between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from replay_oracle import Play, assert_same

from r2d2.replay import SequenceGeometry, two_threads
from r2d2.replay.two_threads import LEAST_BYTES, in_two


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads, "available_cores", lambda: 2)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("nbytes", [0, LEAST_BYTES - 1, LEAST_BYTES])
def test_every_row_is_copied_once(rows: int, nbytes: int) -> None:
    copied, threads = np.zeros(rows, int), set()

    def copy(begin: int, end: int) -> None:
        copied[begin:end] += 1
        threads.add(threading.current_thread().name)

    in_two(copy, rows, nbytes)
    assert (copied == 1).all()
    assert len(threads) == (2 if nbytes >= LEAST_BYTES and rows > 1 else 1)


def test_one_core_is_left_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads, "available_cores", lambda: 1)
    calls: list[tuple[int, int]] = []
    in_two(lambda begin, end: calls.append((begin, end)), 8, LEAST_BYTES)
    assert calls == [(0, 8)]


@pytest.mark.parametrize("half", [0, 4])
def test_a_failure_of_either_half_is_raised_when_both_have_ended(half: int) -> None:
    ended: list[int] = []

    def copy(begin: int, end: int) -> None:
        time.sleep(0.0 if begin == half else 0.1)
        ended.append(begin)
        if begin == half:
            raise MemoryError(f"of the rows from {begin}")

    with pytest.raises(MemoryError, match=f"of the rows from {half}"):
        in_two(copy, 8, LEAST_BYTES)
    assert sorted(ended) == [0, 4]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread here")
def test_an_interrupt_is_passed_on_when_the_other_half_has_ended() -> None:
    ended = threading.Event()

    def copy(begin: int, end: int) -> None:
        if begin:
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.3)
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        in_two(copy, 8, LEAST_BYTES)
    assert ended.is_set()


def test_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads, "LEAST_BYTES", 0)
    helped: list[int] = []
    submit = two_threads._HELPER.submit
    monkeypatch.setattr(two_threads._HELPER, "submit", lambda *work: helped.append(work[1]) or submit(*work))
    play = Play(SequenceGeometry(2, 4, 2, 1), 60, 2)
    rng = np.random.default_rng(0)
    for _ in range(40):
        play.episode(int(rng.integers(1, 15)))
        assert_same(play.replay, play.oracle)
    assert len(helped) > 20


FORK = """
import os
import numpy as np
from gymnasium import spaces
from r2d2.replay import SequenceGeometry, SequenceReplay, two_threads

two_threads.available_cores, two_threads.LEAST_BYTES = lambda: 2, 0
replay = SequenceReplay(spaces.Discrete(9), spaces.Discrete(2), (), SequenceGeometry(0, 2, 0, 1), capacity=50)
for t in range(9):
    replay.add([t], [0], [0.0], [False], [False], ())
expected = replay.get(replay.keys()).unroll.observation.tolist()
child = os.fork()
found = replay.get(replay.keys()).unroll.observation.tolist()
if child == 0:
    os._exit(0 if found == expected else 1)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "parent", found == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    run: Any = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "child 0 parent True\n", run.stderr
