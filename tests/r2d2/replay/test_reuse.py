"""A batch, its arrays and its tensors are used again once nobody holds any part of them, and never before."""

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from r2d2.compiled import as_tensors
from r2d2.replay import Batch, SequenceGeometry, SequenceReplay

STATE = {"z": np.zeros(3, np.float32), "a": np.zeros(2, np.float32)}
SPACE = spaces.Dict({"x": spaces.Box(-1e6, 1e6, (2,), np.float32), "b": spaces.MultiBinary(5)})


def filled(steps: int = 60, seed: int = 0) -> SequenceReplay:
    """Every step's numbers are its own."""
    replay = SequenceReplay(SPACE, spaces.Discrete(3), STATE, SequenceGeometry(4, 6, 3, 2), capacity=100, seed=seed)
    rng = np.random.default_rng(seed)
    for t in range(steps):
        observation = {"x": rng.normal(size=(1, 2)).astype(np.float32), "b": rng.integers(0, 2, (1, 5), np.int8)}
        state = {key: rng.normal(size=(1, *leaf.shape)).astype(np.float32) for key, leaf in STATE.items()}
        replay.add(
            observation, rng.integers(0, 3, 1), rng.normal(size=1), [False], [t % 17 == 16], state,
            final_observation=observation,
        )  # fmt: skip
    return replay


def whole_batch(replay: SequenceReplay) -> Batch:
    """Of full length, so that all have one layout."""
    return replay.get(replay.keys()[[2, 3]])


HOLDERS: dict[str, Any] = {
    "the batch": lambda batch: batch,
    "its state": lambda batch: batch.state,
    "its prefix": lambda batch: batch.prefix,
    "an observation": lambda batch: batch.unroll.observation,
    "a batch made of it": lambda batch: batch._replace(reward=batch.reward + 1),
    "an array": lambda batch: batch.keys,
    "an array of an observation": lambda batch: batch.prefix.observation["x"],
    "a view": lambda batch: batch.reward[:, 1:],
    "a view of a view": lambda batch: batch.reward[:, 1:][0].view(np.int32),
    "its buffer": lambda batch: memoryview(batch.action),
    "a capsule for another library": lambda batch: batch.importance_weights.__dlpack__(),
    "a tensor of another library": lambda batch: tf.identity(
        tf.experimental.dlpack.from_dlpack(batch.keys.__dlpack__())
    ),
    "the tensors": as_tensors,
    "the tensors, not made anew": lambda batch: as_tensors(batch) and as_tensors(batch),
    "a tensor": lambda batch: as_tensors(batch)[0],
    "its memory": lambda batch: batch.memory,
    "an attribute of another object": lambda batch: type("Other", (), {"kept": batch.state["a"]}),
    "an array with its place taken": lambda batch: (batch.reward, batch.unroll.observation.update(x=None)),
}


@pytest.mark.parametrize("with_tensors", [False, True])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held_in_any_way_is_not_used_again(name: str, with_tensors: bool) -> None:
    replay = filled()
    batch = whole_batch(replay)
    if with_tensors:
        as_tensors(batch)
    address = batch.keys.ctypes.data
    held = HOLDERS[name](batch)
    del batch
    for _ in range(5):
        other = whole_batch(replay)
        assert other.keys.ctypes.data != address
        del other
    del held


@pytest.mark.parametrize("with_prefix", [True, False])
def test_what_is_not_held_is_used_again_with_its_tensors(with_prefix: bool) -> None:
    replay = filled()
    has_prefix = replay.get(replay.keys()).prefix_length > 0
    keys = replay.keys()[has_prefix == with_prefix][:2]
    batch = replay.get(keys)
    assert (batch.prefix.previous_action.size > 0) == with_prefix
    tensors = as_tensors(batch)
    identities = [id(part) for part in (batch.memory, *tf.nest.flatten(batch), *tensors)]
    del batch, tensors
    for _ in range(10):
        again = replay.get(keys)
        tensors = as_tensors(again)
        assert [id(part) for part in (again.memory, *tf.nest.flatten(again), *tensors)] == identities
        del again, tensors


