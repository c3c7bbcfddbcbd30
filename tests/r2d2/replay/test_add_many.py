"""Many steps added at once leave the buffer exactly as the same steps added one by one."""

import itertools

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.replay import SequenceGeometry, SequenceReplay

SPACE = spaces.Dict({"place": spaces.Box(-1e6, 1e6, (2,), np.float32), "kind": spaces.Discrete(5)})


def replay_of(geometry: SequenceGeometry, capacity: int, num_envs: int) -> SequenceReplay:
    state = {"h": np.zeros(2, np.float32), "c": np.zeros((), np.float32)}
    return SequenceReplay(SPACE, spaces.Discrete(3, start=1), state, geometry, capacity=capacity, num_envs=num_envs)


def random_steps(rng: np.random.Generator, time: int, num_envs: int, ending: float, active: float) -> dict:
    shape = (time, num_envs)
    ends = rng.random(shape) < ending
    terminated = ends & (rng.random(shape) < 0.5)
    number = np.arange(time * num_envs, dtype=np.float32).reshape(shape)

    def observation(offset: float) -> dict:
        place = np.stack([number + offset, rng.normal(size=shape).astype(np.float32)], axis=-1)
        return {"place": place.astype(np.float32), "kind": rng.integers(0, 5, shape)}

    return {
        "observation": observation(0.0),
        "action": rng.integers(1, 4, shape),
        "reward": rng.normal(size=shape),
        "terminated": terminated,
        "truncated": ends & ~terminated,
        "state": {"h": rng.normal(size=(*shape, 2)).astype(np.float32), "c": number},
        "final_observation": observation(0.5),
        "active": rng.random(shape) < active,
    }


def part(tree: dict, times: object) -> dict:
    return {name: part(leaf, times) if isinstance(leaf, dict) else leaf[times] for name, leaf in tree.items()}


def laid_out(state: dict, names: set[str]) -> dict:
    """The state with leaves ``names`` whose numbers do not lie in a row."""
    return {name: np.repeat(leaf, 2, axis=1)[:, ::2] if name in names else leaf for name, leaf in state.items()}


def same_state(one: SequenceReplay, other: SequenceReplay) -> None:
    assert one.check_consistency() == []
    mine, theirs = one.get_state(), other.get_state()
    assert set(mine) == set(theirs)
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


@settings(max_examples=150)
@given(st.data())
def test_any_cuts_leave_the_same_buffer_behind(data: st.DataObject) -> None:
    draw = data.draw
    train_length = draw(st.integers(1, 6), label="train_length")
    geometry = SequenceGeometry(
        draw(st.integers(0, 5), label="burn_in"),
        train_length,
        draw(st.integers(0, train_length - 1), label="overlap"),
        draw(st.integers(1, 3), label="n_step"),
    )
    num_envs = draw(st.integers(1, 3), label="num_envs")
    rows = draw(st.sampled_from([geometry.rows_needed, 2 * geometry.rows_needed + 3, 300]), label="rows")
    rng = np.random.default_rng(draw(st.integers(0, 1000), label="seed"))
    time = draw(st.integers(1, 60), label="time")
    steps = random_steps(rng, time, num_envs, draw(st.sampled_from([0.0, 0.1, 0.5])), draw(st.sampled_from([1.0, 0.8])))
    given = steps | {"state": laid_out(steps["state"], draw(st.sets(st.sampled_from("hc")), label="not in a row"))}
    at_once, one_by_one = (replay_of(geometry, rows * num_envs, num_envs) for _ in range(2))
    cuts = sorted(draw(st.sets(st.integers(1, time), max_size=4), label="cuts") | {0, time})
    keys: list[int] = []
    for start, end in itertools.pairwise(cuts):
        keys += at_once.add_many(**part(given, slice(start, end))).tolist()
    added = [one_by_one.add(**part(steps, t)).tolist() for t in range(time)]
    assert keys == [key for each in added for key in each]
    same_state(at_once, one_by_one)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"reward": np.zeros((4, 3))}, ValueError, r"reward has shape \(4, 3\), must be \(4, 2\)"),
        ({"terminated": np.zeros((3, 2), bool)}, ValueError, r"terminated has shape \(3, 2\), must be \(4, 2\)"),
        ({"reward": np.full((4, 2), np.nan)}, ValueError, "reward must be finite"),
        ({"action": np.zeros((4, 2), int)}, ValueError, "is outside"),
        (
            {"truncated": np.ones((4, 2), bool), "final_observation": None},
            ValueError,
            r"environments \[0, 1\] end with these steps",
        ),
        (
            {
                "truncated": np.ones((4, 2), bool),
                "final_observation": {"place": np.zeros((4, 2, 3)), "kind": np.ones((4, 2), int)},
            },
            ValueError,
            r"final_observation\['place'\] has shape \(4, 2, 3\), must be \(4, 2, 2\)",
        ),
        (
            {
                "truncated": np.ones((4, 2), bool),
                "final_observation": {"place": np.zeros((2, 4, 2), np.float32), "kind": np.zeros((2, 4), int)},
            },
            ValueError,
            r"final_observation\['kind'\] has shape \(2, 4\), must be \(4, 2\)",
        ),
        ({"active": np.ones((4, 2))}, TypeError, "active has dtype float64, must be bool"),
        ({"state": {"h": np.zeros((4, 2, 2))}}, ValueError, "state"),
    ],
)
def test_a_wrong_argument_is_refused_and_nothing_is_added(change: dict, error: type, message: str) -> None:
    replay = replay_of(SequenceGeometry(1, 2, 0, 1), 100, 2)
    steps = random_steps(np.random.default_rng(0), 4, 2, 0.2, 1.0)
    before = replay.get_state()
    with pytest.raises(error, match=message):
        replay.add_many(**{**steps, **change})
    for name, value in replay.get_state().items():
        np.testing.assert_array_equal(value, before[name])


