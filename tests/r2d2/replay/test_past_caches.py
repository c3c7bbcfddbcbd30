"""Copies past the caches are the copies that NumPy makes, wherever they begin and end."""

import platform
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from replay_oracle import Play, assert_same

from r2d2.replay import SequenceGeometry, batch, past_caches
from r2d2.replay.past_caches import end_moves, move_past_caches


@njit(nogil=True)
def copy(out: Any, at: int, values: Any, first: int, count: int) -> None:
    move_past_caches(out, at, values, first, count)
    end_moves()


@given(
    dtype=st.sampled_from([np.uint8, np.float32]),
    at=st.integers(0, 130),
    first=st.integers(0, 130),
    count=st.integers(0, 400),
    skipped=st.integers(0, 20),
    behind=st.integers(0, 3),
)
def test_as_numpy_copies(dtype: Any, at: int, first: int, count: int, skipped: int, behind: int) -> None:
    rng = np.random.default_rng(0)
    # Arrays of which the first element may lie anywhere, and the last one copied may be the last there is.
    values, out = (
        rng.integers(0, 256, skipped + begin + count + behind).astype(dtype)[skipped:] for begin in (first, at)
    )
    expected = out.copy()
    expected[at : at + count] = values[first : first + count]
    copy(out, at, values, first, count)
    np.testing.assert_array_equal(out, expected)


def test_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_caches, "LEAST_BYTES", 0)
    compiled = njit(nogil=True)(batch.copy_observations.py_func)
    monkeypatch.setattr(batch, "copy_observations", compiled)
    play = Play(SequenceGeometry(12, 24, 12, 1), 200, 2)
    rng = np.random.default_rng(0)
    for _ in range(15):
        play.episode(int(rng.integers(1, 60)))
        assert_same(play.replay, play.oracle)
    if platform.machine() in ("x86_64", "AMD64"):
        # That the copy goes past the caches, asks for lines ahead and waits at its end, only its instructions tell.
        instructions = "".join(compiled.inspect_asm().values())
        for instruction in ("movnt", "prefetchnta", r"mfence|lock\s+or"):
            assert re.search(instruction, instructions), instruction
