"""Steps that are collected leave the buffer as the same steps added one by one, only later."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from test_add_many import SPACE, part, random_steps, replay_of, same_state

from r2d2.replay import SequenceGeometry, SequenceReplay, StepCollector, trees

STATE = {"h": np.zeros(2, np.float32), "c": np.zeros((), np.float32)}
GEOMETRY = SequenceGeometry(1, 3, 1, 1)


def collector_of(steps: int, num_envs: int) -> StepCollector:
    return StepCollector(SPACE, spaces.Discrete(3, start=1), STATE, steps=steps, num_envs=num_envs)


def otherwise(rng: np.random.Generator, step: dict[str, Any]) -> dict[str, Any]:
    """The same step in other forms; the caller's arrays are overwritten once it has been added."""
    given = {**step, "observation": dict(step["observation"])}
    if rng.random() < 0.6:
        given["reward"] = step["reward"].astype(np.float32) if rng.random() < 0.5 else step["reward"].tolist()
    if rng.random() < 0.3:
        given["action"] = step["action"].astype(rng.choice(["i1", "u2", ">i4", "u8"]))
    if rng.random() < 0.3:
        given["terminated"] = step["terminated"].tolist()
    if rng.random() < 0.3:
        given["observation"]["kind"] = step["observation"]["kind"].astype(np.uint8)
    if rng.random() < 0.3:
        given["observation"]["place"] = np.asfortranarray(step["observation"]["place"], np.float64)
    if rng.random() < 0.3:
        given["state"] = {**step["state"], "h": np.asfortranarray(step["state"]["h"])}
    if step["active"].all() and rng.random() < 0.8:
        del given["active"]
    if not ((step["terminated"] | step["truncated"]) & step["active"]).any() and rng.random() < 0.8:
        del given["final_observation"]
    return given


def copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: copied(leaf) for name, leaf in tree.items()}
    return tree.copy() if isinstance(tree, np.ndarray) else tree


def overwrite(tree: Any) -> None:
    for leaf in tree.values():
        if isinstance(leaf, dict):
            overwrite(leaf)
        elif isinstance(leaf, np.ndarray):
            leaf[...] = 1


@settings(max_examples=150)
@given(st.data())
def test_they_leave_the_same_buffer_behind(data: st.DataObject) -> None:
    draw = data.draw
    num_envs, size = draw(st.integers(1, 3), label="num_envs"), draw(st.integers(1, 7), label="steps")
    rng = np.random.default_rng(draw(st.integers(0, 1000), label="seed"))
    time, ending = draw(st.integers(1, 40), label="time"), draw(st.sampled_from([0.0, 0.1, 0.5]), label="ending")
    steps = random_steps(rng, time, num_envs, ending, draw(st.sampled_from([1.0, 0.8]), label="active"))
    one_by_one, collected = (replay_of(GEOMETRY, 30 * num_envs, num_envs) for _ in range(2))
    collector = collector_of(size, num_envs)
    keys: list[int] = []
    their_keys: list[int] = []
    for t in range(time):
        step = part(steps, t)
        keys += one_by_one.add(**step).tolist()
        there = len(collector)
        given = copied(otherwise(rng, step))
        collector.add(**given)
        overwrite(given)
        assert len(collector) == there + 1
        assert collector.is_full == (there + 1 == size)
        if collector.is_full or rng.random() < 0.1 or t == time - 1:
            their_keys += collected.add_many(**collector.take(copy=rng.random() < 0.5)).tolist()
            assert len(collector) == 0
    assert keys == their_keys
    same_state(one_by_one, collected)


