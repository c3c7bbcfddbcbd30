"""From steps to rows and sequences: the compiled loop behind `r2d2.replay.writer`.

It obeys `r2d2.replay.geometry`: where a sequence may begin it takes a slot, for the recurrent state that is to be kept;
when the sequence's last row has been written, or its episode has ended, the slot enters the table with a key and a
weight; when one of its rows is to be overwritten, it leaves it. Many steps are the same as each by itself.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from r2d2.replay.geometry import begun_by, complete_by, count_of, window_of
from r2d2.replay.records import (
    ENV,
    EPISODE_START,
    FINAL,
    FIRST,
    FIRST_STEP,
    KEY,
    NEWER,
    NO_KEY,
    NO_SLOT,
    PREFIX_LENGTH,
    SLOT_BITS,
    TERMINATED,
    TRAIN_LENGTH,
    TRUNCATED,
    UNROLL_LENGTH,
)
from r2d2.replay.sum_tree import set_weight

BUILT_ON = {"records.py": "1df071088303", "geometry.py": "73e42bbcc39d", "sum_tree.py": "78585f0fe5dd"}
"""Hashes of what is imported here: what is compiled is kept on disk for this file's text alone."""

FREE, LIVE, GIVEN, EVICTED = range(4)
"""Places in `Slots.counts`."""
OLDEST, NEWEST = range(2)
"""Rows of `Slots.ends`."""


class Rings(NamedTuple):
    """Rows of `r2d2.replay.storage.StepStorage`, but for their observations."""

    action: Any
    reward: Any
    flags: Any
    position: Any


class Slots(NamedTuple):
    """Slots of `r2d2.replay.sequences.SequenceTable`, but for their states."""

    entries: Any
    """int64[slots, 8], a cache line for each sequence: see `r2d2.replay.records`."""
    ends: Any
    """int64[2, num_envs], slots of each environment's oldest and newest sequence, or `NO_SLOT`."""
    free: Any
    """int64[slots], of which the first ``counts[FREE]`` are slots that are free; the last of them is taken first."""
    counts: Any
    """int64[4]: slots free, sequences held, keys given, sequences overwritten."""
    nodes: Any
    """Of the sum tree."""
    starts: Any
    """Of the sum tree."""


class Open(NamedTuple):
    """The open episode of each environment."""

    step: Any
    """int64[num_envs], its steps, 0 between episodes."""
    episode_start: Any
    """int64[num_envs], position of its first step."""
    slots: Any
    """int64[num_envs, most_open]: sequence ``k``, begun and not complete, has its slot in column ``k % most_open``."""


class Written(NamedTuple):
    """What has been written, and what is still to be."""

    end: int
    """The steps before are written."""
    rows: Any
    """int64[n], row of each active step."""
    steps: Any
    """int64[n], its number."""
    final_rows: Any
    """int64[k], row of each final observation."""
    begun: Any
    """int64[m], slot of each sequence that has begun."""
    begun_with: Any
    """int64[m], number of the state that is kept for it."""
    keys: Any
    """int64[c], of the sequences complete, in the order of their completion."""


@njit(cache=True, nogil=True)
def steps_kept(lengths: Any, open_step: Any, terminated: Any, truncated: Any, active: Any) -> Any:
    """Those steps whose recurrent states are kept: sequences begin with them.

    Args:
        lengths, terminated, truncated, active: see `write_steps`.
        open_step: int64[num_envs], steps of the open episodes.

    Returns:
        Their numbers, int64[k].
    """
    burn_in, _, period, _ = lengths
    step = open_step.copy()
    due = np.zeros_like(step)  # no sequence begins before
    kept = np.empty(len(terminated), np.int64)
    k, env = 0, 0
    for i in range(len(terminated)):
        if len(active) == 0 or active[i]:
            if step[env] >= due[env]:
                begun = begun_by(step[env] + 1, burn_in, period)
                if begun > begun_by(step[env], burn_in, period):
                    kept[k] = i
                    k += 1
                due[env] = begun * period - burn_in
            step[env] += 1
            if terminated[i] or truncated[i]:
                step[env], due[env] = 0, 0
        env = env + 1 if env + 1 < len(step) else 0
    return kept[:k]