@given(st.data())
def test_one_number_that_is_unfit_is_found_wherever_it_is(data: st.DataObject) -> None:
    draw = data.draw
    time, num_envs = draw(st.integers(1, 40), label="time"), draw(st.integers(1, 5), label="num_envs")
    replay = replay_of(SequenceGeometry(1, 2, 0, 1), 100 * num_envs, num_envs)
    steps = random_steps(np.random.default_rng(0), time, num_envs, 0.2, 1.0)
    place = draw(st.integers(0, time - 1), label="t"), draw(st.integers(0, num_envs - 1), label="env")
    name, value, message = draw(
        st.sampled_from(
            [("action", 0, "is outside Discrete"), ("action", 4, "is outside Discrete")]
            + [("reward", value, "reward must be finite") for value in (np.nan, np.inf, -np.inf, 1e39)]
        ),
        label="unfit",
    )
    steps[name][place] = value
    with pytest.raises(ValueError, match=message):
        replay.add_many(**steps)
    same_state(replay, replay_of(SequenceGeometry(1, 2, 0, 1), 100 * num_envs, num_envs))


def test_no_step_at_all_adds_nothing_and_one_axis_is_refused() -> None:
    replay = SequenceReplay(
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(2),
        (np.zeros(3, np.float32),),
        SequenceGeometry(1, 2, 0, 1),
        capacity=40,
    )
    nothing = np.zeros((0, 1), np.float32)
    ends = np.zeros((0, 1), bool)
    states = (np.zeros((0, 1, 3), np.float32),)
    observation = np.zeros((0, 1, 2), np.float32)
    assert replay.add_many(observation, nothing.astype(int), nothing, ends, ends, states).shape == (0,)
    assert replay.num_steps == 0
    with pytest.raises(ValueError, match=r"reward has shape \(1,\), must be \[time, num_envs\]"):
        replay.add_many(observation, nothing.astype(int), np.zeros(1), ends, ends, states)


@settings(max_examples=80)
@given(st.data())
def test_of_states_those_that_are_kept_are_looked_at(data: st.DataObject) -> None:
    draw = data.draw
    train_length = draw(st.integers(1, 5), label="train_length")
    geometry = SequenceGeometry(draw(st.integers(0, 5)), train_length, draw(st.integers(0, train_length - 1)), 1)
    num_envs, time = draw(st.integers(1, 3), label="num_envs"), draw(st.integers(1, 25), label="time")
    rng = np.random.default_rng(draw(st.integers(0, 1000), label="seed"))
    steps = random_steps(rng, time, num_envs, ending=0.2, active=0.8)

    kept = np.zeros((time, num_envs), bool)
    step = np.zeros(num_envs, int)
    for t, env in itertools.product(range(time), range(num_envs)):
        if steps["active"][t, env]:
            kept[t, env] = geometry.begun_by(step[env] + 1) > geometry.begun_by(step[env])
            ended = steps["terminated"][t, env] or steps["truncated"][t, env]
            step[env] = 0 if ended else step[env] + 1

    replay = replay_of(geometry, 200, num_envs)
    steps["state"]["h"][~kept] = np.nan
    replay.add_many(**steps)
    assert replay.check_consistency() == []

    if kept.any():
        before = replay_of(geometry, 200, num_envs)
        t, env = np.argwhere(kept)[rng.integers(kept.sum())]
        steps["state"]["h"][t, env, 1] = np.inf
        with pytest.raises(ValueError, match=r"state\['h'\] must be finite"):
            before.add_many(**steps)
        same_state(before, replay_of(geometry, 200, num_envs))


def test_steps_in_many_parts_make_no_more_room_than_one_by_one() -> None:
    geometry = SequenceGeometry(1, 4, 1, 1)
    steps = random_steps(np.random.default_rng(0), 200, 2, 0.05, 1.0)
    at_once, one_by_one = (replay_of(geometry, 2 * 30, 2) for _ in range(2))
    at_once.add_many(**steps)  # written in parts of 14 steps, for rings of 30 rows
    for t in range(200):
        one_by_one.add(**part(steps, t))
    assert at_once.nbytes == one_by_one.nbytes