def test_tensors_hold_what_the_arrays_hold_at_each_use() -> None:
    replay = filled()
    keys = replay.keys()
    for pair in (keys[[2, 3]], keys[[6, 7]], keys[[3, 2]], keys[[7, 2]]):
        batch = replay.get(pair)
        tensors = as_tensors(batch)
        for tensor, leaf in zip(tensors, tf.nest.flatten(batch), strict=True):
            np.testing.assert_array_equal(tensor, leaf)
        np.testing.assert_array_equal(batch.keys, pair)
        del batch, tensors


def test_batches_of_other_shapes_do_not_pile_up_memory() -> None:
    replay, blocks = filled(), set()
    for size in (1, 5, 2, 7, 3, 1, 5, 2, 7):
        batch = replay.sample(size)
        assert len(batch.keys) == size
        blocks.add(id(batch.keys.base))
        del batch
    assert len(blocks) <= 4  # one for each time that a batch was larger than all before
    assert len(replay._gatherer._batches._memory._blocks) <= 3


def test_what_is_done_to_a_batch_is_gone_with_it() -> None:
    """Its dicts, and the shapes of its arrays: nothing of it is found in the next one."""
    replay = filled()
    expected = tf.nest.map_structure(np.copy, whole_batch(replay))
    batch = whole_batch(replay)
    as_tensors(batch)
    observation = batch.unroll.observation
    observation["extra"] = observation.pop("x")
    batch.state["a"], batch.state["z"] = batch.state["z"], batch.state["a"]
    batch.reward.shape = (-1,)
    del batch, observation
    again = whole_batch(replay)
    tf.nest.assert_same_structure(again, expected)
    for found, wanted in zip(tf.nest.flatten(again), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("after_tensors", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch._replace(reward=batch.reward + 1),
        lambda batch: pickle.loads(pickle.dumps(batch)),
        copy.deepcopy,
        copy.copy,
        lambda batch: batch.unroll.observation.update(x=batch.unroll.observation["x"][:, ::-1] + 1) or batch,
        lambda batch: batch.state.update(z=np.ones(7, np.float32)[1:].reshape(2, 3)) or batch,
    ],
    ids=["replaced", "from a file", "deep copy", "copy", "another observation", "another state, not aligned"],
)
def test_tensors_are_of_the_arrays_that_a_batch_has(change: Any, after_tensors: bool) -> None:
    replay = filled()
    batch = whole_batch(replay)
    if after_tensors:
        as_tensors(batch)
    other = change(batch)
    for tensor, leaf in zip(as_tensors(other), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(tensor + tf.zeros_like(tensor) if tensor.dtype != tf.bool else tensor, leaf)


def test_threads_never_share_a_batch() -> None:
    """Each holds what it was given for a while: nobody else may write to it."""
    replay = filled()
    rounds: list[bool] = []

    def work(keys: Any) -> None:
        for _ in range(300):
            batch = replay.get(keys)
            before = batch.reward.copy()
            as_tensors(batch)
            rounds.append(np.array_equal(batch.keys, keys) and np.array_equal(batch.reward, before))

    threads = [threading.Thread(target=work, args=(replay.keys()[[i, i + 1]],)) for i in (2, 3, 6, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rounds) == 4 * 300
    assert all(rounds)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_array_taken_out_of_a_batch_before_its_tensors_were_made_stays_as_it_is(times: int) -> None:
    """However often it is held: no tensor holds it, as one holds each array that a batch still has."""
    replay = filled()
    batch = whole_batch(replay)
    held = [batch.unroll.observation["x"]] * times
    batch.unroll.observation["x"] = held[0] + 1
    as_tensors(batch)
    before = held[0].copy()
    del batch
    for keys in (replay.keys()[[6, 7]], replay.keys()[[3, 2]]):
        replay.get(keys)
        np.testing.assert_array_equal(held[0], before)


VECTOR = spaces.Box(-1e6, 1e6, (2,), np.float32)
IN_TUPLES: dict[str, Any] = {
    "arrays": (VECTOR, np.zeros(3, np.float32)),
    "no state": (VECTOR, ()),
    "tuples": (spaces.Tuple((VECTOR, spaces.Tuple((VECTOR, spaces.Discrete(5))))), (np.zeros(3, np.float32),) * 2),
}
CHANGED: dict[str, Any] = {
    "a dict of states": (
        VECTOR,
        {"z": np.zeros(2, np.float32)},
        lambda batch: batch.state.update(z=batch.state["z"] + 1),
    ),
    "a list of states": (VECTOR, [np.zeros(2, np.float32)], lambda batch: batch.state.append(batch.state.pop() + 1)),
    "a dict beside an array": (
        VECTOR,
        (np.zeros(3, np.float32), {"a": np.zeros(2, np.float32)}),
        lambda batch: batch.state[1].update(a=batch.state[1]["a"] + 1),
    ),
    "a dict of observations": (
        spaces.Dict({"x": VECTOR}),
        (np.zeros(3, np.float32),),
        lambda batch: batch.unroll.observation.update(x=batch.unroll.observation["x"] + 1),
    ),
}


def filled_with(space: spaces.Space, state: Any) -> SequenceReplay:
    """One episode of 30 steps of random numbers."""
    replay = SequenceReplay(space, spaces.Discrete(3), state, SequenceGeometry(4, 6, 3, 2), capacity=100)
    seen, rng = batch_space(space, 1), np.random.default_rng(0)
    seen.seed(0)
    for _ in range(30):
        kept = tf.nest.map_structure(lambda leaf: rng.normal(size=(1, *leaf.shape)).astype(leaf.dtype), state)
        replay.add(seen.sample(), rng.integers(0, 3, 1), rng.normal(size=1), [False], [False], kept)
    return replay


def assert_tensors_are_its_leaves(batch: Batch) -> list[Any]:
    """Returns which objects they are."""
    tensors, leaves = as_tensors(batch), tf.nest.flatten(batch)
    for tensor, leaf in zip(tensors, leaves, strict=True):
        np.testing.assert_array_equal(tensor, leaf)
    return [id(part) for part in (*tensors, *leaves)]


@pytest.mark.parametrize(("space", "state"), IN_TUPLES.values(), ids=IN_TUPLES.keys())
def test_a_batch_of_tuples_has_its_tensors_again_and_one_made_of_it_has_its_own(
    space: spaces.Space, state: Any
) -> None:
    replay = filled_with(space, state)
    keys = replay.keys()
    batch = replay.get(keys[[2, 3]])
    identities = assert_tensors_are_its_leaves(batch)
    other = batch._replace(reward=batch.reward + 1)
    assert_tensors_are_its_leaves(other)
    assert assert_tensors_are_its_leaves(batch) == identities
    del batch, other
    for pair in (keys[[4, 5]], keys[[3, 2]]):
        again = replay.get(pair)
        np.testing.assert_array_equal(again.keys, pair)
        assert assert_tensors_are_its_leaves(again) == identities
        del again


@pytest.mark.parametrize(("space", "state", "change"), CHANGED.values(), ids=CHANGED.keys())
def test_a_batch_of_anything_else_is_looked_at_each_time(space: spaces.Space, state: Any, change: Any) -> None:
    replay = filled_with(space, state)
    batch = replay.get(replay.keys()[[2, 3]])
    assert_tensors_are_its_leaves(batch)
    change(batch)
    assert_tensors_are_its_leaves(batch)


@pytest.mark.parametrize("copied", [lambda batch: pickle.loads(pickle.dumps(batch)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("in_tuples", [False, True])
def test_a_copy_of_a_batch_knows_no_tensors(copied: Any, in_tuples: bool) -> None:
    replay = filled_with(VECTOR, ()) if in_tuples else filled()
    batch = whole_batch(replay)
    as_tensors(batch)
    other = copied(batch)
    assert other.memory is None
    other.reward[...] += 1
    for tensor, leaf in zip(as_tensors(other), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(tensor, leaf)


def other_dtype(batch: Batch) -> None:
    batch.action.dtype = np.float32


def read_only(batch: Batch) -> None:
    batch.keys.flags.writeable = batch.reward.flags.writeable = False


@pytest.mark.parametrize("change", [other_dtype, read_only])
@pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
def test_what_is_done_to_the_make_of_an_array_is_gone_with_its_batch(change: Any) -> None:
    replay = filled()
    expected = tf.nest.map_structure(np.copy, whole_batch(replay))
    batch = whole_batch(replay)
    change(batch)
    del batch
    for found, wanted in zip(tf.nest.flatten(whole_batch(replay)), tf.nest.flatten(expected), strict=True):
        assert found.dtype == wanted.dtype
        assert found.flags.writeable
        np.testing.assert_array_equal(found, wanted)
