"""Copies past the caches are the copies that NumPy makes, wherever they begin and end."""

import platform
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError
from replay_oracle import Play, assert_same

from r2d2.replay import SequenceGeometry, batch, gather, past_caches
from r2d2.replay.past_caches import LEAST_RUN, LINE, end_moves, move_past_caches


@njit(nogil=True)
def copy(out: Any, at: int, values: Any, first: int, count: int) -> None:
    move_past_caches(out, at, values, first, count)
    end_moves()


@given(
    at=st.integers(0, 130),
    first=st.integers(0, 130),
    count=st.integers(LEAST_RUN - 3, LEAST_RUN + 200) | st.integers(0, 200),
    skipped=st.integers(0, LINE),
    behind=st.integers(0, 3),
)
def test_as_numpy_copies(at: int, first: int, count: int, skipped: int, behind: int) -> None:
    rng = np.random.default_rng(0)
    # Arrays of which the first element may lie anywhere, and the last one copied may be the last there is.
    values, out = (rng.integers(0, 256, skipped + begin + count + behind, np.uint8)[skipped:] for begin in (first, at))
    expected = out.copy()
    expected[at : at + count] = values[first : first + count]
    copy(out, at, values, first, count)
    np.testing.assert_array_equal(out, expected)


def test_of_bytes_only() -> None:
    with pytest.raises(TypingError, match="arrays must be of uint8"):
        copy(np.zeros(2, np.float32), 0, np.zeros(2, np.float32), 0, 2)


@pytest.fixture
def play() -> Play:
    """Some episodes, in rings that have begun again."""
    play = Play(SequenceGeometry(12, 24, 12, 1), 200, 2)
    rng = np.random.default_rng(0)
    for _ in range(15):
        play.episode(int(rng.integers(1, 60)))
    assert_same(play.replay, play.oracle)
    return play


def test_batches_are_the_same(monkeypatch: pytest.MonkeyPatch, play: Play) -> None:
    monkeypatch.setattr(past_caches, "LEAST_BYTES", 0)
    monkeypatch.setattr(past_caches, "LEAST_RUN", LINE)
    compiled = None
    for module, name in (
        (gather, "move_past_caches"),
        (gather, "_move"),
        (gather, "_copy_run"),
        (batch, "copy_observations"),
    ):
        compiled = njit(nogil=True)(getattr(module, name).py_func)
        monkeypatch.setattr(module, name, compiled)
    assert_same(play.replay, play.oracle)
    if platform.machine() in ("x86_64", "AMD64"):
        # That the copy goes past the caches, asks for lines ahead and waits at its end, only its instructions tell.
        instructions = "".join(compiled.inspect_asm().values())
        for instruction in ("movnt", "prefetchnta", r"mfence|lock\s+or"):
            assert re.search(instruction, instructions), instruction


@pytest.mark.parametrize("bytes_more", [0, 1])
def test_all_of_a_large_copy_goes_there_and_nothing_of_others(
    monkeypatch: pytest.MonkeyPatch, play: Play, bytes_more: int
) -> None:
    keys = play.replay.keys()
    expected = play.replay.get(keys)
    nbytes = expected.prefix.observation.nbytes + expected.unroll.observation.nbytes
    monkeypatch.setattr(past_caches, "LEAST_BYTES", nbytes + bytes_more)
    ends: list[int] = []
    moved = {"move": 0, "move_past_caches": 0}

    def recorded(name: str) -> Any:
        def move(out: Any, at: int, values: Any, first: int, count: int) -> None:
            out[at : at + count] = values[first : first + count]
            moved[name] += int(count)

        return move

    for name in ("_move", "_copy_run"):
        monkeypatch.setattr(gather, name, getattr(gather, name).py_func)
    for name in moved:
        monkeypatch.setattr(gather, name, recorded(name))
    monkeypatch.setattr(gather, "end_moves", lambda: ends.append(sum(moved.values())))
    monkeypatch.setattr(batch, "copy_observations", gather.copy_observations.py_func)
    found = play.replay.get(keys)
    np.testing.assert_array_equal(found.prefix.observation, expected.prefix.observation)
    np.testing.assert_array_equal(found.unroll.observation, expected.unroll.observation)
    whole = int((expected.prefix_length + expected.unroll_length).sum()) * play.replay.storage.row_bytes[0]
    assert moved == ({"move": whole, "move_past_caches": 0} if bytes_more else {"move": 0, "move_past_caches": whole})
    assert ends == ([] if bytes_more else [whole])
