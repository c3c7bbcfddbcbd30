"""From steps to rows and sequences: the compiled loop behind `r2d2.replay.writer`.

It obeys `r2d2.replay.geometry`: where a sequence may begin it takes a slot, for the recurrent state that is to be kept;
when the sequence's last row has been written, or its episode has ended, the slot enters the table with a key and a
weight; when one of its rows is to be overwritten, it leaves it. Many steps are the same as each by itself.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from r2d2.replay.geometry import begun_by, complete_by
from r2d2.replay.records import FINAL, FIRST, TERMINATED, TRUNCATED
from r2d2.replay.slots import FREE, settle, take
from r2d2.replay.survey import columns_of

BUILT_ON = {
    "survey.py": "b695d2fa7288",
    "geometry.py": "37458fe0bdf0",
    "records.py": "1df071088303",
    "slots.py": "e791bbdd2404",
}
"""Hashes of what is imported here: what is compiled is kept on disk for this file's text alone."""


class Rings(NamedTuple):
    """Rows of `r2d2.replay.storage.StepStorage`, but for their observations."""

    action: Any
    reward: Any
    flags: Any
    position: Any


class Open(NamedTuple):
    """The open episode of each environment."""

    step: Any
    """int64[num_envs], its steps, 0 between episodes."""
    episode_start: Any
    """int64[num_envs], position of its first step."""
    slots: Any
    """int64[num_envs, most_open]: sequence ``k``, begun and not complete, has its slot in column ``k % most_open``."""
    quiet: Any
    """int64[num_envs]: with the steps before this one nothing is complete or overwritten, so that most pass by with one
    comparison; less does no harm."""


class Plan(NamedTuple):
    """What is to be copied where, int64[room] each, of which the first few are meant; used again for other steps."""

    of_steps: Any
    """int64[4, room]: `rows`, `steps`, `final_rows`, `keys`. To hand over one array costs less than four."""
    of_begun: Any
    """int64[2, room]: `begun`, `begun_with`."""
    rows: Any
    """Row of each active step."""
    steps: Any
    """Its number."""
    final_rows: Any
    """Row of each final observation."""
    keys: Any
    """Of the sequences complete, in the order of their completion."""
    begun: Any
    """Slot of each sequence that has begun."""
    begun_with: Any
    """Number of the state that is kept for it."""

    @classmethod
    def of(cls, steps: int, begun: int) -> "Plan":
        """Room for so many steps and sequences complete, and for so many that begin."""
        of_steps, of_begun = np.empty((4, steps), np.int64), np.empty((2, begun), np.int64)
        return cls(of_steps, of_begun, *of_steps, *of_begun)


