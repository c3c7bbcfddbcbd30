"""The buffer by its public face: spaces, actions, states, what it holds and what that costs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from replay_oracle import TERMINATED, Play, read

from r2d2.replay import SequenceGeometry, SequenceReplay

GEOMETRY = SequenceGeometry(burn_in=2, train_length=4, overlap=2, n_step=2)


def trees_equal(one: Any, other: Any) -> bool:
    """Same nesting, same dtypes, same values."""
    if isinstance(one, dict):
        return isinstance(other, dict) and set(one) == set(other) and all(trees_equal(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(trees_equal(a, b) for a, b in zip(one, other, strict=True))
        )
    return one.dtype == other.dtype and np.array_equal(one, other)


def at(tree: Any, index: Any) -> Any:
    """``leaf[index]`` for every leaf."""
    if isinstance(tree, dict):
        return {key: at(value, index) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(at(value, index) for value in tree)
    return tree[index]


def batched(space: spaces.Space[Any], items: list[Any]) -> Any:
    """As a Gymnasium vector environment hands them out."""
    return concatenate(space, items, create_empty_array(space, len(items)))


OBSERVATION_SPACES: dict[str, spaces.Space[Any]] = {
    "Box float32": spaces.Box(-1, 1, (3, 2), np.float32),
    "Box float64, unbounded": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    "Box float16": spaces.Box(-2, 2, (2,), np.float16),
    "Box float32, bounded on one side and by element": spaces.Box(
        np.array([0, -np.inf], np.float32), np.array([np.inf, 5], np.float32)
    ),
    "Tuple in Tuple": spaces.Tuple((spaces.Discrete(3), spaces.Tuple((spaces.MultiBinary(2), spaces.Discrete(4))))),
    "Dict with a part of no element": spaces.Dict({"a": spaces.Box(0, 9, (0,), np.int32), "b": spaces.Discrete(3)}),
    "Box uint8": spaces.Box(0, 255, (8, 8, 1), np.uint8),
    "Box int8, bounded by element": spaces.Box(np.array([-5, 0], np.int8), np.array([5, 1], np.int8)),
    "Box int16": spaces.Box(-300, 300, (2,), np.int16),
    "Box uint64": spaces.Box(0, np.iinfo(np.uint64).max, (2,), np.uint64),
    "Box without an axis": spaces.Box(-1, 1, (), np.float32),
    "Discrete": spaces.Discrete(7),
    "Discrete with start": spaces.Discrete(5, start=-2),
    "MultiBinary": spaces.MultiBinary(6),
    "MultiBinary of two axes": spaces.MultiBinary((2, 3)),
    "MultiDiscrete": spaces.MultiDiscrete([3, 5, 2]),
    "MultiDiscrete with start": spaces.MultiDiscrete([3, 5], start=[10, -4]),
    "MultiDiscrete of two axes": spaces.MultiDiscrete([[3, 5], [2, 9]], dtype=np.int32),
    "Dict": spaces.Dict({"z": spaces.Box(-1, 1, (2,), np.float32), "a": spaces.Discrete(3)}),
    "Tuple": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(0, 9, (1,), np.int32))),
    "Dict and Tuple, nested": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (4, 4, 3), np.uint8),
            "body": spaces.Tuple(
                (
                    spaces.Dict({"joints": spaces.Box(-3, 3, (5,), np.float64), "touch": spaces.MultiBinary(3)}),
                    spaces.MultiDiscrete([2, 4]),
                )
            ),
            "goal": spaces.Discrete(4, start=1),
        }
    ),
}


class TestObservations:
    @pytest.mark.parametrize("space", OBSERVATION_SPACES.values(), ids=OBSERVATION_SPACES.keys())
    def test_of_every_space_come_back_as_they_were_with_their_dtypes(self, space: spaces.Space[Any]) -> None:
        replay = SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=2 * 30, num_envs=2)
        space.seed(0)
        # Two environments, one episode of five steps each, and the final observation.
        played = [batched(space, [space.sample() for _ in range(2)]) for _ in range(6)]
        for t in range(5):
            done = np.full(2, t == 4)
            replay.add(played[t], [0, 1], [0.0, 0.0], done, ~done & False, (), final_observation=played[t + 1])
        batch = replay.get(replay.keys())
        # Sequences at 0 and 2 of each environment, in the order in which they were entered.
        assert batch.train_length.tolist() == [4, 3, 4, 3]
        for b in range(4):
            env, start = b // 2, 2 * (b % 2)
            for row in range(int(batch.unroll_length[b])):
                assert trees_equal(at(batch.unroll.observation, (b, row)), at(played[start + row], env))
            for row in range(int(batch.prefix_length[b])):
                assert trees_equal(at(batch.prefix.observation, (b, row)), at(played[row], env))

    def test_of_a_nested_space_are_padded_with_zeros_in_every_leaf(self) -> None:
        space = spaces.Dict(
            {"a": spaces.Box(5, 9, (2,), np.float32), "b": spaces.Tuple((spaces.Discrete(3, start=4),))}
        )
        replay = SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=30)
        one = {"a": np.full((1, 2), 7, np.float32), "b": (np.array([5]),)}
        for length in (1, 3):
            for t in range(length):
                replay.add(one, [0], [0.0], [t == length - 1], [False], (), final_observation=one)
        observation = replay.get(replay.keys()).unroll.observation
        assert observation["a"][..., 0].tolist() == [[7, 7, 0, 0], [7, 7, 7, 7]]
        assert observation["b"][0].tolist() == [[5, 5, 0, 0], [5, 5, 5, 5]]

    def test_of_a_reused_buffer_are_copied(self) -> None:
        """An environment may write each observation, and its state, into the same arrays."""
        replay = SequenceReplay(
            spaces.Box(-99, 99, (2,), np.float32), spaces.Discrete(9), np.zeros(1, np.float32), GEOMETRY, capacity=30
        )
        observation, state = np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32)
        action, reward, final = np.zeros(1, np.int64), np.zeros(1, np.float32), np.zeros((1, 2), np.float32)
        for t in range(6):
            observation[:], state[:], action[:], reward[:], final[:] = t, -t, t, t, t + 1
            replay.add(observation, action, reward, [t == 5], [False], state, final_observation=final)
        for array in (observation, state, action, reward, final):
            array[:] = 55
        batch = replay.get(replay.keys())
        assert batch.unroll.observation[:, :, 0].tolist() == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 0]]
        assert batch.action.tolist() == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 0, 0]]
        assert batch.reward.tolist() == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 0, 0]]
        assert batch.state.tolist() == [[0], [0]]

    def test_handed_out_are_copies_too(self) -> None:
        play = Play(GEOMETRY, 40, 1)
        play.episode(6)
        keys = play.replay.keys()
        before = read(play.replay.get(keys))
        batch = play.replay.get(keys)
        batch.unroll.observation[:] = 0
        batch.prefix.previous_action[:] = 9
        batch.unroll.previous_reward[:] = 9
        batch.reward[:] = 0
        batch.state["h"][:] = 0
        batch.keys[:] = 0
        keys[:] = 0
        assert read(play.replay.get(play.replay.keys())) == before

    def test_may_be_given_at_another_dtype_that_holds_the_same_values(self) -> None:
        for space, value in [
            (spaces.Box(0, 255, (1,), np.uint8), np.array([[200]], np.int64)),
            (spaces.Box(-1, 1, (1,), np.float32), np.array([[0.1]], np.float64)),
            (spaces.Box(-1, 1, (1,), np.float32), [[0.5]]),
            (spaces.Box(0.1, 0.7, (1,), np.float32), np.array([[0.1]], np.float64)),
            (spaces.Box(0.1, 0.7, (1,), np.float32), np.array([[0.7]], np.float64)),
            (spaces.MultiBinary(1), np.array([[True]])),
            (spaces.Discrete(3), np.array([2], np.uint8)),
        ]:
            replay = SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=30)
            replay.add(value, [0], [0.0], [True], [False], (), final_observation=value)
            observation = replay.get(replay.keys()).unroll.observation
            assert observation.dtype == space.dtype
            np.testing.assert_array_equal(observation[0, 0], np.asarray(value[0], space.dtype))

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            (spaces.Text(5), r"observation_space is a Text space; supported are Box"),
            (spaces.Dict({"a": spaces.Text(5)}), r"observation_space\['a'\] is a Text space"),
            (spaces.Tuple((spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2)))), r"\[1\] is a Sequence space"),
        ],
    )
    def test_of_other_spaces_are_refused(self, space: spaces.Space[Any], message: str) -> None:
        with pytest.raises(TypeError, match=message):
            SequenceReplay(space, spaces.Discrete(2), (), GEOMETRY, capacity=30)

    def test_of_nothing_are_refused(self) -> None:
        with pytest.raises(ValueError, match="holds no array"):
            SequenceReplay(spaces.Dict({}), spaces.Discrete(2), (), GEOMETRY, capacity=30)


class TestRewards:
    @pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64, np.float16, np.float32, np.float64])
    def test_of_any_number_type_are_kept_as_float32(self, dtype: Any) -> None:
        replay = SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), (), GEOMETRY, capacity=30)
        for t in range(3):
            replay.add([0], [0], np.array([t % 2], dtype), [t == 2], [False], (), final_observation=[0])
        reward = replay.get(replay.keys()).reward
        assert reward.dtype == np.float32
        assert reward.tolist() == [[0, 1, 0, 0]]

    def test_of_float64_are_rounded_as_numpy_rounds_them(self) -> None:
        rng = np.random.default_rng(0)
        reward = rng.normal(size=500) * 10.0 ** rng.integers(-46, 38, 500)
        largest = np.finfo(np.float32).max
        reward[:4] = largest, -largest, np.nextafter(largest, np.inf, dtype=np.float64), -0.0
        replay = SequenceReplay(
            spaces.Discrete(2), spaces.Discrete(2), (), SequenceGeometry(0, 500, 0, 1), capacity=600
        )
        zeros, no = np.zeros((500, 1), int), np.zeros((500, 1), bool)
        ends = no.copy()
        ends[-1] = True
        replay.add_many(zeros, zeros, reward[:, None], ends, no, (), final_observation=zeros)
        stored = replay.get(replay.keys()).reward[0, :500]
        np.testing.assert_array_equal(stored, reward.astype(np.float32))
        assert np.signbit(stored[3])


def indices_of(space: spaces.Space[Any], actions: list[Any]) -> list[int]:
    """Action indices of one episode, as the replay hands them out."""
    replay = SequenceReplay(
        spaces.Discrete(2), space, (), SequenceGeometry(0, len(actions), 0, 1), capacity=len(actions) + 5
    )
    for t, action in enumerate(actions):
        last = t == len(actions) - 1
        replay.add([0], np.array([action]), [0.0], [last], [False], (), final_observation=[0])
    batch = replay.get(replay.keys())
    found = batch.action[0].tolist()
    assert batch.unroll.previous_action[0].tolist() == [-1, *found[:-1]]
    assert found[-1] == 0  # The row of the final observation.
    return found[:-1]


class TestActions:
    def test_discrete_are_their_own_indices(self) -> None:
        assert indices_of(spaces.Discrete(4), [3, 0, 2, 1]) == [3, 0, 2, 1]

    def test_discrete_with_start_count_from_there(self) -> None:
        assert indices_of(spaces.Discrete(4, start=-1), [-1, 2, 0, 1]) == [0, 3, 1, 2]

    def test_multi_discrete_are_joint_actions_with_the_last_part_fastest(self) -> None:
        # 3 x 2: (0, 0) (0, 1) (1, 0) (1, 1) (2, 0) (2, 1)
        assert indices_of(spaces.MultiDiscrete([3, 2]), [[0, 0], [0, 1], [1, 0], [2, 1]]) == [0, 1, 2, 5]

    def test_multi_discrete_with_start(self) -> None:
        assert indices_of(spaces.MultiDiscrete([3, 2], start=[5, -1]), [[5, -1], [5, 0], [6, -1], [7, 0]]) == [
            0,
            1,
            2,
            5,
        ]

    def test_multi_discrete_of_two_axes(self) -> None:
        space = spaces.MultiDiscrete([[2, 2], [2, 3]])
        assert indices_of(space, [[[0, 0], [0, 2]], [[0, 1], [0, 0]], [[1, 1], [1, 2]]]) == [2, 6, 23]

    def test_more_joint_actions_than_the_dtype_of_a_part_can_count(self) -> None:
        space = spaces.MultiDiscrete([20, 20], dtype=np.int8)
        assert indices_of(space, [[19, 19], [10, 0], [0, 1]]) == [399, 200, 1]

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Discrete(5),
            spaces.Discrete(5, start=3),
            spaces.Discrete(100, start=-50, dtype=np.int8),
            spaces.MultiDiscrete([20, 20], dtype=np.int8),
            spaces.MultiDiscrete([3, 4, 2]),
            spaces.MultiDiscrete([3, 4], start=[-2, 7], dtype=np.int32),
            spaces.MultiDiscrete([3, 4], start=[0, 2**40], dtype=np.uint64),
            spaces.MultiDiscrete([[2, 2], [2, 3]]),
        ],
        ids=str,
    )
    def test_an_index_goes_back_to_the_action_it_came_from(self, space: spaces.Space[Any]) -> None:
        spec = SequenceReplay(spaces.Discrete(2), space, (), GEOMETRY, capacity=30).action_spec
        actions = spec.from_index(np.arange(spec.count))
        assert actions.dtype == space.dtype
        assert all(space.contains(action) for action in actions)
        assert len({action.tobytes() for action in actions}) == spec.count
        assert spec.to_index(actions, (spec.count,)).tolist() == list(range(spec.count))

    @pytest.mark.parametrize(
        ("space", "dtype"),
        [
            (spaces.Discrete(100, dtype=np.int8), np.int8),
            (spaces.MultiDiscrete([3, 4], dtype=np.int16), np.int16),
            (spaces.MultiDiscrete([20, 20], dtype=np.int8), np.int32),  # 400 joint actions
        ],
    )
    def test_take_the_bytes_of_their_space(self, space: spaces.Space[Any], dtype: type) -> None:
        replay = SequenceReplay(spaces.Discrete(2), space, (), GEOMETRY, capacity=30)
        assert replay.storage.action.dtype == dtype
        assert replay.storage.action.nbytes == 30 * np.dtype(dtype).itemsize

    @pytest.mark.parametrize("space", [spaces.Box(-1, 1), spaces.MultiBinary(3), spaces.Tuple((spaces.Discrete(2),))])
    def test_of_other_spaces_are_refused(self, space: spaces.Space[Any]) -> None:
        with pytest.raises(TypeError, match="must be Discrete or MultiDiscrete; discretise"):
            SequenceReplay(spaces.Discrete(2), space, (), GEOMETRY, capacity=30)

    def test_too_many_to_count_are_refused(self) -> None:
        with pytest.raises(ValueError, match="joint actions"):
            SequenceReplay(spaces.Discrete(2), spaces.MultiDiscrete([2**16, 2**16]), (), GEOMETRY, capacity=30)


class Carry(NamedTuple):
    hidden: Any
    cell: Any


STATES: dict[str, Any] = {
    "LSTM as tuple": (np.zeros(3, np.float32), np.zeros(3, np.float32)),
    "GRU as one array": np.zeros(5, np.float32),
    "dict": {"hidden": np.zeros(3, np.float32), "cell": np.zeros((2, 2), np.float64)},
    "stacked, as nested tuples": (
        (np.zeros(2, np.float32), np.zeros(2, np.float32)),
        (np.zeros(2, np.float32),),
    ),
    "stacked, as nested lists": [[np.zeros(2, np.float32), np.zeros(2, np.float32)], [np.zeros(4, np.float16)]],
    "named tuple": Carry(np.zeros(2, np.float32), np.zeros(2, np.float32)),
    "integers and scalars": {"clock": np.zeros((), np.int64), "memory": (np.zeros(2, np.bool_),)},
}


def state_at(example: Any, step: int) -> Any:
    """A batch of one row whose every number is ``step + 1``."""
    if isinstance(example, dict):
        return {key: state_at(value, step) for key, value in example.items()}
    if hasattr(example, "_fields"):
        return type(example)(*(state_at(value, step) for value in example))
    if isinstance(example, tuple | list):
        return type(example)(state_at(value, step) for value in example)
    return np.full((1, *example.shape), step + 1, example.dtype)


class TestStates:
    @pytest.mark.parametrize("example", STATES.values(), ids=STATES.keys())
    def test_of_any_tree_come_back_as_they_were(self, example: Any) -> None:
        replay = SequenceReplay(spaces.Discrete(9), spaces.Discrete(2), example, GEOMETRY, capacity=40)
        for t in range(9):
            replay.add([t], [0], [0.0], [t == 8], [False], state_at(example, t), final_observation=[0])
        # Sequences start at 0, 2, 4, 6; less their burn-in of 2: the states are those of steps 0, 0, 2, 4.
        keys = replay.keys()
        assert len(keys) == 4
        for key, step in zip(keys, [0, 0, 2, 4], strict=True):
            assert trees_equal(replay.get(key).state, state_at(example, step))

    @pytest.mark.parametrize("empty", [(), [], {}])
    def test_may_be_none_at_all(self, empty: Any) -> None:
        replay = SequenceReplay(spaces.Discrete(9), spaces.Discrete(2), empty, GEOMETRY, capacity=40)
        replay.add([1], [0], [0.0], [True], [False], empty, final_observation=[0])
        assert replay.sample(2).state == empty


class TestSize:
    def test_sequences_overwritten_are_counted(self) -> None:
        play = Play(SequenceGeometry(0, 2, 0, 1), 10, 2)
        given = sum(len(play.step([TERMINATED if t % 3 == 2 else None, None])) for t in range(40))
        assert play.replay.table.evicted == given - len(play.replay) > 0

    def test_rows_take_the_bytes_that_are_said_of_them(self) -> None:
        replay = Play(SequenceGeometry(0, 2, 0, 1), 100, 1).replay
        per_row = replay.storage.bytes_per_row(replay.observation_spec, replay.action_spec)
        assert per_row == 12 + 8 + 4 + 1
        assert replay.storage.nbytes == 100 * per_row

    def test_is_the_number_of_sequences_held(self) -> None:
        play = Play(SequenceGeometry(0, 2, 0, 1), 20, 1)
        assert (len(play.replay), play.replay.can_sample(), play.replay.keys().tolist()) == (0, False, [])
        play.step()
        play.step()
        assert (len(play.replay), play.replay.can_sample()) == (0, False)
        play.step()
        assert (len(play.replay), play.replay.can_sample()) == (1, True)

    def test_steps_are_counted_without_final_observations(self) -> None:
        play = Play(SequenceGeometry(0, 2, 0, 1), 10, 2)
        counts = []
        for t in range(7):
            play.step([TERMINATED if t % 3 == 2 else None, None])
            counts.append(play.replay.num_steps)
        # Two steps each time. Row 10 of environment 0 would be the first overwritten; 7 steps and 2 finals fit.
        assert counts == [2, 4, 6, 8, 10, 12, 14]
        for _ in range(20):
            play.step()
        assert play.replay.num_steps == 20

    def test_of_steps_held_never_exceeds_the_capacity(self) -> None:
        play = Play(SequenceGeometry(1, 2, 0, 1), 7, 2)
        for t in range(50):
            play.step([TERMINATED if t % 5 == 4 else None, TERMINATED])
            assert play.replay.num_steps <= play.replay.capacity == 14
        # Environment 1 has one final observation for each step: of its 7 rows 3 or 4 are steps.
        assert play.replay.num_steps in (5 + 3, 5 + 4, 6 + 3, 6 + 4)

    def test_frames_are_held_once_for_the_paper_s_geometry(self) -> None:
        """84 x 84 bytes a frame, an LSTM of 512 units: five per cent over the frames alone, all included."""
        rows = 3003
        state = (np.zeros(512, np.float32), np.zeros(512, np.float32))
        replay = SequenceReplay(
            spaces.Box(0, 255, (84, 84, 1), np.uint8),
            spaces.Discrete(18),
            state,
            SequenceGeometry(burn_in=40, train_length=80, overlap=40, n_step=5),
            capacity=rows,
        )
        frame, state = np.zeros((1, 84, 84, 1), np.uint8), tuple(s[None] for s in state)
        for t in range(3000):
            replay.add(frame, [0], [0.0], [t % 1000 == 999], [False], state, final_observation=frame)
        assert replay.num_steps == 3000
        assert replay.nbytes / replay.num_steps <= 1.05 * 84 * 84

    def test_bytes_are_at_least_those_of_everything_held(self) -> None:
        play = Play(SequenceGeometry(0, 2, 0, 1), 100, 1)
        for _ in range(60):
            play.episode(1)
        # A row: 3 x int32, action int64, reward float32, flags. A sequence: 3 x float32 and float64.
        assert play.replay.nbytes >= 100 * (12 + 8 + 4 + 1) + 50 * (12 + 8)


class TestEndEpisodes:
    """For a run that stops, or an environment that fails."""

    def test_only_open_episodes_of_the_mask_are_closed(self) -> None:
        play = Play(SequenceGeometry(0, 3, 0, 1), 20, 3)
        play.step([None, None, TERMINATED])
        # Environment 0 is open and asked for, 1 is open and not, 2 is between episodes and asked for.
        assert len(play.end_episodes([True, False, True])) == 1
        assert sorted(s.name for s in read(play.replay.get(play.replay.keys()))) == [(0, 0, 0), (2, 0, 0)]
        play.step()
        assert play.replay.num_steps == 6
        assert play.replay.check_consistency() == []

    def test_the_observation_given_is_the_final_one(self) -> None:
        replay = SequenceReplay(spaces.Discrete(99), spaces.Discrete(2), (), GEOMETRY, capacity=40)
        for t in range(3):
            replay.add([10 + t], [1], [1.0], [False], [False], ())
        keys = replay.end_episodes(np.array([True]), [42])
        batch = replay.get(keys)
        assert batch.unroll.observation.tolist() == [[10, 11, 12, 42]]
        assert batch.truncated.tolist() == [[False, False, True, False]]
        assert not batch.terminated.any()

    def test_with_nothing_open_changes_nothing(self) -> None:
        play = Play(GEOMETRY, 40, 2)
        play.episode(3)
        before = play.replay.num_steps
        assert play.replay.end_episodes(np.array([True, True]), None).tolist() == []
        assert play.replay.num_steps == before

    def test_reads_the_rows_of_the_mask_only(self) -> None:
        replay = SequenceReplay(spaces.Discrete(5), spaces.Discrete(2), (), GEOMETRY, capacity=40, num_envs=2)
        replay.add([1, 1], [0, 0], [0.0, 0.0], [False, False], [False, False], ())
        keys = replay.end_episodes(np.array([False, True]), np.array([777, 3]))
        assert replay.get(keys).unroll.observation.tolist() == [[1, 3]]


class TestConstruction:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"capacity": 9}, "capacity=9 must be at least 10: 10 rows (one sequence) for each of num_envs=1"),
            (
                {"capacity": 29, "num_envs": 3},
                "capacity=29 must be at least 30: 10 rows (one sequence) for each of num_envs=3",
            ),
            ({"num_envs": 0}, "num_envs=0 must be at least 1"),
            ({"priority_exponent": -0.1}, "priority_exponent=-0.1 must be a finite number, at least 0"),
            ({"priority_exponent": float("nan")}, "priority_exponent=nan must be a finite number, at least 0"),
            ({"importance_exponent": float("inf")}, "importance_exponent=inf must be a finite number, at least 0"),
        ],
    )
    def test_refuses_numbers_out_of_range(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), (), GEOMETRY, **({"capacity": 30} | options))
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"capacity": 1e6}, "capacity=1000000.0 must be an integer"),
            ({"num_envs": 2.0}, "num_envs=2.0 must be an integer"),
        ],
    )
    def test_refuses_numbers_that_are_not_whole(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TypeError) as caught:
            SequenceReplay(spaces.Discrete(2), spaces.Discrete(2), (), GEOMETRY, **({"capacity": 30} | options))
        assert str(caught.value) == message

    @pytest.mark.parametrize("length", range(1, 40))
    def test_the_smallest_capacity_holds_a_sequence_whenever_one_is_complete(self, length: int) -> None:
        # 10 rows: one before, burn_in 2, train_length 4, n_step 2, and a final observation.
        play = Play(GEOMETRY, 10, 1)
        for t in range(length):
            keys = play.step([TERMINATED if t == length - 1 else None])
            assert set(keys.tolist()) <= set(play.replay.keys().tolist())
        assert len(keys) > 0
