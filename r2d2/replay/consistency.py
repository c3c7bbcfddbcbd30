"""The inner rules of the buffer, checked one by one: an oracle for tests, and for whoever doubts a buffer."""

from collections.abc import Iterator

import numpy as np

from r2d2.replay.geometry import SequenceGeometry
from r2d2.replay.records import (
    ENV,
    EPISODE_START,
    FINAL,
    FIRST,
    FIRST_STEP,
    KEY,
    NO_KEY,
    NO_SLOT,
    SLOT_BITS,
    SLOT_MASK,
    TERMINATED,
    TRUNCATED,
)
from r2d2.replay.sequences import LARGEST_WEIGHT, SequenceTable
from r2d2.replay.slots import NEWEST, OLDEST
from r2d2.replay.storage import StepStorage
from r2d2.replay.writer import SequenceWriter

_LARGEST_POSITION = 1 << 60
"""Far below what an int64 holds, far beyond what is ever counted to."""


def inconsistencies(
    storage: StepStorage, writer: SequenceWriter, table: SequenceTable, geometry: SequenceGeometry
) -> list[str]:
    """Every broken rule in words; empty if all hold."""
    problems = list(_value_problems(storage, writer, table))
    problems += [p for env in range(storage.num_envs) for p in _ring_problems(storage, writer, env)]
    problems += [p for env in range(storage.num_envs) for p in _open_problems(writer, geometry, env)]
    problems += [p for env in range(storage.num_envs) for p in _quiet_problems(storage, writer, table, geometry, env)]
    problems += _slot_problems(writer, table)
    problems += [p for slot in table.live_slots() for p in _sequence_problems(storage, table, geometry, slot)]
    problems += [p for env in range(storage.num_envs) for p in _order_problems(table, geometry, env)]
    return problems + table.tree.check_consistency()


def _value_problems(storage: StepStorage, writer: SequenceWriter, table: SequenceTable) -> Iterator[str]:
    """Numbers that `SequenceReplay.add` would have refused."""
    if not np.isfinite(storage.reward).all():
        yield "a reward is not finite"
    if ((storage.action < 0) | (storage.action >= storage.action_count)).any():
        yield f"an action is not among the {storage.action_count} there are"
    begun = writer.slots[(writer.slots >= 0) & (writer.slots < len(table.keys))]
    taken = np.concatenate([table.live_slots(), begun])
    if not all(np.isfinite(stored[taken]).all() for stored in table.states):
        yield "a stored state is not finite"
    if not 0 <= table.largest_priority <= table.highest_priority:
        yield f"the largest priority is {table.largest_priority}"
    if not (table.tree.leaves <= LARGEST_WEIGHT).all():
        yield f"a weight is above {LARGEST_WEIGHT}"
    if writer.writes:
        yield "an interrupt has cut short the writing of steps: rows may not be those of their sequences"


def _ring_problems(storage: StepStorage, writer: SequenceWriter, env: int) -> Iterator[str]:
    """Rows of a ring are episodes one after the other: first step, steps, an end, a final observation."""
    position, step, start = int(storage.position[env]), int(writer.step[env]), int(writer.episode_start[env])
    if not (0 <= position <= _LARGEST_POSITION and step >= 0 and start >= 0):
        yield f"environment {env}: it is at position {position} and step {step} of an episode from {start}"
        return
    if step > 0 and start + step != position:
        yield f"environment {env}: its open episode of {step} steps does not end at position {position}"
    held = np.arange(max(0, position - storage.rows_per_env), position)
    flags = storage.flags[storage.rows(np.full(len(held), env), held)]
    ends, finals, firsts = ((flags & bits) != 0 for bits in (TERMINATED | TRUNCATED, FINAL, FIRST))
    if (ends & finals).any() or (firsts & finals).any():
        yield f"environment {env}: a final observation is flagged as a step"
    if (ends[:-1] != finals[1:]).any() or (len(flags) and ends[-1]):
        yield f"environment {env}: an end and a final observation do not follow each other"
    if (finals[:-1] != firsts[1:]).any():
        yield f"environment {env}: an episode does not begin after the final observation of the one before"
    if len(flags) and bool(finals[-1]) != (step == 0):
        yield f"environment {env}: its last row and its writer disagree whether an episode is open"
    newest_first = held[firsts][-1] if firsts.any() else -1
    if step > 0 and newest_first != (start if len(held) and start >= held[0] else -1):
        yield f"environment {env}: its open episode does not begin at position {start}"


def _open_problems(writer: SequenceWriter, geometry: SequenceGeometry, env: int) -> Iterator[str]:
    """Of an open episode, exactly the sequences begun and not complete are kept."""
    step, places = int(writer.step[env]), writer.slots.shape[1]
    expected = range(geometry.complete_by(step), geometry.begun_by(step))
    if (writer.slots[env] != NO_SLOT).nonzero()[0].tolist() != sorted(number % places for number in expected):
        yield f"environment {env}: the sequences begun and not complete are not {list(expected)}"


def _quiet_problems(
    storage: StepStorage, writer: SequenceWriter, table: SequenceTable, geometry: SequenceGeometry, env: int
) -> Iterator[str]:
    """No step of the open episode is passed by with which a sequence is complete or the oldest one is overwritten."""
    step, start = int(writer.step[env]), int(writer.episode_start[env])
    due = geometry.complete_by(step) * geometry.period + geometry.unroll_rows - 1 if step else 0
    oldest = int(table.slots.ends[OLDEST, env])
    if step and 0 <= oldest < len(table.entries):
        needed = max(table.entries[oldest, FIRST_STEP] - 1, table.entries[oldest, EPISODE_START])
        due = min(due, int(needed) + storage.rows_per_env - start)
    if writer.quiet[env] > due:
        yield f"environment {env}: step {due} would be passed by, though there is something to do with it"