@njit(cache=True, nogil=True)
def write_steps(
    lengths: Any,
    ring_arrays: Any,
    slot_arrays: Any,
    open_arrays: Any,
    begin: int,
    end: int,
    block: Any,
    kept: Any,
    in_place: bool,
    weights: Any,
    plan_of_steps: Any,
    plan_of_begun: Any,
) -> tuple[int, int, int, int, int]:
    """Write the steps ``begin .. end - 1`` of those given, or as many as there are free slots for.

    Observations and states are not written, but put into the plan.

    Args:
        lengths: burn_in, train_length, period, n_step.
        ring_arrays, slot_arrays, open_arrays: `Rings`, `Slots` and `Open` as plain tuples, which come in faster;
            changed in place.
        begin, end: no environment may have more of these steps than half the rows of its ring.
        block: of `r2d2.replay.survey.columns_of`; step ``i`` is of environment ``i % num_envs``.
        kept: int64[k], the steps whose states are kept, see `r2d2.replay.survey`.
        in_place: whether these states have the numbers of their steps; else ``0 .. k - 1``.
        weights: float64[num_envs] or float64[1], with which sequences enter.
        plan_of_steps, plan_of_begun: of a `Plan` with room enough; written to.

    Returns:
        The end of the steps that are written, and how many active steps, final observations, sequences begun and
        sequences complete there are in the plan.
    """
    action, reward, ending, made = columns_of(block)
    ring_action, ring_reward, ring_flags, position = ring_arrays
    entries, ends, free, counts, nodes, starts = slot_arrays
    open_step, episode_start, open_slots, quiet = open_arrays
    rows, steps, final_rows, keys = plan_of_steps[0], plan_of_steps[1], plan_of_steps[2], plan_of_steps[3]
    begun, begun_with = plan_of_begun[0], plan_of_begun[1]
    _, train_length, period, n_step = lengths
    unroll_rows = train_length + n_step
    num_envs = len(position)
    ring_rows = len(ring_action) // num_envs
    n, finals, m, c = 0, 0, 0, 0
    places = position % ring_rows
    next_kept = np.searchsorted(kept, begin)
    i, env = begin, begin % num_envs
    while i < end:
        if made[i]:
            step, flags = open_step[env], ending[i]
            if next_kept < len(kept) and kept[next_kept] == i:
                beyond = _begin(lengths, free, counts, open_slots, env, step, begun, m)
                if beyond < 0:
                    break
                begun_with[m:beyond] = i if in_place else next_kept
                m = beyond
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
                open_step[env] = 0 if ended else step + 1
                c, quiet[env] = settle(
                    lengths,
                    entries,
                    ends,
                    free,
                    counts,
                    nodes,
                    starts,
                    open_slots,
                    env,
                    position[env] - ring_rows,
                    episode_start[env],
                    step + 1,
                    ended,
                    complete_by(step, unroll_rows, period),
                    weights[env % len(weights)],
                    keys,
                    c,
                )
        i += 1
        env = env + 1 if env + 1 < num_envs else 0
    return i, n, finals, m, c


@njit(cache=True, nogil=True)
def _begin(lengths: Any, free: Any, counts: Any, open_slots: Any, env: int, step: int, begun: Any, m: int) -> int:
    """Take slots for the sequences that begin with ``step``, and write them to ``begun[m:]``.

    Returns:
        Where they end; -1 if there are too few, of which none is taken then.
    """
    burn_in, _, period, _ = lengths
    first, end = begun_by(step, burn_in, period), begun_by(step + 1, burn_in, period)
    if counts[FREE] < end - first:
        return -1
    for number in range(first, end):
        begun[m] = open_slots[env, number % open_slots.shape[1]] = take(free, counts)
        m += 1
    return m


@njit(cache=True, nogil=True)
def end_episodes(lengths: Any, ring_arrays: Any, slot_arrays: Any, open_arrays: Any, envs: Any, weight: float) -> Any:
    """End the open episodes of ``envs`` (int64[n]) as truncated after their last step.

    Returns:
        Rows of the final observations, int64[n], and keys of the sequences complete, int64[c].
    """
    ring_action, ring_reward, ring_flags, position = ring_arrays
    entries, ends, free, counts, nodes, starts = slot_arrays
    open_step, episode_start, open_slots, quiet = open_arrays
    _, train_length, period, n_step = lengths
    ring_rows = len(ring_action) // len(position)
    keys = np.empty(open_slots.size, np.int64)
    final_rows = np.empty(len(envs), np.int64)
    c = 0
    for i in range(len(envs)):
        env = envs[i]
        length = open_step[env]
        ring_flags[env * ring_rows + (position[env] - 1) % ring_rows] |= TRUNCATED
        final_rows[i] = _write_final(ring_action, ring_reward, ring_flags, position, env)
        open_step[env] = 0
        c, quiet[env] = settle(
            lengths,
            entries,
            ends,
            free,
            counts,
            nodes,
            starts,
            open_slots,
            env,
            position[env] - ring_rows,
            episode_start[env],
            length,
            True,
            complete_by(length, train_length + n_step, period),
            weight,
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
