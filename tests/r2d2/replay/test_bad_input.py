"""What is refused says why, and leaves the buffer exactly as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from replay_oracle import TERMINATED, Play, make_replay, read

from r2d2.replay import SequenceGeometry, SequenceReplay
from r2d2.replay.spaces import OutsideSpaceError

NAN, INF = float("nan"), float("inf")
GEOMETRY = SequenceGeometry(burn_in=1, train_length=2, overlap=1, n_step=1)


def replay_in_use() -> SequenceReplay:
    """Two environments, in the middle of an episode, with sequences, dropped updates and draws behind it."""
    replay = SequenceReplay(
        spaces.Dict(
            {
                "box": spaces.Box(-1, 1, (2,), np.float32),
                "count": spaces.Discrete(5, start=1),
                "free": spaces.Box(-INF, INF, (1,), np.float32),
                "pixels": spaces.Box(0, 200, (2, 2), np.uint8),
                "side": spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([3, 4]))),
            }
        ),
        spaces.Discrete(3, start=1),
        {"h": np.zeros(2, np.float32), "c": np.zeros(2, np.float32)},
        GEOMETRY,
        capacity=30,
        num_envs=2,
    )
    for t in range(40):
        replay.add(**step(terminated=np.array([t % 7 == 6, False])))
    keys = replay.keys()
    replay.update_priorities(np.append(keys, 0), np.linspace(1, 2, len(keys) + 1))
    replay.sample(3)
    return replay


def observation(**change: Any) -> dict[str, Any]:
    return {
        "box": np.full((2, 2), 0.5, np.float32),
        "count": np.array([1, 5]),
        "free": np.full((2, 1), 1e30, np.float32),
        "pixels": np.full((2, 2, 2), 200, np.uint8),
        "side": (np.ones((2, 2), np.int8), np.array([[2, 3], [0, 0]])),
    } | change


def state(**change: Any) -> dict[str, Any]:
    return {"h": np.full((2, 2), 0.25, np.float32), "c": np.full((2, 2), 0.75, np.float32)} | change


def step(**change: Any) -> dict[str, Any]:
    """Good arguments of `add`, but for ``change``."""
    return {
        "observation": observation(),
        "action": np.array([1, 3]),
        "reward": np.array([0.5, -0.5]),
        "terminated": np.array([False, False]),
        "truncated": np.array([False, False]),
        "state": state(),
        "final_observation": observation(),
    } | change


def assert_refused(replay: SequenceReplay, call: Callable[[], Any], error: type[Exception], message: str) -> None:
    before = replay.get_state()
    with pytest.raises(error, match=message):
        call()
    assert_identical(replay.get_state(), before)
    assert replay.check_consistency() == []


def assert_identical(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert set(one) == set(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert array.shape == other[name].shape, name
        assert array.tobytes() == other[name].tobytes(), name


def ended(**change: Any) -> dict[str, Any]:
    return step(terminated=np.array([False, True]), **change)


ADD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    # Rewards
    "a NaN reward": (step(reward=[0.0, NAN]), ValueError, r"reward must be finite.*\[0.0, nan\]"),
    "an infinite reward": (step(reward=[INF, 0.0]), ValueError, "reward must be finite"),
    "a reward beyond float32": (step(reward=[0.0, -1e300]), ValueError, "reward must be finite in float32"),
    "one reward for two": (step(reward=[0.0]), ValueError, r"reward has shape \(1,\), must be \(2,\)"),
    "rewards with an axis too many": (step(reward=np.zeros((2, 1))), ValueError, r"reward has shape \(2, 1\)"),
    "rewards as text": (step(reward=["1", "2"]), TypeError, "reward has dtype <U1, must be a number type"),
    "rewards as objects": (step(reward=[None, 1.0]), TypeError, "reward has dtype object"),
    "complex rewards": (step(reward=[1j, 0]), TypeError, "reward has dtype complex128"),
    # Ends
    "ends as numbers": (step(terminated=np.array([0, 1])), TypeError, "terminated has dtype int64, must be bool"),
    "cuts as numbers": (step(truncated=np.array([0.0, 1.0])), TypeError, "truncated has dtype float64, must be bool"),
    "one end for two": (step(terminated=[True]), ValueError, r"terminated has shape \(1,\), must be \(2,\)"),
    "one cut for all": (step(truncated=np.bool_(True)), ValueError, r"truncated has shape \(\), must be \(2,\)"),
    "active rows as numbers": (step(active=[1, 0]), TypeError, "active has dtype int64, must be bool"),
    "three active rows": (step(active=np.ones(3, bool)), ValueError, r"active has shape \(3,\), must be \(2,\)"),
    # Actions
    "an action above the space": (
        step(action=[1, 4]),
        ValueError,
        r"action \[1, 4\] is outside Discrete\(3, start=1\)",
    ),
    "an action below the space": (step(action=[0, 1]), ValueError, r"action \[0, 1\] is outside"),
    "actions that are not whole": (step(action=[1.0, 2.0]), TypeError, "action has dtype float64, must be an integer"),
    "actions with an axis too many": (
        step(action=[[1], [2]]),
        ValueError,
        r"action has shape \(2, 1\), must be \(2,\)",
    ),
    # Observations
    "a missing part": (
        step(observation={k: v for k, v in observation().items() if k != "count"}),
        ValueError,
        r"observation must be a dict of \['box', 'count', 'free', 'pixels', 'side'\], not a dict of \['box', 'free'",
    ),
    "a part too many": (step(observation=observation(more=1)), ValueError, "observation must be a dict of"),
    "an array where a dict should be": (
        step(observation=np.zeros((2, 2))),
        ValueError,
        r"observation must be a dict of \[.*\], not ndarray",
    ),
    "a dict where an array should be": (
        step(observation=observation(box={"a": 1})),
        ValueError,
        r"observation\['box'\] must be one array, not a dict",
    ),
    "a part of a tuple missing": (
        step(observation=observation(side=(np.ones((2, 2), np.int8),))),
        ValueError,
        r"observation\['side'\] must be a sequence of 2 parts, not 1",
    ),
    "one observation for two": (
        step(observation=observation(box=np.zeros((1, 2), np.float32))),
        ValueError,
        r"observation\['box'\] has shape \(1, 2\), must be \(2, 2\)",
    ),
    "an observation of another size": (
        step(observation=observation(pixels=np.zeros((2, 2, 3), np.uint8))),
        ValueError,
        r"observation\['pixels'\] has shape \(2, 2, 3\), must be \(2, 2, 2\)",
    ),
    "rows of different lengths": (step(observation=observation(box=[[0.0], [0.0, 1.0]])), ValueError, "box"),
    "fractions where whole numbers should be": (
        step(observation=observation(pixels=np.zeros((2, 2, 2), np.float32))),
        TypeError,
        r"observation\['pixels'\] has dtype float32, must be uint8",
    ),
    "an observation as text": (
        step(observation=observation(count=np.array(["1", "2"]))),
        TypeError,
        r"observation\['count'\] has dtype <U1, must be int64",
    ),
    "above a Box": (
        step(observation=observation(box=np.array([[0, 0], [0, 1.5]], np.float32))),
        ValueError,
        r"observation\['box'\] is outside its space: it must be at most 1.0",
    ),
    "below a Box": (
        step(observation=observation(box=np.array([[0, -1.5], [0, 0]], np.float32))),
        ValueError,
        r"observation\['box'\] is outside its space: it must be at least -1.0",
    ),
    "above an integer Box": (
        step(observation=observation(pixels=np.full((2, 2, 2), 201, np.uint8))),
        ValueError,
        r"observation\['pixels'\] is outside its space: it must be at most 200",
    ),
    "an integer that would wrap": (
        step(observation=observation(pixels=np.full((2, 2, 2), 256 + 10))),
        ValueError,
        r"observation\['pixels'\] is outside its space",
    ),
    "NaN in a bounded Box": (
        step(observation=observation(box=np.full((2, 2), NAN, np.float32))),
        ValueError,
        r"observation\['box'\] is outside its space",
    ),
    "NaN in an unbounded Box": (
        step(observation=observation(free=np.array([[0.0], [NAN]], np.float32))),
        ValueError,
        r"observation\['free'\] is outside its space: it must not hold NaN",
    ),
    "a number that is infinite at the space's dtype": (
        step(observation=observation(free=np.array([[0.0], [1e300]]))),
        ValueError,
        r"observation\['free'\] is outside its space: .*float32",
    ),
    "below a Discrete": (step(observation=observation(count=[1, 0])), ValueError, r"\['count'\] is outside its space"),
    "above a Discrete": (step(observation=observation(count=[1, 6])), ValueError, r"\['count'\] is outside its space"),
    "above a MultiBinary": (
        step(observation=observation(side=(np.full((2, 2), 2, np.int8), np.zeros((2, 2), np.int64)))),
        ValueError,
        r"observation\['side'\]\[0\] is outside its space: it must be at most 1",
    ),
    "above a MultiDiscrete": (
        step(observation=observation(side=(np.ones((2, 2), np.int8), np.array([[0, 0], [3, 3]])))),
        ValueError,
        r"observation\['side'\]\[1\] is outside its space: it must be at most 2 to 3, by element",
    ),
    # Final observations
    "a tuple where an array should be": (
        step(observation=observation(side=(np.ones((2, 2), np.int8), ([0, 0], [0, 0])))),
        ValueError,
        r"observation\['side'\]\[1\] must be one array, not a tuple",
    ),
    "a part of a tuple too many": (
        step(observation=observation(side=(np.ones((2, 2), np.int8),) * 3)),
        ValueError,
        r"observation\['side'\] must be a sequence of 2 parts, not 3",
    ),
    "an end without final observation": (
        ended(final_observation=None),
        ValueError,
        r"final_observation is needed: the episodes of environments \[1\] end with this step",
    ),
    "a final observation outside the space": (
        ended(final_observation=observation(count=[1, 9])),
        ValueError,
        r"final_observation\['count'\] is outside its space",
    ),
    "a final observation of another structure": (
        ended(final_observation=np.zeros((2, 3))),
        ValueError,
        "final_observation must be a dict of",
    ),
    "final observations of another number of environments": (
        ended(final_observation=observation(count=[1, 1, 1])),
        ValueError,
        r"final_observation\[.count.\] has shape \(3,\), must be \(2,\)",
    ),
    # States
    "a state of another width": (
        step(state=state(h=np.zeros((2, 3), np.float32))),
        ValueError,
        r"state\['h'\] has shape \(2, 3\), must be \(2, 2\)",
    ),
    "a state of one row": (
        step(state=state(c=np.zeros((1, 2), np.float32))),
        ValueError,
        r"state\['c'\] has shape \(1, 2\), must be \(2, 2\)",
    ),
    "a state at another dtype": (
        step(state=state(h=np.zeros((2, 2), np.float64))),
        TypeError,
        r"state\['h'\] has dtype float64, must be float32",
    ),
    "the state of another network": (
        step(state=(np.zeros((2, 2), np.float32),) * 2),
        ValueError,
        r"state must be a dict of \['c', 'h'\], not tuple",
    ),
    "half a state": (
        step(state={"h": np.zeros((2, 2), np.float32)}),
        ValueError,
        r"state must be a dict of \['c', 'h'\]",
    ),
    "no state": (step(state=None), ValueError, r"state must be a dict of \['c', 'h'\], not NoneType"),
    "a NaN state": (step(state=state(c=np.full((2, 2), NAN, np.float32))), ValueError, r"state\['c'\] must be finite"),
    "an infinite state": (
        step(state=state(h=np.full((2, 2), -INF, np.float32))),
        ValueError,
        r"state\['h'\] must be finite",
    ),
    # Priorities
    "a negative priority": (step(priority=-1.0), ValueError, "priority must be finite and at least 0; it is -1.0"),
    "a NaN priority": (
        step(priority=[1.0, NAN]),
        ValueError,
        r"priority must be finite and at least 0; it is \[1.0, nan",
    ),
    "an infinite priority": (step(priority=INF), ValueError, "priority must be finite"),
    "three priorities": (
        step(priority=[1.0, 1.0, 1.0]),
        ValueError,
        r"priority has shape \(3,\), must be \(2,\) or one",
    ),
}


@pytest.mark.parametrize(("arguments", "error", "message"), ADD.values(), ids=ADD.keys())
def test_add_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    replay = replay_in_use()
    assert_refused(replay, lambda: replay.add(**arguments), error, message)


def test_the_good_arguments_are_not_refused() -> None:
    replay = replay_in_use()
    steps = replay.storage.position.sum()
    replay.add(**step())
    replay.add(**ended())
    # Two steps in two environments and one final observation.
    assert replay.storage.position.sum() == steps + 5


@pytest.mark.parametrize(
    "name", ["a NaN reward", "a final observation outside the space", "the state of another network"]
)
def test_after_a_refusal_the_corrected_call_works(name: str) -> None:
    refused, clean = replay_in_use(), replay_in_use()
    with pytest.raises(ValueError):  # noqa: PT011
        refused.add(**ADD[name][0])
    for replay in (refused, clean):
        replay.add(**ended())
    assert_identical(refused.get_state(), clean.get_state())


def test_nan_is_refused_on_the_bounded_and_on_the_unbounded_side_of_a_box() -> None:
    space = spaces.Box(np.array([0, -INF], np.float32), np.array([INF, 5], np.float32))
    for bad in ([NAN, 0.0], [0.0, NAN], [-1.0, 0.0], [0.0, 6.0]):
        replay = SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=30)
        arguments = (np.array([bad], np.float32), [0], [0.0], [False], [False], ())
        assert_refused(replay, lambda r=replay, a=arguments: r.add(*a), ValueError, "outside its space")


def test_multi_discrete_actions_outside_the_space_are_refused() -> None:
    space = spaces.MultiDiscrete([3, 2], start=[1, 0])
    replay = SequenceReplay(spaces.Discrete(2), space, (), GEOMETRY, capacity=30)
    for bad, message in [
        ([[4, 0]], "outside"),
        ([[1, 2]], "outside"),
        ([[0, 0]], "outside"),
        ([[1]], r"action has shape \(1, 1\), must be \(1, 2\)"),
        ([1], r"action has shape \(1,\), must be \(1, 2\)"),
    ]:
        call = lambda b=bad: replay.add([0], b, [0.0], [False], [False], ())  # noqa: E731
        assert_refused(replay, call, ValueError, message)


END_EPISODES: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "a mask of numbers": ([1, 1], observation(), TypeError, "mask has dtype int64, must be bool"),
    "a mask of another length": ([True], observation(), ValueError, r"mask has shape \(1,\), must be \(2,\)"),
    "no observation": ([False, True], None, ValueError, "observation"),
    "an observation outside the space": (
        [False, True],
        observation(count=[1, 0]),
        ValueError,
        r"observation\['count'\] is outside its space",
    ),
}


@pytest.mark.parametrize(("mask", "seen", "error", "message"), END_EPISODES.values(), ids=END_EPISODES.keys())
def test_end_episodes_refuses(mask: Any, seen: Any, error: type[Exception], message: str) -> None:
    replay = replay_in_use()
    assert_refused(replay, lambda: replay.end_episodes(mask, seen), error, message)


UPDATES: dict[str, tuple[Any, Any, str]] = {
    "a negative priority": (None, [-0.5, 1.0], r"priorities must be finite and at least 0; it is \[-0.5, 1.0\]"),
    "a NaN priority": (None, [NAN, 1.0], "priorities must be finite"),
    "an infinite priority": (None, [1.0, INF], "priorities must be finite"),
    "fewer priorities than keys": (None, [1.0], r"priorities has shape \(1,\), must be that of keys, \(2,\)"),
    "priorities with an axis too many": (None, [[1.0], [1.0]], r"priorities has shape \(2, 1\)"),
    "keys as fractions": ([1.0, 2.0], [1.0, 1.0], r"keys must be int64\[n\] as sample\(\) gave them, not float64"),
    "keys at another dtype": (np.array([1, 2], np.int32), [1.0, 1.0], "not int32"),
    "one key": (np.int64(3), 1.0, r"keys must be int64\[n\].*shape \(\)"),
}


@pytest.mark.parametrize(("keys", "priorities", "message"), UPDATES.values(), ids=UPDATES.keys())
def test_update_priorities_refuses(keys: Any, priorities: Any, message: str) -> None:
    replay = replay_in_use()
    keys = replay.keys()[:2] if keys is None else keys
    assert_refused(replay, lambda: replay.update_priorities(keys, priorities), ValueError, message)


def test_priorities_whose_power_no_sum_can_hold_are_refused() -> None:
    replay = make_replay(GEOMETRY, 30, priority_exponent=2.0)
    yes = np.array([True])
    arguments: dict[str, Any] = {
        "observation": np.ones((1, 3), np.int32),
        "action": [1],
        "reward": [1.0],
        "terminated": yes,
        "truncated": ~yes,
        "state": {"h": np.zeros((1, 3), np.float32), "c": (np.zeros(1),)},
        "final_observation": np.ones((1, 3), np.int32),
    }
    keys = replay.add(**arguments)
    for priority in (1e200, 1e150):
        assert_refused(
            replay, lambda p=priority: replay.update_priorities(keys, [p]), ValueError, "priorities.*too large"
        )
        assert_refused(
            replay, lambda p=priority: replay.add(**arguments, priority=p), ValueError, "priority.*too large"
        )
    replay.update_priorities(keys, [1e100])
    replay.add(**arguments)
    assert len(replay.sample(5).keys) == 5


@pytest.mark.parametrize("batch_size", [0, -1])
def test_sample_refuses_a_batch_of_nothing(batch_size: int) -> None:
    replay = replay_in_use()
    call = lambda: replay.sample(batch_size)  # noqa: E731
    assert_refused(replay, call, ValueError, f"batch_size={batch_size} must be at least 1")


def test_sample_says_when_there_is_nothing_yet() -> None:
    replay = make_replay(GEOMETRY, 30)
    call = lambda: replay.sample(1)  # noqa: E731
    assert_refused(replay, call, RuntimeError, "no sequence is complete yet; ask can_sample")


@pytest.mark.parametrize("key", [-1, 0, 2**62])
def test_get_refuses_keys_that_are_not_held(key: int) -> None:
    replay = replay_in_use()
    call = lambda: replay.get([int(replay.keys()[0]), key])  # noqa: E731
    assert_refused(replay, call, KeyError, f"key {key} is not of a sequence held")


# -- set_state ---------------------------------------------------------------------------------------------------------


def other(**change: Any) -> SequenceReplay:
    """A replay made as `make_replay` makes it, but for ``change``."""
    arguments: dict[str, Any] = {
        "observation_space": spaces.Box(0, 9, (2,), np.float32),
        "action_space": spaces.MultiDiscrete([3, 2]),
        "state_example": {"h": np.zeros(2, np.float32)},
        "geometry": GEOMETRY,
        "capacity": 40,
        "num_envs": 2,
        "priority_exponent": 0.9,
    } | change
    return SequenceReplay(**arguments)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "geometry": ({"geometry": SequenceGeometry(1, 2, 0, 1)}, "overlap=0; this one has overlap=1"),
    "burn-in": ({"geometry": SequenceGeometry(0, 2, 1, 1)}, "burn_in=0; this one has burn_in=1"),
    "train length": ({"geometry": SequenceGeometry(1, 3, 1, 1)}, "train_length=3; this one has train_length=2"),
    "lookahead": ({"geometry": SequenceGeometry(1, 2, 1, 2)}, "n_step=2; this one has n_step=1"),
    "capacity": ({"capacity": 44}, "capacity=44; this one has capacity=40"),
    "number of environments": ({"num_envs": 4}, "num_envs=4; this one has num_envs=2"),
    "priority exponent": ({"priority_exponent": 0.5}, "priority_exponent=0.5; this one has priority_exponent=0.9"),
    "observation shape": ({"observation_space": spaces.Box(0, 9, (3,), np.float32)}, "observation_space="),
    "observation dtype": ({"observation_space": spaces.Box(0, 9, (2,), np.float64)}, "observation_space="),
    "observation bounds": ({"observation_space": spaces.Box(0, 10, (2,), np.float32)}, "observation_space="),
    "observation structure": (
        {"observation_space": spaces.Tuple((spaces.Box(0, 9, (2,), np.float32),))},
        "observation_space=",
    ),
    "number of actions": ({"action_space": spaces.MultiDiscrete([3, 3])}, "action_space="),
    "order of joint actions": ({"action_space": spaces.MultiDiscrete([2, 3])}, "action_space="),
    "start of actions": ({"action_space": spaces.MultiDiscrete([3, 2], start=[1, 0])}, "action_space="),
    "kind of action space": ({"action_space": spaces.Discrete(6)}, "action_space="),
    "width of the state": ({"state_example": {"h": np.zeros(3, np.float32)}}, "state_example="),
    "dtype of the state": ({"state_example": {"h": np.zeros(2, np.float64)}}, "state_example="),
    "name of the state": ({"state_example": {"c": np.zeros(2, np.float32)}}, "state_example="),
}


@pytest.mark.parametrize(("change", "message"), OTHERS.values(), ids=OTHERS.keys())
def test_set_state_refuses_the_state_of_a_replay_with_another(change: dict[str, Any], message: str) -> None:
    theirs = other(**change).get_state()
    replay = other()
    assert_refused(replay, lambda: replay.set_state(theirs), ValueError, "the state is of a replay with .*" + message)


def used() -> Play:
    play = Play(GEOMETRY, 15, 2)
    for t in range(33):
        play.step([TERMINATED if t % 7 == 6 else None, None])
    play.replay.update_priorities(play.replay.keys()[:3], [1.0, 2.0, 3.0])
    return play


ALL_NAMES = sorted(make_replay(GEOMETRY, 30).get_state())


@pytest.mark.parametrize("name", ALL_NAMES)
def test_set_state_refuses_a_state_without(name: str) -> None:
    damaged = used().replay.get_state()
    del damaged[name]
    replay = used().replay
    assert_refused(replay, lambda: replay.set_state(damaged), ValueError, name)


DEFORM: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shorter": lambda array: array[:-1],
    "at another dtype": lambda array: array.astype(np.complex128),
    "without an axis": lambda array: array.reshape(-1)[0],
    "longer": lambda array: np.concatenate([array] * 9),
    "with an axis too many": lambda array: array[..., None],
}
TEXTS = ("configuration", "random")
SINGLE_NUMBERS = ("largest_priority",)  # Nothing can be cut off, and there is no axis to lose.


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ALL_NAMES
        for damage in DEFORM
        if name not in TEXTS and not (name in SINGLE_NUMBERS and damage in ("shorter", "longer", "without an axis"))
    ],
)
def test_set_state_refuses_arrays_of_another_shape_or_dtype(name: str, damage: str) -> None:
    damaged = used().replay.get_state()
    damaged[name] = DEFORM[damage](damaged[name])
    replay = used().replay
    assert_refused(replay, lambda: replay.set_state(damaged), ValueError, "replay's state")


@pytest.mark.parametrize("name", ["configuration", "random"])
@pytest.mark.parametrize(
    "text", ["", "{", "null", "[1]", "{}", '{"bit_generator": "PCG64"}', '{"bit_generator": "MT19937"}']
)
def test_set_state_refuses_text_that_is_damaged(name: str, text: str) -> None:
    damaged = used().replay.get_state()
    damaged[name] = np.array(text)
    replay = used().replay
    assert_refused(replay, lambda: replay.set_state(damaged), ValueError, "replay")


@pytest.mark.parametrize("number", ["a", -1, 2**200])
def test_set_state_refuses_a_random_state_with_damaged_numbers(number: Any) -> None:
    damaged = used().replay.get_state()
    content = json.loads(str(damaged["random"]))
    content["state"]["state"] = number
    damaged["random"] = np.array(json.dumps(content))
    replay = used().replay
    assert_refused(replay, lambda: replay.set_state(damaged), ValueError, "random")


def change(name: str, index: Any, value: Any) -> Callable[[dict[str, np.ndarray]], None]:
    def apply(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][index] = value

    return apply


INCONSISTENT: dict[str, tuple[Callable[[dict[str, np.ndarray]], None], str]] = {
    "a position gone back": (change("rows.position", 1, 20), "environment 1"),
    "a negative position": (change("rows.position", 0, -3), "environment 0"),
    "a lost end": (change("rows.flags", slice(None), 0), "environment 0"),
    "a reward that is not a number": (change("rows.reward", 3, NAN), "reward"),
    "an action that does not exist": (change("rows.action", 3, 10**7), "action"),
    "a negative action": (change("rows.action", 3, -1), "action"),
    "an open episode of another length": (change("open.step", 1, 5), "environment 1"),
    "an open sequence lost": (change("open.slots", slice(None), -1), "sequences begun"),
    "an open sequence in a slot that does not exist": (change("open.slots", slice(None), 10**6), "begun|slot"),
    "an open sequence in a slot of negative number": (change("open.slots", slice(None), -2), "begun|slot"),
    "an open sequence in a slot that is free": (
        lambda arrays: change("open.slots", arrays["open.slots"] >= 0, arrays["sequences.free"][0])(arrays),
        "slot",
    ),
    "a negative weight": (change("sequences.weights", 0, -1.0), "weight that is negative or not finite"),
    "a weight that is not a number": (change("sequences.weights", 0, NAN), "weight that is negative or not finite"),
    "a slot that is free and in use": (change("sequences.free", 0, 0), "slot"),
    "a free slot that does not exist": (change("sequences.free", 0, 10**6), "slot"),
    "a free slot of negative number": (change("sequences.free", 0, -1), "slot"),
    "a key of another slot": (change("sequences.entries", (slice(None), 6), 5 << 32), "slot"),
    "a sequence of no environment": (change("sequences.entries", (slice(None), 0), 7), "environment"),
    "a sequence of a negative environment": (change("sequences.entries", (slice(None), 0), -1), "environment"),
    "a sequence of rows to come": (change("sequences.entries", (slice(None), 2), 10**6), "sequence in slot"),
    "a sequence of rows long gone": (change("sequences.entries", (slice(None), 2), -100), "sequence in slot"),
    "a sequence of endless length": (change("sequences.entries", (slice(None), 5), 2**60), "sequence in slot"),
    "a sequence of negative length": (change("sequences.entries", (slice(None), 5), -5), "sequence in slot"),
    "a prefix of negative length": (change("sequences.entries", (slice(None), 3), -2), "sequence in slot"),
    "a prefix of endless length": (change("sequences.entries", (slice(None), 3), 2**60), "sequence in slot"),
    "a sequence without trained steps": (change("sequences.entries", (slice(None), 4), 0), "lengths"),
    "a stored state that is not a number": (change("sequences.state.0", slice(None), NAN), "state"),
    "an open state that is not a number": (
        lambda arrays: change("sequences.state.0", arrays["open.slots"].max(), NAN)(arrays),
        "state",
    ),
    "a running number used before": (change("counters", 0, 0), "still to come"),
    "a negative count": (change("counters", 2, -1), "count"),
    "a maximum priority that is not a number": (change("largest_priority", (), NAN), "largest.*priority"),
    "a negative maximum priority": (change("largest_priority", (), -1.0), "largest.*priority"),
}


@pytest.mark.parametrize(("damage", "message"), INCONSISTENT.values(), ids=INCONSISTENT.keys())
def test_set_state_refuses(damage: Callable[[dict[str, np.ndarray]], None], message: str) -> None:
    play = used()
    damaged = play.replay.get_state()
    damage(damaged)
    held = read(play.replay.get(play.replay.keys()))
    assert_refused(play.replay, lambda: play.replay.set_state(damaged), ValueError, message)
    assert read(play.replay.get(play.replay.keys())) == held


def test_set_state_names_what_is_no_replay_state_at_all() -> None:
    replay = make_replay(GEOMETRY, 30)
    assert_refused(replay, lambda: replay.set_state({}), ValueError, "not the state of a replay")


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_a_state_of_any_float_dtype_must_be_finite(dtype: Any, bad: float) -> None:
    replay = SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), np.zeros(3, dtype), GEOMETRY, capacity=30)
    state = np.array([[0.0, bad, 0.0]], dtype)
    assert_refused(
        replay, lambda: replay.add([0], [0], [0.0], [False], [False], state), ValueError, "state must be finite"
    )


def test_a_state_with_a_tuple_less_is_refused() -> None:
    z = np.zeros((1, 2), np.float32)
    replay = SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), ((z[0],), z[0]), GEOMETRY, capacity=30)
    assert_refused(
        replay,
        lambda: replay.add([0], [0], [0.0], [False], [False], (z, z)),
        ValueError,
        r"state\[0\] must be a sequence of 1 parts, not a ndarray",
    )


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (0, 255, np.array([256 + 10])),
        (0, 255, np.array([-1])),
        (0, 200, np.array([256 + 10])),
        (5, 255, np.array([4], np.uint8)),
        (0, 250, np.array([251], np.uint8)),
    ],
)
def test_no_whole_number_outside_a_box_of_bytes_is_taken(low: int, high: int, values: np.ndarray) -> None:
    replay = SequenceReplay(spaces.Box(low, high, (1,), np.uint8), spaces.Discrete(2), (), GEOMETRY, capacity=30)
    assert_refused(
        replay,
        lambda: replay.add(values[None], [0], [0.0], [False], [False], ()),
        ValueError,
        "observation is outside its space",
    )


@pytest.mark.parametrize(
    ("changed", "message", "env"),
    [
        ({"observation": (1, 1, 0)}, r"at most 1.0; observation\[1, 1, 0\] is 3.0", 1),
        ({"final_observation": (2, 0, 1)}, r"at most 1.0; final_observation\[2, 0, 1\] is 3.0", 0),
    ],
)
def test_what_is_outside_its_space_is_named_by_its_place(changed: dict[str, Any], message: str, env: int) -> None:
    space = spaces.Box(-1, 1, (2,), np.float32)
    replay = SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=60, num_envs=2)
    ended = np.array([[False] * 2] * 2 + [[True] * 2])
    arrays = {name: np.zeros((3, 2, 2), np.float32) for name in ("observation", "final_observation")}
    for name, place in changed.items():
        arrays[name][place] = 3.0
    first, last = arrays["observation"], arrays["final_observation"]
    zeros = np.zeros((3, 2))

    def add() -> None:
        replay.add_many(first, zeros.astype(int), zeros, ended, zeros > 0, (), final_observation=last)

    assert_refused(replay, add, OutsideSpaceError, message)
    with pytest.raises(OutsideSpaceError) as caught:
        add()
    assert caught.value.env == env


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    geometry = SequenceGeometry(np.int64(1), np.int32(2), np.uint8(1), np.int64(1))
    assert geometry == GEOMETRY
    assert {type(length) for length in geometry.lengths} == {int}
    replay = SequenceReplay(
        spaces.Discrete(2), spaces.Discrete(2), (), geometry, capacity=np.int64(30), num_envs=np.int64(1)
    )
    assert (replay.capacity, replay.num_envs) == (30, 1)
    for size in (2.5, "4", True):
        assert_refused(replay, lambda s=size: replay.sample(s), TypeError, f"batch_size={size!r} must be an integer")


@pytest.mark.parametrize(
    "space", [spaces.Discrete(5, start=-3), spaces.Discrete(5), spaces.MultiDiscrete([5, 2], start=[-3, 0])], ids=str
)
@pytest.mark.parametrize("dtype", ["<u8", ">u8"])
@pytest.mark.parametrize("action", [2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1, 5])
def test_no_unsigned_action_is_taken_for_a_negative_one(space: Any, action: int, dtype: str) -> None:
    replay = SequenceReplay(spaces.Discrete(2), space, (), GEOMETRY, capacity=30)
    given = np.full((1, *space.shape), action, dtype)
    assert_refused(replay, lambda: replay.add([0], given, [0.0], [False], [False], ()), ValueError, "is outside")


@pytest.mark.parametrize(
    ("example", "name"), [(None, "state_example"), ({"h": np.zeros(2), "c": None}, r"state_example\['c'\]")]
)
def test_a_state_that_is_not_of_numbers_is_refused(example: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} has dtype object, must be of numbers; give \(\) where"):
        SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), example, GEOMETRY, capacity=30)


@pytest.mark.parametrize("keys", [[], [0.7], [True], [[0]], "first", np.zeros(0, np.int64)])
def test_keys_that_are_none_are_refused(keys: Any) -> None:
    replay = replay_in_use()
    for method in (replay.get, replay.before):
        assert_refused(replay, lambda m=method: m(keys), ValueError, "keys must be one or more whole numbers, not ")


def test_get_refuses_a_key_of_a_slot_beyond_the_last() -> None:
    replay = replay_in_use()
    key = len(replay.table.keys)
    assert_refused(replay, lambda: replay.get([key]), KeyError, f"key {key} is not of a sequence held")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(100, start=100, dtype=np.int8),
        spaces.MultiDiscrete([100, 2], start=[100, 0], dtype=np.int8),
        spaces.Discrete(3, start=2**63, dtype=np.uint64),
    ],
    ids=str,
)
def test_a_space_whose_values_its_dtype_cannot_hold_is_refused(space: Any) -> None:
    two = spaces.Discrete(2)
    for seen, acted, name in ((space, two, "observation_space"), (two, space, "action_space")):
        with pytest.raises(ValueError, match=rf"^{name}=.* has values from .* to .*, more than its dtype or an int64"):
            SequenceReplay(seen, acted, (), GEOMETRY, capacity=30)
