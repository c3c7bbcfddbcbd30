"""Memory of batches is used again once nobody holds it, and never before."""

import gc

import numpy as np
import pytest
from gymnasium import spaces

from r2d2.replay import SequenceGeometry, SequenceReplay
from r2d2.replay.memory import ALIGNMENT, Layout, ReusedMemory

LAYOUT = Layout.of([((3, 5), np.dtype(np.uint8)), ((7,), np.dtype(np.float64)), ((2, 0), np.dtype(np.int32))])


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_arrays_have_their_shapes_and_lie_apart_each_aligned():
    first, second, third = ReusedMemory().arrays(LAYOUT)
    assert [(a.shape, a.dtype) for a in (first, second, third)] == [
        ((3, 5), np.uint8),
        ((7,), np.float64),
        ((2, 0), np.int32),
    ]
    assert {address(a) % ALIGNMENT for a in (first, second, third)} == {0}
    first.fill(255)
    second.fill(0.5)
    assert (first == 255).all()
    assert (second == 0.5).all()


@pytest.mark.parametrize(
    "keep",
    [
        lambda arrays: arrays[0],
        lambda arrays: arrays[1][2:],
        lambda arrays: arrays[1][2:][::2].reshape(-1),
        lambda arrays: memoryview(arrays[0]),
        lambda arrays: arrays[0].__dlpack__(),
        lambda arrays: np.asarray(arrays[0]).view(np.int8),
    ],
    ids=["an array", "a view", "a view of a view", "its buffer", "a tensor of another library", "other dtype"],
)
def test_memory_that_is_held_in_any_way_is_not_given_again(keep):
    memory = ReusedMemory()
    arrays = memory.arrays(LAYOUT)
    arrays[0].fill(7)
    place, held = address(arrays[0]), keep(arrays)
    del arrays
    for _ in range(5):
        others = memory.arrays(LAYOUT)
        assert address(others[0]) != place
        others[0].fill(9)
    del held
    gc.collect()
    given = [memory.arrays(LAYOUT) for _ in range(2)]
    assert len({address(a[0]) for a in given}) == 2


def test_memory_that_nobody_holds_is_given_again():
    memory = ReusedMemory()
    places = {address(memory.arrays(LAYOUT)[0]) for _ in range(10)}
    assert len(places) == 1


def test_in_a_loop_that_keeps_the_last_batch_two_places_are_enough():
    memory, places = ReusedMemory(), set()
    for _ in range(10):
        arrays = memory.arrays(LAYOUT)
        places.add(address(arrays[0]))
    assert len(places) == 2


def test_a_batch_is_not_changed_by_those_that_are_sampled_later():
    replay = SequenceReplay(
        spaces.Box(-9, 9, (3,)),
        spaces.Discrete(2),
        (np.zeros(2, np.float32),),
        SequenceGeometry(1, 2, 0, 1),
        capacity=100,
    )
    rng = np.random.default_rng(0)
    replay.add_many(
        rng.normal(size=(60, 1, 3)).astype(np.float32),
        rng.integers(0, 2, (60, 1)),
        rng.normal(size=(60, 1)),
        np.zeros((60, 1), bool),
        np.zeros((60, 1), bool),
        (rng.normal(size=(60, 1, 2)).astype(np.float32),),
    )
    batches = [replay.sample(4) for _ in range(20)]
    for batch in batches:
        again = replay.get(batch.keys)
        np.testing.assert_array_equal(batch.unroll.observation, again.unroll.observation)
        np.testing.assert_array_equal(batch.reward, again.reward)
        np.testing.assert_array_equal(batch.state[0], again.state[0])
