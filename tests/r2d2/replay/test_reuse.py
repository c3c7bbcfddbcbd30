"""A batch, its arrays and its tensors are used again once nobody holds any part of them, and never before."""

import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

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
    "the tensors": as_tensors,
    "a tensor": lambda batch: as_tensors(batch)[0],
    "an attribute of another object": lambda batch: type("Other", (), {"kept": batch.state["a"]}),
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
    identity, of_tensors = id(batch), [id(tensor) for tensor in tensors]
    del batch, tensors
    for _ in range(10):
        again = replay.get(keys)
        assert id(again) == identity
        assert [id(tensor) for tensor in as_tensors(again)] == of_tensors
        del again


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
    replay = filled()
    addresses = set()
    for size in (1, 5, 2, 7, 3, 1, 5, 2):
        batch = replay.sample(size)
        assert len(batch.keys) == size
        addresses.add(batch.keys.ctypes.data)
        del batch
    assert len(replay._gatherer._batches._entries) <= 3


def test_a_batch_put_together_otherwise_has_tensors_of_its_own_arrays() -> None:
    replay = filled()
    batch = whole_batch(replay)
    as_tensors(batch)
    other = batch._replace(reward=batch.reward + 1)
    assert other.tensors is None
    for tensor, leaf in zip(as_tensors(other), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(tensor, leaf)


def test_threads_never_share_a_batch() -> None:
    """Each holds what it was given for a while: nobody else may write to it."""
    replay = filled()
    wrong: list[str] = []

    def work(keys: Any) -> None:
        for _ in range(300):
            batch = replay.get(keys)
            before = batch.reward.copy()
            as_tensors(batch)
            if not np.array_equal(batch.keys, keys) or not np.array_equal(batch.reward, before):
                wrong.append("written to by another thread")

    threads = [threading.Thread(target=work, args=(replay.keys()[[i, i + 1]],)) for i in (2, 3, 6, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
