"""From rings of rows to sequences side by side: the compiled loops that copy a batch.

Rows of one environment follow each other in its ring, so a sequence is one run of rows, or two where the ring begins
again. Every element of the outputs is written: steps, then padding. Outputs lie in one block of bytes, each from a byte
on: to hand over one array costs less than a dozen.

``runs`` is int64[6, B]: of each sequence its environment, the positions of its episode's and of its own first step, and
the lengths of its prefix, of its trained steps and of its unroll.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from r2d2.replay.past_caches import end_moves, move_past_caches
from r2d2.replay.records import (
    ENV,
    EPISODE_START,
    FIRST_STEP,
    KEY,
    PREFIX_LENGTH,
    TERMINATED,
    TRAIN_LENGTH,
    TRUNCATED,
    UNROLL_LENGTH,
)
from r2d2.replay.rows import move
from r2d2.replay.sum_tree import total_of

NO_ACTION = -1
"""Previous action at an episode's first step, and in padding."""

BUILT_ON = {
    "past_caches.py": "0d0e052aa5d3",
    "records.py": "1df071088303",
    "rows.py": "efb483b280bf",
    "sum_tree.py": "38e9454b1fad",
}
"""Hashes of what is imported here: what is compiled is kept on disk for this file's text alone."""


_LEAST_SHARE = 1e-300
"""Of a weight that is next to nothing beside the others: it is as good as never drawn, and not infinitely important."""


@njit(cache=True, nogil=True)
def runs_of(entries: Any, slots: Any) -> tuple[Any, int, int]:
    """The runs of the sequences in ``slots`` of ``entries`` (int64[all, 8]), and their longest prefix and unroll."""
    runs = np.empty((KEY, len(slots)), np.int64)
    prefix, unroll = 0, 0
    for b in range(len(slots)):
        for i in range(KEY):
            runs[i, b] = entries[slots[b], i]
        prefix, unroll = max(prefix, runs[PREFIX_LENGTH, b]), max(unroll, runs[UNROLL_LENGTH, b])
    return runs, prefix, unroll


@njit(cache=True, nogil=True)
def keys_and_weights(
    entries: Any, nodes: Any, count: int, exponent: float, slots: Any, keys: Any, weights: Any
) -> None:
    """Keys, int64[B], of the sequences in ``slots``, and their importance weights, float32[B].

    These are ``(count * leaf / total) ** -exponent`` over the largest of them; all 1 if ``exponent`` is 0. The leaves
    are the first of the sum tree's ``nodes``.
    """
    total, largest = total_of(nodes), 0.0
    unscaled = np.ones(len(slots))
    for b in range(len(slots)):
        keys[b] = entries[slots[b], KEY]
        if exponent > 0:
            unscaled[b] = max(count * nodes[slots[b]] / total, _LEAST_SHARE) ** -exponent
        largest = max(largest, unscaled[b])
    for b in range(len(slots)):
        weights[b] = unscaled[b] / largest


@njit(cache=True, nogil=True)
def copy_observations(
    ring: Any,
    row_bytes: int,
    ring_rows: int,
    runs: Any,
    block: Any,
    prefix: int,
    prefix_width: int,
    unroll: int,
    unroll_width: int,
    past_caches: bool,
    begin: int,
    end: int,
) -> None:
    """Copy the observations of the prefixes, ``[B, prefix_width, ...]``, and of the unrolls.

    Args:
        ring: one leaf of all environments' rows as bytes, uint8[num_envs * ring_rows * row_bytes].
        row_bytes: of one row.
        ring_rows: rows of each environment.
        runs: which rows.
        block: uint8[n], where the copies go.
        prefix, unroll: the bytes of it where they begin.
        prefix_width, unroll_width: rows of each sequence there.
        past_caches: to copy so, see `r2d2.replay.past_caches`.
        begin, end: of the sequences, those to copy.
    """
    for b in range(begin, end):
        base, position, length = runs[ENV, b] * ring_rows, runs[FIRST_STEP, b], runs[PREFIX_LENGTH, b]
        at = prefix + b * prefix_width * row_bytes
        _copy_run(ring, row_bytes, base, ring_rows, position, length, block, at, prefix_width, past_caches)
        position, length = position + length, runs[UNROLL_LENGTH, b]
        at = unroll + b * unroll_width * row_bytes
        _copy_run(ring, row_bytes, base, ring_rows, position, length, block, at, unroll_width, past_caches)
    if past_caches:
        end_moves()


@njit(cache=True, nogil=True)
def _copy_run(
    ring: Any,
    row_bytes: int,
    base: int,
    ring_rows: int,
    position: int,
    length: int,
    out: Any,
    at: int,
    width: int,
    past_caches: bool,
) -> None:
    """``length`` rows from ``position`` on to ``out[at:]``, then zeros up to ``width`` rows."""
    position = position % ring_rows
    before_end = min(length, ring_rows - position)
    _move(out, at, ring, (base + position) * row_bytes, before_end * row_bytes, past_caches)
    if before_end < length:
        _move(out, at + before_end * row_bytes, ring, base * row_bytes, (length - before_end) * row_bytes, past_caches)
    if length < width:
        out[at + length * row_bytes : at + width * row_bytes] = 0