def _slot_problems(writer: SequenceWriter, table: SequenceTable) -> Iterator[str]:
    """Slots are in use or free, keys name their slots, and queues hold the used ones in order."""
    live = table.live_slots()
    begun = writer.slots[writer.slots != NO_SLOT]
    if sorted([*live.tolist(), *begun.tolist(), *table.free.tolist()]) != list(range(len(table.keys))):
        yield "a slot is neither in use nor free, or both"
        return
    if len(live) != len(table):
        yield f"{len(live)} sequences are held, not {len(table)}"
    if table.tree.leaves[begun].any():
        yield "a sequence that is not complete has weight"
    if (table.tree.leaves[table.free] != 0).any():
        yield "a free slot has weight"
    if ((table.keys[live] & SLOT_MASK) != live).any():
        yield "a key does not name its slot"
    if len(live) and (table.keys[live] >> SLOT_BITS).max() >= table.next_number:
        yield "a key is numbered as one that is still to come"
    for env in range(table.slots.ends.shape[1]):
        mine = live[table.entries[live, ENV] == env]
        queue = table.queue(env)
        if queue != mine[np.argsort(table.keys[mine])].tolist() or table.slots.ends[NEWEST, env] != (
            queue[-1] if queue else NO_SLOT
        ):
            yield f"environment {env}: its queue does not hold its sequences in the order of their keys"
    if not 0 <= table.next_number <= _LARGEST_POSITION >> SLOT_BITS:
        yield f"the next key is numbered {table.next_number}"
    if (table.keys[table.keys < 0] != NO_KEY).any():
        yield "a key is negative"


def _sequence_problems(
    storage: StepStorage, table: SequenceTable, geometry: SequenceGeometry, slot: int
) -> Iterator[str]:
    """A sequence is a window of the geometry on rows that are held, within one episode."""
    env, episode_start, first, prefix_length, train_length, unroll_length = table.entries[slot, :KEY].tolist()
    name = f"sequence in slot {slot} (environment {env})"
    if not 0 <= env < storage.num_envs:
        yield f"{name}: there is no such environment"
        return
    lengths = (prefix_length, train_length, unroll_length)
    most = (geometry.burn_in, geometry.train_length, geometry.unroll_rows)
    if any(not 0 <= length <= longest for length, longest in zip(lengths, most, strict=True)) or unroll_length < 2:
        yield f"{name}: its lengths {lengths} are not those of any sequence"
        return
    start = first + prefix_length
    number, remainder = divmod(start - episode_start, geometry.period)
    if remainder or number < 0:
        yield f"{name}: its trained steps do not start at a multiple of the period"
        return
    reaches_end = unroll_length < geometry.unroll_rows
    last = start + unroll_length - 1
    positions = np.arange(first, last + 1)
    oldest_held = max(0, int(storage.position[env]) - storage.rows_per_env)
    if max(first - 1, episode_start) < oldest_held:
        yield f"{name}: a row that it needs has been overwritten"
        return
    if last >= storage.position[env]:
        yield f"{name}: a row that it needs has not been written"
        return
    flags = storage.flags[storage.rows(np.full(len(positions), env), positions)]
    final = bool(flags[-1] & FINAL)
    episode_length = last - episode_start if final else None
    if episode_length is not None and number >= geometry.sequence_count(episode_length):
        yield f"{name}: its episode of {episode_length} steps has no sequence {number}"
        return
    expected = geometry.window(number, episode_length)
    if (expected.prefix_length, expected.train_length, expected.unroll_length) != (
        prefix_length,
        train_length,
        unroll_length,
    ):
        yield f"{name}: its lengths are not those of {expected}"
    if reaches_end and not final:
        yield f"{name}: it is short without reaching the end of its episode"
    if (flags[:-1] & FINAL).any() or (flags[1:] & FIRST).any() or (flags[:-2] & (TERMINATED | TRUNCATED)).any():
        yield f"{name}: it crosses the boundary of an episode"
    start_row = storage.rows(np.array(env), np.array(episode_start))
    begins_there = episode_start < oldest_held or bool(storage.flags[start_row] & FIRST)
    if bool(flags[0] & FIRST) != (first == episode_start) or not begins_there:
        yield f"{name}: the start of its episode is not where it says"


def _order_problems(table: SequenceTable, geometry: SequenceGeometry, env: int) -> Iterator[str]:
    """No sequence is missing between two: each is the next of its episode, or the first of the next episode."""
    queue = table.queue(env)
    _, episode_start, first, prefix_length, _, unroll_length = table.entries[queue, :KEY].T
    start = first + prefix_length
    end = start + unroll_length
    next_of_episode = (episode_start[1:] == episode_start[:-1]) & (start[1:] == start[:-1] + geometry.period)
    first_of_next = (start[1:] == episode_start[1:]) & (start[1:] == end[:-1])
    gaps = np.flatnonzero(~(next_of_episode | first_of_next))
    if len(gaps):
        before, after = queue[gaps[0]], queue[gaps[0] + 1]
        yield f"environment {env}: the sequences in slots {before} and {after} do not follow each other"