STEP = part(random_steps(np.random.default_rng(0), 1, 2, ending=1.0, active=1.0), 0)
WRONG = {
    "a reward too many": ({"reward": np.zeros(3)}, ValueError, r"reward has shape \(3,\), must be \(2,\)"),
    "a reward in words": ({"reward": np.array(["a", "b"])}, TypeError, "reward has dtype <U1, must be a number type"),
    "flags in numbers": ({"terminated": np.zeros(2)}, TypeError, "terminated has dtype float64, must be bool"),
    "flags along another axis": (
        {"terminated": np.zeros((2, 1), bool)},
        ValueError,
        r"terminated has shape \(2, 1\), must be \(2,\)",
    ),
    "flags in small numbers": (
        {"terminated": np.zeros(2, bool), "truncated": np.zeros(2, np.int8)},
        TypeError,
        "truncated has dtype int8, must be bool",
    ),
    "one flag": ({"truncated": np.zeros((), bool)}, ValueError, r"truncated has shape \(\), must be \(2,\)"),
    "a fraction of an action": ({"action": np.ones(2)}, TypeError, "action has dtype float64, must be an integer type"),
    "no action, at another dtype": (
        {"action": np.array([1, 4], np.int8)},
        ValueError,
        r"action \[1, 4\] is outside Disc",
    ),
    "an action that its dtype cannot hold": (
        {"action": np.full(2, 2**64 - 1, np.uint64)},
        ValueError,
        "is outside Disc",
    ),
    "an observation for two": (
        {"observation": {**STEP["observation"], "place": np.zeros((1, 2), np.float32)}},
        ValueError,
        r"observation\['place'\] has shape \(1, 2\), must be \(2, 2\)",
    ),
    "an observation that its dtype cannot hold": (
        {"observation": {**STEP["observation"], "kind": np.full(2, 2**64 - 1, np.uint64)}},
        ValueError,
        r"observation\['kind'\] is outside its space",
    ),
    "an observation without its parts": ({"observation": np.zeros(2)}, ValueError, "observation must be a dict of"),
    "a state at another dtype": (
        {"state": {**STEP["state"], "h": np.zeros((2, 2))}},
        TypeError,
        r"state\['h'\] has dtype float64, must be float32",
    ),
    "a state of another network": ({"state": {"h": STEP["state"]["h"]}}, ValueError, "state must be a dict of"),
    "an end without an end": (
        {"final_observation": None},
        ValueError,
        r"needed: the episodes of environments \[0, 1\] end",
    ),
    "a final observation outside": (
        {"final_observation": {**STEP["observation"], "kind": np.array([0, 5])}},
        ValueError,
        r"final_observation\['kind'\] is outside its space",
    ),
    "activity in numbers": ({"active": np.ones(2)}, TypeError, "active has dtype float64, must be bool"),
}


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert set(one) == set(other)
        for name in one:
            assert_same(one[name], other[name])
    elif one is not None:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("change", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_step_that_is_refused_is_not_collected(change: dict[str, Any], error: type[Exception], message: str) -> None:
    steps = random_steps(np.random.default_rng(1), 3, 2, ending=0.0, active=1.0)
    collector, other = collector_of(4, 2), collector_of(4, 2)
    for t in range(3):
        with pytest.raises(error, match=message):
            collector.add(**STEP | change)
        assert len(collector) == t
        for one in (collector, other):
            one.add(**part(steps, t))
    assert_same(collector.take(), other.take())


def test_a_step_that_an_interrupt_has_cut_short_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(dict[int, Any]):
        def __setitem__(self, t: int, event: Any) -> None:
            super().__setitem__(t, event)
            raise KeyboardInterrupt

    steps = random_steps(np.random.default_rng(1), 1, 2, ending=0.0, active=1.0)
    collector, other = collector_of(4, 2), collector_of(4, 2)
    collector._events = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        collector.add(**STEP)
    assert len(collector) == len(collector.take()["reward"]) == 0
    collector._events = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        collector.add(**STEP)
    del steps["active"]
    for one in (collector, other):
        one.add(**part(steps, 0))
    assert_same(collector.take(), other.take())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.array([0.0, np.nan])}, "reward must be finite"),
        ({"action": np.array([0, 1])}, r"action \[\[0, 1\]\] is outside"),
        ({"observation": {**STEP["observation"], "place": np.full((2, 2), np.inf, np.float32)}}, "outside its space"),
        ({"state": {**STEP["state"], "h": np.full((2, 2), np.nan, np.float32)}}, r"state\['h'\] must be finite"),
    ],
)
def test_values_are_refused_by_the_replay(change: dict[str, Any], message: str) -> None:
    replay, collector = replay_of(GEOMETRY, 60, 2), collector_of(1, 2)
    collector.add(**STEP | change)
    with pytest.raises(ValueError, match=message):
        replay.add_many(**collector.take())
    assert replay.num_steps == 0
    assert len(collector) == 0


