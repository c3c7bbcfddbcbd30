"""The steps that replays are measured with, and the check that catches a batch that is not made of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.benchmarks.prepared import WrongBatch
from agents.benchmarks.replay_data import (
    EPISODE,
    PERIOD,
    PROFILES,
    ROWS,
    Profile,
    Sequence,
    check,
    observations,
    steps,
)
from agents.benchmarks.replay_sequences import EpisodeSoFar, split

SMALL = {
    "float32": Profile("small", (8,), "float32", 3, 1000, 4),
    "uint8": Profile("small", (3, 4, 1), "uint8", 3, 1000, 4),
}
both = pytest.mark.parametrize("profile", SMALL.values(), ids=SMALL.keys())


def test_the_profiles_are_as_large_as_they_say() -> None:
    """Useful bytes of a batch: 0.35, 15.9 and 55 MB."""
    useful = [p.batch * (ROWS * p.raw_step + p.state) / 1e6 for p in PROFILES.values()]
    assert useful == pytest.approx([0.35, 15.96, 54.97], abs=0.01)
    assert PROFILES["P1"].ideal == 8 * 4 + 4 + 4 + 1 + 2 * 64 * 4 / 40


@both
def test_a_step_tells_its_number_and_its_environment(profile: Profile) -> None:
    given = steps(profile, num_envs=3, first=40, count=5)
    seen = {given.observation[t, e].tobytes() for t in range(5) for e in range(3)}
    assert len(seen) == 15
    assert given.observation.shape == (5, 3, *profile.shape)
    assert given.observation.dtype == profile.dtype
    assert given.hidden[:, 1, 2].tolist() == [40, 41, 42, 43, 44]
    assert given.cell[:, 2, 0].tolist() == [-40, -41, -42, -43, -44]
    assert given.action[0].tolist() == [0, 1, 2]
    assert given.reward[:, 0].tolist() == [41, 42, 43, 44, 45]
    following = steps(profile, num_envs=3, first=45, count=5)
    np.testing.assert_array_equal(given.final_observation, following.observation[0])


def test_an_episode_ends_with_its_last_step() -> None:
    ends = [steps(SMALL["float32"], 1, first, PERIOD).ends for first in range(0, 2 * EPISODE, PERIOD)]
    assert [number for number, end in enumerate(ends) if end] == [24, 49]


def sequence(profile: Profile, first: int, env: int, length: int = ROWS, *, final: bool = False) -> Sequence:
    """What a replay should hand out."""
    rows = steps(profile, env + 1, first, length)
    action, reward = rows.action[:, env].copy(), rows.reward[:, env].copy()
    if final:
        action[-1] = reward[-1] = 0
    return Sequence(rows.observation[:, env], action, reward, rows.hidden[0, env], rows.cell[0, env])


@both
def test_right_sequences_are_accepted(profile: Profile) -> None:
    check(
        profile,
        [
            sequence(profile, 40, 0),
            sequence(profile, 0, 2, 81),  # an episode's first, without burn-in
            sequence(profile, EPISODE - ROWS + 1, 1, final=True),
            sequence(profile, 123_456, 3),
        ],
    )


def wrong_pixel(s: Sequence) -> Sequence:
    observation = s.observation.copy()
    observation.reshape(len(observation), -1)[70, -1] += 1
    return s._replace(observation=observation)


WRONG: dict[str, tuple[Callable[[Sequence], Sequence], str]] = {
    "one value of one observation": (wrong_pixel, "observations are not those of steps 40 to 160"),
    "two steps exchanged": (
        lambda s: s._replace(observation=s.observation[[1, 0, *range(2, ROWS)]]),
        "observations are not those",
    ),
    "a step twice": (lambda s: s._replace(observation=s.observation[[0, *range(ROWS - 1)]]), "observations are not"),
    "another dtype": (lambda s: s._replace(observation=s.observation.astype(np.float64)), "observations are float64"),
    "an action": (lambda s: s._replace(action=np.where(np.arange(ROWS) == 7, 3 - s.action, s.action)), "actions are"),
    "actions of the step before": (lambda s: s._replace(action=np.roll(s.action, 1)), "actions are not those"),
    "rewards of the step before": (lambda s: s._replace(reward=np.roll(s.reward, 1)), "rewards are not those"),
    "reward 0 inside an episode": (
        lambda s: s._replace(reward=np.where(np.arange(ROWS) == ROWS - 1, 0, s.reward)),
        "rewards are not those",
    ),
    "the state of the next step": (lambda s: s._replace(hidden=s.hidden + 1), "the hidden state is not that of its"),
    "one unit of the cell": (lambda s: s._replace(cell=s.cell * np.array([1, 1, 2])), "the cell state is not that"),
    "a state of another width": (lambda s: s._replace(cell=s.cell[:2]), "the cell state is not that"),
}


@both
@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_sequence_is_caught(profile: Profile, change: Callable[[Sequence], Sequence], message: str) -> None:
    right = [sequence(profile, 40, 0), sequence(profile, 80, 1), sequence(profile, 120, 0)]
    with pytest.raises(WrongBatch, match=f"sequence 3 of the batch: {message}"):
        check(profile, [*right, change(sequence(profile, 40, 1))])


@both
def test_a_batch_that_is_too_small_or_too_short_is_caught(profile: Profile) -> None:
    whole = [sequence(profile, 40, env) for env in range(4)]
    with pytest.raises(WrongBatch, match="the batch has 3 sequences, must have 4"):
        check(profile, whole[:3])
    with pytest.raises(WrongBatch, match=r"sequences have 101.0 rows on average, must have 121"):
        check(profile, [*whole[:2], sequence(profile, 40, 0, 81), sequence(profile, 40, 0, 81)])
    with pytest.raises(WrongBatch, match=r"sequences have 122.0 rows on average, must have 121"):
        check(profile, [sequence(profile, 40, env, ROWS + 1) for env in range(4)])


@both
def test_an_end_inside_a_sequence_is_caught(profile: Profile) -> None:
    """The final observation's row has no reward; with one it is a step of the next episode, which must not follow."""
    over = sequence(profile, EPISODE - 60, 0)
    check(profile, [over] * 4)  # numbers go on over the end: for replays that know no episodes
    with pytest.raises(WrongBatch, match="rewards are not"):
        check(profile, [over._replace(reward=np.where(np.arange(ROWS) == 60, 0, over.reward))] * 4)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 5, 20, 40, 200]), min_size=1, max_size=6))
