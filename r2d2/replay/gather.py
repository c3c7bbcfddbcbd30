"""From rings of rows to sequences side by side: the compiled loops that copy a batch.

Rows of one environment follow each other in its ring, so a sequence is one run of rows, or two where the ring begins
again. Every element of the outputs is written: steps, then padding.

``runs`` is int64[6, B], the columns of `r2d2.replay.sequences.COLUMNS`.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from r2d2.replay.flags import TERMINATED, TRUNCATED
from r2d2.replay.rows import move

NO_ACTION = -1
"""Previous action at an episode's first step, and in padding."""

BUILT_ON = {"TERMINATED": 2, "TRUNCATED": 4}
"""Of `r2d2.replay.flags`. What is compiled is kept on disk for this file's text alone: let it change with them."""

ENV, EPISODE_START, FIRST, PREFIX_LENGTH, TRAIN_LENGTH, UNROLL_LENGTH = range(6)


@njit(cache=True, nogil=True)
def runs_of(columns: Any, slots: Any) -> tuple[Any, int, int]:
    """``columns`` (int64[6, all]) of the sequences in ``slots``, and their longest prefix and unroll."""
    runs = np.empty((columns.shape[0], len(slots)), np.int64)
    prefix, unroll = 0, 0
    for b in range(len(slots)):
        for i in range(len(columns)):
            runs[i, b] = columns[i, slots[b]]
        prefix, unroll = max(prefix, runs[PREFIX_LENGTH, b]), max(unroll, runs[UNROLL_LENGTH, b])
    return runs, prefix, unroll


@njit(cache=True, nogil=True)
def importance_weights(leaves: Any, total: float, count: int, exponent: float, slots: Any, out: Any) -> None:
    """``(count * leaf / total) ** -exponent`` over the largest of them, float32[B] into ``out``."""
    largest = 0.0
    weights = np.empty(len(slots))
    for b in range(len(slots)):
        weights[b] = (count * leaves[slots[b]] / total) ** -exponent
        largest = max(largest, weights[b])
    for b in range(len(slots)):
        out[b] = weights[b] / largest