def test_what_is_taken_stays_what_it_was_unless_no_copy_is_asked_for() -> None:
    steps = random_steps(np.random.default_rng(1), 4, 2, ending=0.5, active=0.7)
    for copy in (True, False):
        collector = collector_of(2, 2)
        for t in range(2):
            collector.add(**part(steps, t))
        taken = collector.take(copy=copy)
        before = copied(taken)
        for t in range(2, 4):
            collector.add(**part(steps, t))
        changed = [name for name in taken if not np.array_equal(flat(taken[name]), flat(before[name]))]
        assert changed == ([] if copy else ["observation", "action", "reward", "state"])


def flat(tree: Any) -> Any:
    return np.concatenate([flat(leaf) for leaf in tree.values()]) if isinstance(tree, dict) else np.ravel(tree)


class Pair(NamedTuple):
    h: Any
    c: Any


@pytest.mark.parametrize(
    "example",
    [(), np.float32(0), [], Pair(np.zeros(2, np.float32), np.zeros((), ">f8")), [np.zeros(1), (np.zeros(2),)]],
)
@pytest.mark.parametrize("dtype", ["i4", ">i2"])
def test_states_and_actions_of_many_kinds(example: Any, dtype: str) -> None:
    space, actions = spaces.Box(-9, 9, (1,)), spaces.Discrete(3, dtype=np.dtype(dtype))
    replays = [SequenceReplay(space, actions, example, GEOMETRY, capacity=20) for _ in range(2)]
    collector = StepCollector(space, actions, example, steps=5)
    for t in range(5):
        filled = [np.full((1, *np.shape(leaf)), t, np.asarray(leaf).dtype) for leaf in trees.leaves(example)]
        state = trees.build(example, filled)
        observation, action = np.full((1, 1), t, np.float32), np.array([t % 3], dtype)
        for one in (replays[0], collector):
            one.add(observation, action, [1.0], [t == 3], [False], state, final_observation=observation)
    replays[1].add_many(**collector.take())
    same_state(*replays)


@pytest.mark.parametrize("leaf", [None, "text", np.zeros(1, object)])
def test_a_state_that_is_not_of_numbers_is_refused(leaf: Any) -> None:
    with pytest.raises(TypeError, match=r"state_example\['h'\] has dtype .*, must be of numbers"):
        StepCollector(SPACE, spaces.Discrete(3), {"h": leaf}, steps=3)


def test_its_memory_is_that_of_its_steps() -> None:
    assert collector_of(3, 2).nbytes == 3 * 2 * (2 * 4 + 8 + 8 + 4 + 2 * 4 + 4)


def test_a_full_one_refuses_another_step() -> None:
    collector = collector_of(2, 2)
    for _ in range(2):
        collector.add(**STEP)
    with pytest.raises(RuntimeError, match=r"all steps=2 have been collected: take\(\) them first"):
        collector.add(**STEP)
    assert len(collector.take()["reward"]) == 2
    collector.add(**STEP)


def test_nothing_is_no_step() -> None:
    replay = replay_of(GEOMETRY, 60, 2)
    assert replay.add_many(**collector_of(2, 2).take()).tolist() == []
    assert replay.num_steps == 0


@pytest.mark.parametrize("name", ["steps", "num_envs"])
def test_numbers_of_steps_and_environments(name: str) -> None:
    for value, error, said in ((0, ValueError, "must be at least 1"), (1.5, TypeError, "must be an integer")):
        with pytest.raises(error, match=f"{name}={value} {said}"):
            StepCollector(SPACE, spaces.Discrete(3), STATE, **{"steps": 1, "num_envs": 1, name: value})


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_observations_and_states_of_any_shape(shape: tuple[int, ...]) -> None:
    space, state = spaces.Box(-9, 9, shape), [np.zeros(shape, np.float32), (np.zeros(1, ">i2"),)]
    arguments = (space, spaces.MultiDiscrete([2, 3], start=[1, -1]), state)
    replays = [SequenceReplay(*arguments, GEOMETRY, capacity=20) for _ in range(2)]
    collector = StepCollector(*arguments, steps=5)
    for t in range(5):
        given = {
            "observation": np.full((1, *shape), t, np.float32),
            "action": np.array([[1 + t % 2, -1 + t % 3]]),
            "reward": np.ones(1, np.float32),
            "terminated": np.array([t == 3]),
            "truncated": np.array([False]),
            "state": [np.full((1, *shape), t, np.float32), (np.full((1, 1), t, ">i2"),)],
            "final_observation": np.full((1, *shape), 7, np.float32),
        }
        replays[0].add(**given)
        collector.add(**given)
    replays[1].add_many(**collector.take())
    same_state(*replays)
