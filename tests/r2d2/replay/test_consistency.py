"""`check_consistency` finds nothing wrong with a buffer in use, and names what was damaged on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_oracle import BOTH, TERMINATED, TRUNCATED, Play

from r2d2.replay import SequenceGeometry, SequenceReplay
from r2d2.replay.records import FINAL, FIRST
from r2d2.replay.records import TERMINATED as TERMINATED_FLAG

ENDS = (TERMINATED, TRUNCATED, BOTH)


@settings(max_examples=60)
@given(
    lengths=st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(0, 5), st.integers(1, 4)),
    spare_rows=st.integers(0, 30),
    num_envs=st.integers(1, 3),
    end=st.sampled_from([0.0, 0.05, 0.3, 0.9]),
    seed=st.integers(0, 1000),
)
def test_a_buffer_in_use_is_consistent_after_every_call(
    lengths: tuple[int, int, int, int], spare_rows: int, num_envs: int, end: float, seed: int
) -> None:
    burn_in, train_length, overlap, n_step = lengths
    geometry = SequenceGeometry(burn_in, train_length, overlap % train_length, n_step)
    play = Play(geometry, geometry.rows_needed + spare_rows, num_envs, seed=seed)
    rng = np.random.default_rng(seed)
    assert play.replay.check_consistency() == []
    for _ in range(40):
        ends = [ENDS[rng.integers(3)] if rng.random() < end else None for _ in range(num_envs)]
        play.step(ends, rng.random(num_envs) < 0.8)
        assert play.replay.check_consistency() == []
        if rng.random() < 0.1:
            play.end_episodes((rng.random(num_envs) < 0.5).tolist())
            assert play.replay.check_consistency() == []
        if play.replay.can_sample():
            keys = play.replay.sample(4).keys
            play.replay.update_priorities(keys, rng.exponential(size=4) * (rng.random(4) < 0.9))
            assert play.replay.check_consistency() == []


def in_use() -> SequenceReplay:
    """Two environments with rings of 20 rows, burn_in 2, train_length 4, overlap 2, n_step 1.

    Row numbers 0 .. 19 are those of environment 0, positions 0 .. 19: an episode of 9 steps (0 .. 8), its final
    observation (9), and 8 steps of an open one (10 .. 17). Row numbers 20 .. 39 are those of environment 1: one
    open episode of 17 steps.
    """
    play = Play(SequenceGeometry(burn_in=2, train_length=4, overlap=2, n_step=1), 20, 2)
    for t in range(17):
        play.step([TERMINATED if t == 8 else None, None])
    assert play.replay.check_consistency() == []
    assert play.replay.storage.position.tolist() == [18, 17]
    return play.replay


def slot(replay: SequenceReplay, env: int, number: int) -> int:
    """Slot of the ``number``-th oldest sequence of an environment."""
    return replay.table.queue(env)[number]


def set_flag(row: int, flags: int) -> Callable[[SequenceReplay], None]:
    def damage(replay: SequenceReplay) -> None:
        replay.storage.flags[row] = flags

    return damage


def column(number: int, change: int, env: int = 0, sequence: int = 1) -> Callable[[SequenceReplay], None]:
    def damage(replay: SequenceReplay) -> None:
        replay.table.entries[slot(replay, env, sequence), number] += change

    return damage


def run(statement: str) -> Callable[[SequenceReplay], None]:
    """Damage written as a statement on ``storage``, ``writer``, ``table`` or ``tree``."""

    def damage(replay: SequenceReplay) -> None:
        table = replay.table
        names = {"storage": replay.storage, "writer": replay.writer, "table": table, "tree": table.tree, "np": np}
        exec(statement, names)

    return damage


DAMAGE: dict[str, tuple[Callable[[SequenceReplay], None], str]] = {
    # Rows
    "an end was lost": (set_flag(8, 0), "environment 0: an end and a final observation do not follow each other"),
    "an end too many": (
        set_flag(4, TERMINATED_FLAG),
        "environment 0: an end and a final observation do not follow each other",
    ),
    "an open episode ends with an end": (
        set_flag(36, TERMINATED_FLAG),
        "environment 1: an end and a final observation do not follow each other",
    ),
    "a final observation was lost": (set_flag(9, 0), "environment 0: an end and a final observation do not follow"),
    "a final observation that is an end": (
        set_flag(9, FINAL | TERMINATED_FLAG),
        "environment 0: a final observation is flagged as a step",
    ),
    "a final observation that is a first step": (
        set_flag(9, FINAL | FIRST),
        "environment 0: a final observation is flagged as a step",
    ),
    "a first step was lost": (
        set_flag(10, 0),
        "environment 0: an episode does not begin after the final observation of the one before",
    ),
    "a first step too many": (
        set_flag(24, FIRST),
        "environment 1: an episode does not begin after the final observation of the one before",
    ),
    "the very first step was lost": (set_flag(20, 0), "environment 1: its open episode does not begin at position 0"),
    "a ring goes on where nothing was written": (
        run("storage.position[1] += 1"),
        "environment 1: its open episode of 17 steps does not end at position 18",
    ),
    "a step below zero": (run("writer.step[0] = -1"), "environment 0: it is at position 18 and step -1"),
    "a position that will not be counted on": (
        run("storage.position[0] = writer.episode_start[0] = 2**62; writer.step[0] = 0"),
        "environment 0: it is at position 4611686018427387904 and step 0",
    ),
    "an episode that starts before the first": (
        run("writer.episode_start[0] = -20"),
        "environment 0: it is at position 18 and step 8 of an episode from -20",
    ),
    "a position below zero": (
        run("storage.position[0] = -1"),
        "environment 0: it is at position -1 and step 8 of an episode from 10",
    ),
    "a reward that is no number": (run("storage.reward[3] = np.nan"), "a reward is not finite"),
    "an action too large": (run("storage.action[3] = 1_000_000"), "an action is not among the 1000000 there are"),
    "an action below zero": (run("storage.action[3] = -1"), "an action is not among the 1000000 there are"),
    # Open episodes
    "an open episode was closed": (
        run("writer.step[0] = 0"),
        "environment 0: its last row and its writer disagree whether an episode is open",
    ),
    "an open episode lost a step": (
        run("writer.step[0] -= 1"),
        "environment 0: its open episode of 7 steps does not end at position 18",
    ),
    "an open episode starts elsewhere": (
        run("writer.step[1] -= 1; writer.episode_start[1] += 1"),
        "environment 1: its open episode does not begin at position 1",
    ),
    "a sequence begun was lost": (
        run("writer.slots[1, 7 % 4] = -1"),
        "environment 1: the sequences begun and not complete are not [7, 8, 9]",
    ),
    "a sequence begun too many": (
        run("writer.slots[1, 10 % 4] = table.free[-1]"),
        "environment 1: the sequences begun and not complete are not [7, 8, 9]",
    ),
    "a sequence begun in a slot that does not exist": (
        run("writer.slots[1, 7 % 4] = 10**6"),
        "a slot is neither in use nor free, or both",
    ),
    "two sequences begun in one slot": (
        run("writer.slots[1, 7 % 4] = writer.slots[1, 8 % 4]"),
        "a slot is neither in use nor free, or both",
    ),
    "a sequence begun can be drawn": (
        run("tree.set(writer.slots[1, 7 % 4 :][:1], 1.0)"),
        "a sequence that is not complete has weight",
    ),
    "a state kept for a sequence begun is no number": (
        run("table.states[0][writer.slots[1, 7 % 4]] = np.inf"),
        "a stored state is not finite",
    ),
    # Slots
    "a slot was lost": (run("table.slots.counts[0] -= 1"), "a slot is neither in use nor free, or both"),
    "a slot in use was freed": (
        run("table.slots.free[0] = table.queue(0)[0]"),
        "a slot is neither in use nor free, or both",
    ),
    "a slot that does not exist": (run("table.free[0] = 10**6"), "a slot is neither in use nor free, or both"),
    "a number of sequences that is not theirs": (run("table.slots.counts[1] += 1"), "sequences are held, not"),
    "a free slot can be drawn": (run("tree.set(table.free[:1], 1.0)"), "a free slot has weight"),
    "a key of another slot": (run("table.keys[table.queue(0)[0]] += 1"), "a key does not name its slot"),
    "a key yet to be given": (
        run("table.keys[table.queue(0)[0]] += table.next_number << 28"),
        "a key is numbered as one that is still to come",
    ),
    "a negative key": (run("table.keys[table.queue(0)[0]] -= 1 << 62"), "a key is negative"),
    "a queue in another order": (
        run("table.entries[table.queue(0)[0], 7] = table.queue(0)[2]"),
        "environment 0: its queue does not hold its sequences in the order of their keys",
    ),
    "a queue without its oldest": (
        run("table.slots.ends[0, 0] = table.queue(0)[1]"),
        "environment 0: its queue does not hold its sequences in the order of their keys",
    ),
    "a queue without its newest": (
        run("table.slots.ends[1, 0] = table.queue(0)[-2]"),
        "environment 0: its queue does not hold its sequences in the order of their keys",
    ),
    "a queue without an end": (
        run("table.entries[table.queue(0)[-1], 7] = table.queue(0)[0]"),
        "environment 0: its queue does not hold its sequences in the order of their keys",
    ),
    # Sequences
    "a sequence of a negative environment": (column(0, -1), "there is no such environment"),
    "a sequence of no environment": (column(0, +2), "there is no such environment"),
    "a sequence of the other environment": (column(0, +1), "its queue does not hold its sequences"),
    "a sequence whose episode starts a period earlier": (
        column(1, -2, sequence=4),
        "the start of its episode is not where it says",
    ),
    "a sequence whose episode starts a period later": (
        column(1, +2, env=1, sequence=3),
        "the start of its episode is not where it says",
    ),
    "a sequence whose episode starts a step earlier": (
        column(1, -1),
        "its trained steps do not start at a multiple of the period",
    ),
    "a sequence that starts a step later": (
        column(2, +1),
        "its trained steps do not start at a multiple of the period",
    ),
    "a sequence that is the next one, twice": (column(2, +2), "environment 0: the sequences in slots 0 and 1 do not"),
    "a sequence with a shorter prefix": (
        column(3, -2, env=1, sequence=3),
        "its lengths are not those of Window(number=2",
    ),
    "a sequence that would follow its episode's last": (
        run("table.entries[table.queue(0)[3], 2:6] += (2, 0, -2, -2)"),
        "its episode of 9 steps has no sequence 4",
    ),
    "a sequence before its episode starts": (
        column(1, +4),
        "its trained steps do not start at a multiple of the period",
    ),
    "a sequence with a longer prefix": (column(3, +1), "its lengths (3, 4, 5) are not those of any sequence"),
    "a sequence with fewer trained steps": (column(4, -1), "its lengths are not those of Window(number=1"),
    "a sequence with a shorter unroll": (column(5, -1), "it is short without reaching the end of its episode"),
    "a sequence with no unroll": (column(5, -4), "its lengths (2, 4, 1) are not those of any sequence"),
    "a sequence across a boundary": (column(2, +4, sequence=2), "it crosses the boundary of an episode"),
    "a sequence of rows to come": (column(2, +200), "a row that it needs has not been written"),
    "a sequence of rows long gone": (run("storage.position[:] += 40"), "a row that it needs has been overwritten"),
    "a stored state that is no number": (
        run("table.states[0][table.queue(0)[0]] = np.nan"),
        "a stored state is not finite",
    ),
    "more keys than there can be": (run("table.slots.counts[2] = 2**40"), "the next key is numbered 1099511627776"),
    "steps half written": (run("writer.writes = 1"), "an interrupt has cut short the writing of steps"),
    "a step that is passed by": (run("writer.quiet[0] += 1"), "would be passed by, though there is something to do"),
    # Priorities
    "a weight whose sums would be infinite": (
        run("tree.set(np.array([table.queue(0)[0]]), 1e300)"),
        "a weight is above 1e+290",
    ),
    "a largest priority beyond all others": (
        run("table.largest_priority = 1.7e308; table.highest_priority = 1e300"),
        "the largest priority is 1.7e+308",
    ),
    "a negative weight": (
        run("tree.set(np.array([table.queue(0)[0]]), -1.0)"),
        "the sum tree holds a weight that is negative or not finite",
    ),
    "a sum that is not its children's": (
        run("tree._levels[1][0, 0] += 1e-9"),
        "node 0 of the sum tree's level 1 is not its children's sum",
    ),
    "a largest priority that is no number": (run("table.largest_priority = np.nan"), "the largest priority is nan"),
    "a largest priority below zero": (run("table.largest_priority = -1.0"), "the largest priority is -1.0"),
}


def grow(replay: SequenceReplay) -> None:
    """More slots than one node of the sum tree has children, so that there are inner nodes."""
    if len(replay.table.keys) <= 32:
        replay.table.grow()


def lose(replay: SequenceReplay, env: int, number: int) -> None:
    """Take out a sequence so that everything about its slot is in order: free, without weight, in no queue."""
    queue, slots = replay.table.queue(env), replay.table.slots
    lost = queue[number]
    slots.entries[queue[number - 1], 7] = queue[number + 1]
    slots.entries[lost, 6] = -1
    replay.table.tree.set(np.array([lost]), 0.0)
    slots.free[slots.counts[0]] = lost
    slots.counts[:2] += (1, -1)


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named(damage: Callable[[SequenceReplay], None], words: str) -> None:
    replay = in_use()
    grow(replay)
    assert replay.check_consistency() == []
    damage(replay)
    problems = replay.check_consistency()
    assert any(words in problem for problem in problems), problems


def test_a_sequence_that_is_missing_between_others_is_named() -> None:
    replay = in_use()
    before, after = (slot(replay, 1, number) for number in (1, 3))
    lose(replay, 1, 2)
    assert replay.check_consistency() == [
        f"environment 1: the sequences in slots {before} and {after} do not follow each other"
    ]


def test_the_last_sequence_of_an_episode_missing_is_named() -> None:
    replay = in_use()
    before, after = (slot(replay, 0, number) for number in (2, 4))
    lose(replay, 0, 3)
    assert replay.check_consistency() == [
        f"environment 0: the sequences in slots {before} and {after} do not follow each other"
    ]


def named(problems: list[str], words: str) -> list[str]:
    """The beginnings of the problems that end with ``words``."""
    return [problem.removesuffix(": " + words) for problem in problems if problem.endswith(words)]


def test_a_row_overwritten_or_still_to_come_is_one_exactly() -> None:
    replay = in_use()
    # Environment 1 is at position 17. At 22 it holds the rows 2 to 21: the sequences at 0 and 2 need row 0, the one
    # at 4 begins with row 2 and reads the action of row 1, the one at 6 needs row 3.
    names = [f"sequence in slot {slot(replay, 1, number)} (environment 1)" for number in range(7)]
    replay.storage.position[1] += 5
    problems = replay.check_consistency()
    assert sorted(named(problems, "a row that it needs has been overwritten")) == sorted(names[:3])
    # At 16 the last row of the sequence at 12, row 16, is the only one that has not been written.
    replay.storage.position[1] = 16
    problems = replay.check_consistency()
    assert named(problems, "a row that it needs has not been written") == names[6:]


def test_a_start_that_nothing_else_contradicts_is_named() -> None:
    """Before the oldest row held nothing says where an episode began, but for the sequences themselves."""
    # Rows 4 to 12 are held, and one sequence: that of the second episode, whose first step is row 9.
    play = Play(SequenceGeometry(burn_in=0, train_length=4, overlap=2, n_step=1), 9, 1)
    play.episode(8)
    play.episode(3)
    (only,) = play.replay.table.queue(0)
    play.replay.table.entries[only, 1] -= 6
    assert play.replay.check_consistency() == [
        f"sequence in slot {only} (environment 0): the start of its episode is not where it says"
    ]
    play = Play(SequenceGeometry(burn_in=2, train_length=4, overlap=2, n_step=1), 20, 1)
    for _ in range(50):
        play.step()
    before, other = slot(play.replay, 0, 1), slot(play.replay, 0, 2)
    play.replay.table.entries[other, 1] -= 2
    assert play.replay.check_consistency() == [
        f"environment 0: the sequences in slots {before} and {other} do not follow each other"
    ]


def test_the_first_sequence_of_an_episode_missing_is_named() -> None:
    replay = in_use()
    # Environment 0: sequences at 0, 2, 4, 6 of the first episode (9 steps), then at 0 and 2 of the second.
    lose(replay, 0, 4)
    (problem,) = replay.check_consistency()
    assert problem.startswith("environment 0: the sequences in slots")


def test_several_faults_are_all_named() -> None:
    replay = in_use()
    replay.storage.reward[0] = np.inf
    replay.writer.step[1] -= 1
    replay.table.slots.ends[0, 0] = replay.table.queue(0)[1]
    assert len(replay.check_consistency()) >= 3