def test_sequences_are_cut_from_episodes_however_the_steps_come(counts: list[int]) -> None:
    profile = SMALL["float32"]
    episode = EpisodeSoFar(profile, num_envs=2)
    for start in (0, EPISODE):
        first, cut = start, []
        for count in itertools.cycle(counts):
            count = min(count, start + EPISODE - first)
            for complete in episode.add(steps(profile, 2, first, count)):
                cut.append({name: field.copy() for name, field in complete.items()})
            first += count
            if first == start + EPISODE:
                break
        # Every 40 steps one of 121 rows, as long as the 1001 rows last; the last one ends with row 1000.
        firsts = range(0, EPISODE + 2 - ROWS, PERIOD)
        assert len(cut) == len(firsts) == 23
        for row, complete in zip(firsts, cut, strict=True):
            for env in range(2):
                expected = sequence(profile, start + row, env, final=row == EPISODE + 1 - ROWS)
                fields = [complete[name][env] for name in ("observation", "action", "reward", "hidden", "cell")]
                for own, wanted in zip(fields, expected, strict=True):
                    np.testing.assert_array_equal(own, wanted)


def test_the_last_row_of_an_episode_is_its_final_observation() -> None:
    episode = EpisodeSoFar(SMALL["uint8"], num_envs=1)
    for first in range(0, EPISODE, PERIOD):
        complete = [
            {name: field.copy() for name, field in each.items()}
            for each in episode.add(steps(SMALL["uint8"], 1, first, PERIOD))
        ]
    (last,) = complete[-1:]
    assert last["action"][0, -1] == last["reward"][0, -1] == 0
    assert last["flags"][0].tolist() == [0] * (ROWS - 2) + [2, 0]
    expected = observations(SMALL["uint8"], np.array([EPISODE]), np.array([0]))
    np.testing.assert_array_equal(last["observation"][0, -1:], expected)


@both
def test_a_chunk_is_split_into_its_steps(profile: Profile) -> None:
    chunk = steps(profile, 2, EPISODE - PERIOD, PERIOD)
    (whole,) = split(chunk, one_by_one=False)
    assert whole is chunk
    single = list(split(chunk, one_by_one=True))
    assert [part.ends for part in single] == [False] * (PERIOD - 1) + [True]
    for field in ("observation", "action", "reward", "hidden", "cell"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, field) for p in single]), getattr(chunk, field))
