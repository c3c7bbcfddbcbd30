"""What an interrupt, a lack of memory or a second thread leaves behind; arrays of any layout; indices in bounds."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from replay_oracle import Play, assert_same

from r2d2.replay import SequenceGeometry, SequenceReplay, sequences
from r2d2.replay import spaces as checking_spaces
from r2d2.replay import steps as checking
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.storage import StepStorage
from r2d2.replay.sum_tree import SumTree
from r2d2.replay.write_steps import Plan
from r2d2.replay.writer import MOST_STEPS

SHORT_EPISODES = SequenceGeometry(0, 40, 0, 1)
"""Of one step each there are more sequences than a table makes room for at first."""


def failing(error: type[BaseException], function: Callable[..., Any], at_call: int = 1) -> Callable[..., Any]:
    calls = iter(range(1, 1000))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) == at_call:
            raise error
        return function(*arguments, **named)

    return call


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize(
    ("owner", "name", "at_call"),
    [
        (np, "zeros", 1),  # the first leaf of the states
        (np, "zeros", 2),
        (np, "concatenate", 1),  # the free slots
        (SumTree, "resized", 1),
        (sequences, "_no_entries", 1),
        (sequences, "Slots", 1),
    ],
)
def test_a_table_that_could_not_grow_is_what_it_was(
    error: type[BaseException], owner: Any, name: str, at_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(SHORT_EPISODES, 200, 1)
    while len(play.replay.table.free):
        play.episode(1)
    before = play.replay.get_state()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing(error, getattr(owner, name), at_call))
        with pytest.raises(error):
            play.replay.table.grow()
    after = play.replay.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert play.replay.table.tree.nodes is play.replay.table.slots.nodes
    for _ in range(30):
        play.episode(1)
    assert_same(play.replay, play.oracle)
    assert play.replay.check_consistency() == []


STATE = np.zeros(2, np.float32)


def steps(time: int, num_envs: int = 1, **changed: Any) -> dict[str, Any]:
    number = np.arange(1, time * num_envs + 1).reshape(time, num_envs)
    playing = np.zeros((time, num_envs), bool)
    arguments = {
        "observation": np.repeat(number[..., None], 3, axis=-1).astype(np.uint8),
        "action": number % 4,
        "reward": number.astype(np.float32),
        "terminated": playing,
        "truncated": playing,
        "state": np.repeat(number[..., None], 2, axis=-1).astype(np.float32),
    }
    return arguments | changed


def make(num_envs: int = 1, capacity: int = 200) -> SequenceReplay:
    space = spaces.Box(0, 255, (3,), np.uint8)
    geometry = SequenceGeometry(1, 3, 1, 1)
    return SequenceReplay(space, spaces.Discrete(4), STATE, geometry, capacity=capacity, num_envs=num_envs)


def assert_equal(one: SequenceReplay, other: SequenceReplay) -> None:
    assert_equal_states(one.get_state(), other.get_state())


def assert_equal_states(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(mine) == set(theirs)
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(("owner", "name"), [(checking_spaces, "as_bytes"), (checking, "rows_of"), (Plan, "of")])
def test_steps_for_which_there_is_no_memory_change_nothing(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = make()
    replay.add_many(**steps(10))
    before = replay.get_state()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing(MemoryError, getattr(owner, name)))
        given = steps(20)
        with pytest.raises(MemoryError):
            replay.add_many(**given | {"state": np.asfortranarray(given["state"])})
    after = replay.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert replay.check_consistency() == []


@pytest.mark.parametrize("owner", [(StepStorage, "put_observations"), (SequenceTable, "put_states")])
def test_steps_that_an_interrupt_has_cut_short_are_named(owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = make()
    with monkeypatch.context() as patched:
        patched.setattr(*owner, failing(KeyboardInterrupt, getattr(*owner)))
        with pytest.raises(KeyboardInterrupt):
            replay.add_many(**steps(20))
    replay.add_many(**steps(20))
    assert any("an interrupt has cut short" in problem for problem in replay.check_consistency())


class Meddler:
    """An array that, when it is read, calls the replay that reads it."""

    def __init__(self, array: np.ndarray, call: Callable[[], Any]) -> None:
        self.array, self.call = array, call

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.call()
        return self.array


@pytest.mark.parametrize("name", ["observation", "action", "reward", "terminated", "state"])
@pytest.mark.parametrize("call", ["add_many", "end_episodes", "sample", "get_state"])
def test_a_call_from_within_another_is_refused(name: str, call: str) -> None:
    replay = make()
    replay.add_many(**steps(20))
    before = replay.get_state()
    given = steps(3)
    calls = {
        "add_many": lambda: replay.add_many(**given),
        "end_episodes": lambda: replay.end_episodes([True], np.zeros((1, 3), np.uint8)),
        "sample": lambda: replay.sample(2),
        "get_state": replay.get_state,
    }
    add = replay.add if name == "reward" else replay.add_many  # `add_many` reads its rewards before anything else
    arguments = {key: array[0] for key, array in given.items()} if name == "reward" else given
    with pytest.raises(RuntimeError, match="was called from within another method of the same SequenceReplay"):
        add(**arguments | {name: Meddler(arguments[name], calls[call])})
    assert_equal_states(before, replay.get_state())
    replay.add_many(**given)
    assert replay.check_consistency() == []


def test_more_environments_than_steps_written_at_once() -> None:
    num_envs = MOST_STEPS + 1
    replay, other = make(num_envs, 10 * num_envs), make(num_envs, 10 * num_envs)
    given = steps(6, num_envs)
    replay.add_many(**given)
    for t in range(6):
        other.add(**{name: array[t] for name, array in given.items()})
    assert_equal(replay, other)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """They take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_add_and_sample_side_by_side() -> None:
    replay = make(num_envs=2, capacity=400)
    ended = np.zeros((30, 2), bool)
    ended[-1] = True
    given = steps(30, 2, terminated=ended, final_observation=np.zeros((30, 2, 3), np.uint8))
    replay.add_many(**given)
    errors: list[BaseException] = []

    def often(call: Callable[[], Any], times: int) -> None:
        try:
            for _ in range(times):
                call()
        except BaseException as error:
            errors.append(error)

    def learn() -> None:
        batch = replay.sample(8)
        assert (batch.unroll.observation[:, 0] > 0).all()
        replay.update_priorities(batch.keys, np.linspace(0.5, 1.5, 8))

    adding = [threading.Thread(target=often, args=(lambda: replay.add_many(**given), 300)) for _ in range(2)]
    learning = [threading.Thread(target=often, args=(learn, 600)) for _ in range(2)]
    for thread in (*adding, *learning):
        thread.start()
    for thread in (*adding, *learning):
        thread.join()
    assert errors == []
    assert replay.check_consistency() == []
    keys_given = 601 * 2 * replay.geometry.sequence_count(30)
    assert len(replay) + replay.table.evicted == keys_given