def copy_observations(
    ring: NDArray[Any], ring_rows: int, runs: NDArray[np.int64], prefix: NDArray[Any], unroll: NDArray[Any]
) -> None:
    """Copy the observations of the prefixes to ``prefix`` [B, F, ...] and those of the unrolls to ``unroll``.

    Args:
        ring: one leaf of all environments' rows, ``[num_envs * ring_rows, ...]``, contiguous.
        ring_rows: rows of each environment.
        runs: which rows.
        prefix, unroll: of the ring's dtype and trailing shape, contiguous.
    """
    row_bytes = ring[:1].nbytes
    # As the widest whole numbers that a row is made of: a copy then takes the fewest steps.
    width = next(width for width in (8, 4, 2, 1) if row_bytes % width == 0)
    flat = [array.reshape(-1).view(f"u{width}") for array in (ring, prefix, unroll)]
    _copy_rows(flat[0], row_bytes // width, ring_rows, runs, flat[1], prefix.shape[1], flat[2], unroll.shape[1])


@njit(cache=True, nogil=True)
def _copy_rows(
    ring: Any, words: int, ring_rows: int, runs: Any, prefix: Any, prefix_width: int, unroll: Any, unroll_width: int
) -> None:
    for b in range(runs.shape[1]):
        base, position, length = runs[ENV, b] * ring_rows, runs[FIRST, b], runs[PREFIX_LENGTH, b]
        _copy_run(ring, words, base, ring_rows, position, length, prefix, b * prefix_width, prefix_width)
        position, length = position + length, runs[UNROLL_LENGTH, b]
        _copy_run(ring, words, base, ring_rows, position, length, unroll, b * unroll_width, unroll_width)


@njit(cache=True, nogil=True)
def _copy_run(
    ring: Any, words: int, base: int, ring_rows: int, position: int, length: int, out: Any, row: int, width: int
) -> None:
    """``length`` rows from ``position`` on to ``row`` and on of ``out``, then zeros up to ``width`` rows."""
    position = position % ring_rows
    before_end = min(length, ring_rows - position)
    move(out, row * words, ring, (base + position) * words, before_end * words)
    if before_end < length:
        move(out, (row + before_end) * words, ring, base * words, (length - before_end) * words)
    if length < width:
        out[(row + length) * words : (row + width) * words] = 0


@njit(cache=True, nogil=True)
def copy_steps(
    ring_action: Any,
    ring_reward: Any,
    ring_flags: Any,
    ring_rows: int,
    runs: Any,
    prefix_action: Any,
    prefix_reward: Any,
    unroll_action: Any,
    unroll_reward: Any,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
    prefix_length: Any,
    train_length: Any,
    unroll_length: Any,
) -> None:
    """Copy everything of the steps but their observations.

    Args:
        ring_action, ring_reward, ring_flags: of all environments' rows, ``[num_envs * ring_rows]``.
        ring_rows: rows of each environment.
        runs: which rows.
        prefix_action, prefix_reward: int32 and float32[B, F], the previous action and reward of the prefixes' steps.
        unroll_action, unroll_reward: the same of the unrolls', [B, W].
        action, reward, terminated, truncated: int32, float32, bool, bool[B, W], of the unrolls' steps.
        prefix_length, train_length, unroll_length: int32[B].
    """
    prefix_width, unroll_width = prefix_action.shape[1], unroll_action.shape[1]
    prefix_actions, prefix_rewards = prefix_action.reshape(-1), prefix_reward.reshape(-1)
    unroll_actions, unroll_rewards = unroll_action.reshape(-1), unroll_reward.reshape(-1)
    actions, rewards = action.reshape(-1), reward.reshape(-1)
    for b in range(runs.shape[1]):
        base, first = runs[ENV, b] * ring_rows, runs[FIRST, b]
        length, at, width = runs[PREFIX_LENGTH, b], b * prefix_width, prefix_width
        before = (first - 1) % ring_rows
        _values(ring_action, base, ring_rows, before, length, prefix_actions, at, width, NO_ACTION)
        _copy_run(ring_reward, 1, base, ring_rows, before, length, prefix_rewards, at, width)
        if length > 0 and first == runs[EPISODE_START, b]:
            prefix_actions[at], prefix_rewards[at] = NO_ACTION, 0
        start = first + length
        length, at, width = runs[UNROLL_LENGTH, b], b * unroll_width, unroll_width
        before = (start - 1) % ring_rows
        here = before + 1 if before + 1 < ring_rows else 0
        _values(ring_action, base, ring_rows, before, length, unroll_actions, at, width, NO_ACTION)
        _copy_run(ring_reward, 1, base, ring_rows, before, length, unroll_rewards, at, width)
        if length > 0 and start == runs[EPISODE_START, b]:
            unroll_actions[at], unroll_rewards[at] = NO_ACTION, 0
        _values(ring_action, base, ring_rows, here, length, actions, at, width, 0)
        _copy_run(ring_reward, 1, base, ring_rows, here, length, rewards, at, width)
        # An episode ends with a sequence's last step, before which no flag can be: behind it is at most one row.
        terminated[b], truncated[b] = False, False
        for t in range(max(0, length - 2), length):
            flag = ring_flags[base + (here + t) % ring_rows]
            terminated[b, t], truncated[b, t] = flag & TERMINATED != 0, flag & TRUNCATED != 0
        prefix_length[b], train_length[b], unroll_length[b] = runs[PREFIX_LENGTH, b], runs[TRAIN_LENGTH, b], length


@njit(cache=True, nogil=True)
def _values(
    ring: Any, base: int, ring_rows: int, position: int, length: int, out: Any, at: int, width: int, padding: Any
) -> None:
    """One value of each of ``length`` rows from ``position`` (in the ring) on, then padding, to ``out[at:]``."""
    straight = min(length, ring_rows - position)
    _convert(ring[base + position : base + position + straight], out[at : at + straight])
    if straight < length:
        _convert(ring[base : base + length - straight], out[at + straight : at + length])
    for i in range(at + length, at + width):
        out[i] = padding


@njit(cache=True, nogil=True)
def _convert(values: Any, out: Any) -> None:
    # Indices that count up from zero are what the compiler can make long moves of.
    for i in range(len(out)):
        out[i] = values[i]