@njit(cache=True, nogil=True)
def _move(out: Any, at: int, values: Any, first: int, count: int, past_caches: bool) -> None:
    if past_caches:
        move_past_caches(out, at, values, first, count)
    else:
        move(out, at, values, first, count)


@njit(cache=True, nogil=True)
def copy_steps(
    ring_action: Any,
    ring_reward: Any,
    ring_flags: Any,
    ring_rows: int,
    runs: Any,
    block: Any,
    starts: Any,
    prefix_width: int,
    unroll_width: int,
) -> None:
    """Copy everything of the steps but their observations.

    Args:
        ring_action, ring_reward, ring_flags: of all environments' rows, ``[num_envs * ring_rows]``.
        ring_rows: rows of each environment.
        runs: which rows.
        block: uint8[n], where the copies go.
        starts: int64[11], the bytes of it where they begin. Of the prefixes, ``[B, prefix_width]``, previous action
            (int32) and reward (float32); of the unrolls, ``[B, unroll_width]``, the same, then action (int32), reward
            (float32), terminated, truncated (bool); prefix, train and unroll length, int32[B].
        prefix_width, unroll_width: steps of each sequence there.
    """
    batch = runs.shape[1]
    burned_in, steps = batch * prefix_width, batch * unroll_width
    prefix_actions, prefix_rewards = _words(block, starts[0], burned_in), _reals(block, starts[1], burned_in)
    unroll_actions, unroll_rewards = _words(block, starts[2], steps), _reals(block, starts[3], steps)
    actions, rewards = _words(block, starts[4], steps), _reals(block, starts[5], steps)
    terminated, truncated = block[starts[6] : starts[6] + steps], block[starts[7] : starts[7] + steps]
    lengths = _words(block, starts[8], batch), _words(block, starts[9], batch), _words(block, starts[10], batch)
    # An episode ends with a sequence's last step, before which no flag can be: behind it is at most one row.
    terminated[:], truncated[:] = 0, 0
    for b in range(batch):
        base, first = runs[ENV, b] * ring_rows, runs[FIRST_STEP, b]
        length, at, width = runs[PREFIX_LENGTH, b], b * prefix_width, prefix_width
        before = (first - 1) % ring_rows
        _values(ring_action, base, ring_rows, before, length, prefix_actions, at, width, NO_ACTION)
        _values(ring_reward, base, ring_rows, before, length, prefix_rewards, at, width, 0)
        if length > 0 and first == runs[EPISODE_START, b]:
            prefix_actions[at], prefix_rewards[at] = NO_ACTION, 0
        start = first + length
        length, at, width = runs[UNROLL_LENGTH, b], b * unroll_width, unroll_width
        before = (start - 1) % ring_rows
        here = before + 1 if before + 1 < ring_rows else 0  # much faster than a second remainder
        _values(ring_action, base, ring_rows, before, length, unroll_actions, at, width, NO_ACTION)
        _values(ring_reward, base, ring_rows, before, length, unroll_rewards, at, width, 0)
        if length > 0 and start == runs[EPISODE_START, b]:
            unroll_actions[at], unroll_rewards[at] = NO_ACTION, 0
        _values(ring_action, base, ring_rows, here, length, actions, at, width, 0)
        _values(ring_reward, base, ring_rows, here, length, rewards, at, width, 0)
        for t in range(max(0, length - 2), length):
            flag = ring_flags[base + (here + t) % ring_rows]
            terminated[at + t], truncated[at + t] = flag & TERMINATED != 0, flag & TRUNCATED != 0
        lengths[0][b], lengths[1][b], lengths[2][b] = runs[PREFIX_LENGTH, b], runs[TRAIN_LENGTH, b], length


@njit(cache=True, nogil=True)
def _words(block: Any, start: int, count: int) -> Any:
    return block[start : start + 4 * count].view(np.int32)


@njit(cache=True, nogil=True)
def _reals(block: Any, start: int, count: int) -> Any:
    return block[start : start + 4 * count].view(np.float32)


@njit(cache=True, nogil=True)
def _values(
    ring: Any, base: int, ring_rows: int, position: int, length: int, out: Any, at: int, width: int, padding: Any
) -> None:
    """One value of each of ``length`` rows from ``position`` (in the ring) on, then padding, to ``out[at:]``."""
    straight = min(length, ring_rows - position)
    _convert(out, at, ring, base + position, straight)
    if straight < length:
        _convert(out, at + straight, ring, base, length - straight)
    for i in range(at + length, at + width):
        out[i] = padding


def _convert(out: Any, at: Any, values: Any, first: Any, count: Any) -> Any:
    """``out[at : at + count] = values[first : first + count]``, in compiled code."""


@overload(_convert)
def _compiled_convert(out: Any, at: Any, values: Any, first: Any, count: Any) -> Any:
    def copy(out: Any, at: Any, values: Any, first: Any, count: Any) -> Any:
        move(out, at, values, first, count)

    def convert(out: Any, at: Any, values: Any, first: Any, count: Any) -> Any:
        to, source = out[at : at + count], values[first : first + count]
        # Indices that count up from zero are what the compiler can make long moves of.
        for i in range(len(to)):
            to[i] = source[i]

    return copy if values.dtype == out.dtype else convert