def test_steps_are_written_in_parts_that_are_not_too_long() -> None:
    replay, other = make(2, 40_000), make(2, 40_000)
    given = steps(5000, 2)
    replay.add_many(**given)
    for start in range(0, 5000, 50):
        other.add_many(**{name: array[start : start + 50] for name, array in given.items()})
    assert_equal(replay, other)
    assert len(replay.writer._plan.rows) == MOST_STEPS + replay.writer.slots.size


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(array.tobytes(), np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "read-only": read_only,
    "in Fortran's order": np.asfortranarray,
    "every second": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "backwards": lambda array: array[::-1].copy()[::-1],
    "unaligned": unaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_arrays_of_any_layout_are_stored_as_their_values(layout: Callable[[np.ndarray], np.ndarray]) -> None:
    given = steps(30, 2)
    changed = {name: layout(array) for name, array in given.items()}
    if changed["state"].dtype != np.float32:  # a state is of its network's dtype
        changed["state"] = given["state"]
    one, other = make(2), make(2)
    one.add_many(**given)
    other.add_many(**changed)
    assert_equal(one, other)


@pytest.mark.parametrize("dtype", [">i4", ">u2", ">f4", ">f8", "<f2"])
def test_spaces_of_any_dtype(dtype: str) -> None:
    space = spaces.Box(0, 9, (2,), np.dtype(dtype))
    replay = SequenceReplay(space, spaces.Discrete(4), STATE, SequenceGeometry(1, 3, 1, 1), capacity=50)
    replay.add_many(**steps(8, observation=np.full((8, 1, 2), 7, dtype)))
    assert (replay.get(replay.keys()).unroll.observation[:, 0] == 7).all()
    with pytest.raises(ValueError, match="must be at most 9"):
        replay.add_many(**steps(8, observation=np.full((8, 1, 2), 10, dtype)))


def test_observations_of_no_numbers() -> None:
    space = spaces.Dict({"none": spaces.Box(0, 5, (0,), np.int64), "some": spaces.Discrete(3)})
    replay, other = (
        SequenceReplay(space, spaces.Discrete(4), STATE, SequenceGeometry(1, 3, 1, 1), capacity=50) for _ in range(2)
    )
    some = np.arange(8)[:, None] % 3
    replay.add_many(**steps(8, observation={"none": np.zeros((8, 1, 0), np.int64), "some": some}))
    other.set_state(replay.get_state())
    assert_equal(replay, other)
    assert other.get(other.keys()).unroll.observation["none"].shape[2:] == (0,)


@pytest.mark.parametrize("dtype", [">f4", ">i2", "<f8"])
def test_states_of_any_dtype_in_a_table_that_grows(dtype: str) -> None:
    replay = SequenceReplay(spaces.Discrete(3), spaces.Discrete(2), np.zeros(1, dtype), SHORT_EPISODES, capacity=400)
    slots = len(replay.table.keys)
    keys = []
    for t in range(150):
        state = np.full((1, 1), t + 1, dtype)
        keys += replay.add([0], [0], [0.0], [True], [False], state, final_observation=[0]).tolist()
    assert len(replay.table.keys) > slots
    assert replay.get(keys).state[:, 0].tolist() == list(range(1, 151))
    other = SequenceReplay(spaces.Discrete(3), spaces.Discrete(2), np.zeros(1, dtype), SHORT_EPISODES, capacity=400)
    other.set_state(replay.get_state())
    assert other.get(keys).state[:, 0].tolist() == list(range(1, 151))


def test_no_index_is_out_of_bounds(tmp_path: Path) -> None:
    """Compiled code checks none, and would read and write whatever is there; here it is compiled so that it does."""
    script = Path(__file__).with_name("checked_bounds.py")
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == "inside\n", run.stderr[-2000:]