@njit(cache=True, nogil=True)
def write_steps(
    lengths: Any,
    ring_arrays: Any,
    slot_arrays: Any,
    open_arrays: Any,
    begin: int,
    end: int,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
    active: Any,
    kept: Any,
    weights: Any,
) -> Any:
    """Write the steps ``begin .. end - 1`` of those given, or as many as there are free slots for.

    Args:
        lengths: burn_in, train_length, period, n_step.
        ring_arrays, slot_arrays, open_arrays: `Rings`, `Slots` and `Open` as plain tuples, which come in faster;
            changed in place.
        begin, end: no environment may have more of these steps than half the rows of its ring.
        action: int64[n], indices; step ``i`` is of environment ``i % num_envs``.
        reward: float32[n]
        terminated, truncated: bool[n]
        active: bool[n], False where no step was made; empty: all were.
        kept: int64[k], the steps whose states are kept, see `steps_kept`.
        weights: float64[num_envs] or float64[1], with which sequences enter.

    Returns:
        The fields of `Written`, a plain tuple.
    """
    # Array by array, here and below: an array in a tuple is counted at each look, which costs more than the look.
    ring_action, ring_reward, ring_flags, position = ring_arrays
    entries, ends, free, counts, nodes, starts = slot_arrays
    open_step, episode_start, open_slots = open_arrays
    burn_in, train_length, period, n_step = lengths
    unroll_rows = train_length + n_step
    num_envs = len(position)
    ring_rows = len(ring_action) // num_envs
    most = end - begin
    rows, steps, final_rows = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    begun = np.empty(len(kept) * (1 + burn_in // period), np.int64)
    begun_with = np.empty_like(begun)
    keys = np.empty(most + open_slots.size, np.int64)
    n, finals, m, c = 0, 0, 0, 0
    # With the steps before, nothing is complete or overwritten: most pass by with one comparison.
    quiet = np.zeros(num_envs, np.int64)
    places = position % ring_rows
    next_kept = np.searchsorted(kept, begin)
    i, env = begin, begin % num_envs
    while i < end:
        if len(active) == 0 or active[i]:
            step, flags = open_step[env], terminated[i] * TERMINATED + truncated[i] * TRUNCATED
            if next_kept < len(kept) and kept[next_kept] == i:
                first, beyond = begun_by(step, burn_in, period), begun_by(step + 1, burn_in, period)
                if counts[FREE] < beyond - first:
                    break
                for number in range(first, beyond):
                    slot = _take(free, counts)
                    open_slots[env, number % open_slots.shape[1]] = slot
                    begun[m], begun_with[m] = slot, next_kept
                    m += 1
                next_kept += 1
                if step == 0:
                    episode_start[env] = position[env]
                    flags += FIRST
            row = env * ring_rows + places[env]
            places[env] = places[env] + 1 if places[env] + 1 < ring_rows else 0
            rows[n], steps[n] = row, i
            n += 1
            ring_action[row], ring_reward[row], ring_flags[row] = action[i], reward[i], flags
            position[env] += 1
            open_step[env] += 1
            ended = flags >= TERMINATED
            if ended:
                final_rows[finals] = _write_final(ring_action, ring_reward, ring_flags, position, env)
                places[env] = position[env] % ring_rows
                finals += 1
            if ended or step >= quiet[env]:
                # What is overwritten leaves the table before anything enters.
                oldest_held = position[env] - ring_rows
                needed = _evict(entries, ends, free, counts, nodes, starts, env, oldest_held)
                weight, start = weights[env % len(weights)], episode_start[env]
                complete = complete_by(step, unroll_rows, period)
                due = complete * period + unroll_rows - 1
                if ended:
                    open_step[env] = 0
                    c = _end_episode(
                        lengths,
                        entries,
                        ends,
                        free,
                        counts,
                        nodes,
                        starts,
                        open_slots,
                        env,
                        start,
                        step + 1,
                        weight,
                        complete,
                        keys,
                        c,
                    )
                    due = 0
                elif step == due:
                    slot = _close(open_slots, env, complete)
                    keys[c] = _enter(
                        lengths, entries, ends, counts, nodes, starts, env, start, step + 1, weight, complete, slot
                    )
                    c, due = c + 1, due + period
                quiet[env] = min(due, step + 1 + needed - oldest_held)
        i += 1
        env = env + 1 if env + 1 < num_envs else 0
    return i, rows[:n], steps[:n], final_rows[:finals], begun[:m], begun_with[:m], keys[:c]


@njit(cache=True, nogil=True)
def end_episodes(lengths: Any, ring_arrays: Any, slot_arrays: Any, open_arrays: Any, envs: Any, weight: float) -> Any:
    """End the open episodes of ``envs`` (int64[n]) as truncated after their last step.

    Returns:
        Rows of the final observations, int64[n], and keys of the sequences complete, int64[c].
    """
    ring_action, ring_reward, ring_flags, position = ring_arrays
    entries, ends, free, counts, nodes, starts = slot_arrays
    open_step, episode_start, open_slots = open_arrays
    _, train_length, period, n_step = lengths
    ring_rows = len(ring_action) // len(position)
    keys = np.empty(open_slots.size, np.int64)
    final_rows = np.empty(len(envs), np.int64)
    c = 0
    for i in range(len(envs)):
        env = envs[i]
        length, start = open_step[env], episode_start[env]
        ring_flags[env * ring_rows + (position[env] - 1) % ring_rows] |= TRUNCATED
        final_rows[i] = _write_final(ring_action, ring_reward, ring_flags, position, env)
        _evict(entries, ends, free, counts, nodes, starts, env, position[env] - ring_rows)
        open_step[env] = 0
        complete = complete_by(length, train_length + n_step, period)
        c = _end_episode(
            lengths,
            entries,
            ends,
            free,
            counts,
            nodes,
            starts,
            open_slots,
            env,
            start,
            length,
            weight,
            complete,
            keys,
            c,
        )
    return final_rows, keys[:c]


@njit(cache=True, nogil=True)
def _write_final(ring_action: Any, ring_reward: Any, ring_flags: Any, position: Any, env: int) -> int:
    """Make the next row of ``env`` a final observation, and say which it is."""
    ring_rows = len(ring_action) // len(position)
    row = env * ring_rows + position[env] % ring_rows
    ring_action[row], ring_reward[row], ring_flags[row] = 0, 0, FINAL
    position[env] += 1
    return int(row)


@njit(cache=True, nogil=True)
def _evict(entries: Any, ends: Any, free: Any, counts: Any, nodes: Any, starts: Any, env: int, oldest_held: int) -> int:
    """Free the slots of those sequences of ``env`` that need a row before position ``oldest_held``.

    Returns:
        The oldest position that is needed then; ``oldest_held`` if none is.
    """
    slot = ends[OLDEST, env]
    while slot != NO_SLOT:
        # The row before its first is read for the action and reward before, if its episode has one.
        needed = max(entries[slot, FIRST_STEP] - 1, entries[slot, EPISODE_START])
        if needed >= oldest_held:
            return int(needed)
        entries[slot, KEY] = NO_KEY
        set_weight(nodes, starts, slot, 0.0)
        _give_back(free, counts, slot)
        counts[LIVE] -= 1
        counts[EVICTED] += 1
        slot = entries[slot, NEWER]
        ends[OLDEST, env] = slot
    ends[NEWEST, env] = NO_SLOT
    return oldest_held


@njit(cache=True, nogil=True)
def _end_episode(
    lengths: Any,
    entries: Any,
    ends: Any,
    free: Any,
    counts: Any,
    nodes: Any,
    starts: Any,
    open_slots: Any,
    env: int,
    episode_start: int,
    length: int,
    weight: float,
    complete: int,
    keys: Any,
    c: int,
) -> int:
    """Enter the sequences of an episode of ``length`` steps but the first ``complete``; keys go to ``keys[c:]``."""
    burn_in, train_length, period, _ = lengths
    count = count_of(length, train_length, period)
    for number in range(complete, begun_by(length, burn_in, period)):
        slot = _close(open_slots, env, number)
        if number < count:
            keys[c] = _enter(
                lengths, entries, ends, counts, nodes, starts, env, episode_start, length, weight, number, slot
            )
            c += 1
        else:
            _give_back(free, counts, slot)
    return c


@njit(cache=True, nogil=True)
def _enter(
    lengths: Any,
    entries: Any,
    ends: Any,
    counts: Any,
    nodes: Any,
    starts: Any,
    env: int,
    episode_start: int,
    steps: int,
    weight: float,
    number: int,
    slot: int,
) -> int:
    """Let sequence ``number`` of an episode of which ``steps`` are written be sampled; its key."""
    burn_in, train_length, period, n_step = lengths
    first, start, trained, unroll = window_of(number, steps, burn_in, train_length, period, n_step)
    key = (counts[GIVEN] << SLOT_BITS) | slot
    entries[slot, ENV], entries[slot, EPISODE_START] = env, episode_start
    entries[slot, FIRST_STEP], entries[slot, PREFIX_LENGTH] = episode_start + first, start - first
    entries[slot, TRAIN_LENGTH], entries[slot, UNROLL_LENGTH] = trained, unroll
    entries[slot, KEY], entries[slot, NEWER] = key, NO_SLOT
    counts[GIVEN] += 1
    counts[LIVE] += 1
    newest = ends[NEWEST, env]
    if newest == NO_SLOT:
        ends[OLDEST, env] = slot
    else:
        entries[newest, NEWER] = slot
    ends[NEWEST, env] = slot
    set_weight(nodes, starts, slot, weight)
    return int(key)


@njit(cache=True, nogil=True)
def _close(open_slots: Any, env: int, number: int) -> int:
    """The slot of a sequence that was open."""
    place = number % open_slots.shape[1]
    slot = open_slots[env, place]
    open_slots[env, place] = NO_SLOT
    return int(slot)


@njit(cache=True, nogil=True)
def _take(free: Any, counts: Any) -> int:
    counts[FREE] -= 1
    return int(free[counts[FREE]])


@njit(cache=True, nogil=True)
def _give_back(free: Any, counts: Any, slot: int) -> None:
    free[counts[FREE]] = slot
    counts[FREE] += 1
