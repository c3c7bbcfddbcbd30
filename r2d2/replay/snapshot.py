"""The whole buffer as plain arrays and back: all of it or none, and no object that could run code."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.consistency import inconsistencies
from r2d2.replay.sequences import COLUMNS, SequenceTable
from r2d2.replay.storage import StepStorage
from r2d2.replay.writer import Opened, SequenceWriter

if TYPE_CHECKING:
    from r2d2.replay.buffer import SequenceReplay

State = dict[str, NDArray[Any]]


def get_state(replay: SequenceReplay) -> State:
    """See `SequenceReplay.get_state`."""
    return {name: array.copy() for name, array in _arrays(replay).items()}


def _arrays(replay: SequenceReplay) -> State:
    """What `get_state` gives, the large arrays being the buffer's own."""
    storage, writer, table = replay.storage, replay.writer, replay.table
    opened = [(env, item) for env, queue in enumerate(writer.opened) for item in queue]
    state: State = {
        "configuration": np.array(json.dumps(_configuration(replay))),
        "random": np.array(json.dumps(replay.rng.bit_generator.state)),
        "counters": np.array([table.next_number, table.evicted, replay.dropped_updates], np.int64),
        "largest_priority": np.array(table.largest_priority),
        "rows.action": storage.action,
        "rows.reward": storage.reward,
        "rows.flags": storage.flags,
        "rows.position": storage.position,
        "open.step": writer.step,
        "open.episode_start": writer.episode_start,
        "open.sequences": np.array([(env, o.number) for env, o in opened], np.int64).reshape(-1, 2),
        "sequences.keys": table.keys,
        "sequences.columns": table.columns,
        "sequences.weights": table.tree.leaves,
        "sequences.free": np.array(table.free, np.int64),
    }
    for i, leaf in enumerate(storage.observations):
        state[f"rows.observation.{i}"] = leaf
    for i, leaf in enumerate(table.states):
        state[f"sequences.state.{i}"] = leaf
        kept = [o.state[i] for _, o in opened]
        state[f"open.state.{i}"] = np.array(kept, leaf.dtype).reshape(len(kept), *leaf.shape[1:])
    return state


def set_state(replay: SequenceReplay, state: State) -> None:
    """See `SequenceReplay.set_state`. Everything is built beside the buffer's parts and put in place at the end."""
    _check(replay, state)
    storage = StepStorage(replay.observation_spec, replay.action_spec, replay.num_envs, replay.storage.rows_per_env)
    for i, leaf in enumerate(storage.observations):
        leaf[...] = state[f"rows.observation.{i}"]
    storage.action, storage.reward = state["rows.action"].copy(), state["rows.reward"].copy()
    storage.flags, storage.position = state["rows.flags"].copy(), state["rows.position"].copy()

    writer = SequenceWriter(replay.geometry, replay.num_envs)
    writer.step, writer.episode_start = state["open.step"].copy(), state["open.episode_start"].copy()
    leaves = range(len(replay.table.states))
    for row, (env, number) in enumerate(state["open.sequences"].tolist()):
        writer.opened[env].append(Opened(number, [state[f"open.state.{i}"][row].copy() for i in leaves]))

    table = _table(replay, state)
    problems = inconsistencies(storage, writer, table, replay.geometry)
    if problems:
        raise ValueError("the replay's state is inconsistent: " + "; ".join(problems[:3]))
    random = _random(state)
    replay.storage, replay.writer, replay.table, replay.rng = storage, writer, table, random
    replay.dropped_updates = int(state["counters"][2])


def _table(replay: SequenceReplay, state: State) -> SequenceTable:
    keys = state["sequences.keys"]
    table = SequenceTable(replay.table.state_example, replay.num_envs, len(keys), replay.priority_exponent)
    table.keys, table.columns = keys.copy(), state["sequences.columns"].copy()
    table.states = [state[f"sequences.state.{i}"].copy() for i in range(len(table.states))]
    table.tree.set(np.arange(len(keys)), state["sequences.weights"])
    table.free = state["sequences.free"].tolist()
    table.next_number, table.evicted = int(state["counters"][0]), int(state["counters"][1])
    table.largest_priority = float(state["largest_priority"])
    live = table.live_slots()
    for env in range(replay.num_envs):
        mine = live[table.columns[0, live] == env]
        table.queues[env] = deque(mine[np.argsort(table.keys[mine])].tolist())
        if len(mine):
            table.oldest_needed[env] = np.maximum(table.columns[2, mine] - 1, table.columns[1, mine]).min()
    return table


def _random(state: State) -> np.random.Generator:
    generator = np.random.default_rng()
    try:
        generator.bit_generator.state = json.loads(str(state["random"]))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"random of the replay's state is not that of a random generator: {error}") from error
    return generator


def _configuration(replay: SequenceReplay) -> dict[str, Any]:
    geometry = replay.geometry
    return {
        "burn_in": geometry.burn_in,
        "train_length": geometry.train_length,
        "overlap": geometry.overlap,
        "n_step": geometry.n_step,
        "capacity": replay.capacity,
        "num_envs": replay.num_envs,
        "priority_exponent": replay.priority_exponent,
        "observation_space": [
            [leaf.path, list(leaf.shape), str(leaf.dtype), *leaf.bounds] for leaf in replay.observation_spec.leaves
        ],
        "action_space": replay.action_spec.description,
        "state_example": [
            [name, list(np.shape(leaf)), str(np.asarray(leaf).dtype)]
            for name, leaf in trees.named_leaves(replay.table.state_example, "state")
        ],
    }


def _check(replay: SequenceReplay, state: State) -> None:
    """Refuse a state of another buffer, and arrays that are missing or of another shape or dtype."""
    if "configuration" not in state:
        raise ValueError("this is not the state of a replay: it has no 'configuration'")
    try:
        theirs, ours = dict(json.loads(str(state["configuration"]))), _configuration(replay)
    except (ValueError, TypeError) as error:
        raise ValueError(f"configuration of the replay's state is damaged: {error}") from error
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise ValueError(f"the state is of a replay with {name}={theirs.get(name)}; this one has {name}={value}")
    own = _arrays(replay)
    if missing := sorted(set(own) - set(state)):
        raise ValueError(f"the replay's state lacks {missing}")
    slots, begun = np.size(state["sequences.keys"]), np.size(state["open.sequences"]) // 2
    for name, like in own.items():
        shape = like.shape
        if name.startswith("sequences.") and name != "sequences.columns":
            shape = (slots, *shape[1:])
        elif name == "sequences.columns":
            shape = (len(COLUMNS), slots)
        elif name.startswith("open.state") or name == "open.sequences":
            shape = (begun, *shape[1:])
        found = state[name]
        if name == "sequences.free":
            shape = found.shape if found.ndim == 1 else (-1,)
        if like.dtype.kind != "U" and (found.shape != shape or found.dtype != like.dtype):
            raise ValueError(
                f"{name} of the replay's state is {found.dtype}{list(found.shape)}, must be {like.dtype}{list(shape)}"
            )
    if (state["counters"] < 0).any():
        raise ValueError(f"counters of the replay's state are {state['counters'].tolist()}, must be at least 0")
    envs = state["open.sequences"][:, 0]
    if ((envs < 0) | (envs >= replay.num_envs)).any():
        raise ValueError("open.sequences of the replay's state names an environment that does not exist")
