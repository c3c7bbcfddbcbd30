"""The whole buffer as plain arrays and back: all of it or none, and no object that could run code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from r2d2.replay import trees
from r2d2.replay.consistency import inconsistencies
from r2d2.replay.records import NEWER
from r2d2.replay.sequences import SequenceTable
from r2d2.replay.storage import StepStorage
from r2d2.replay.write_steps import Rings
from r2d2.replay.writer import SequenceWriter

if TYPE_CHECKING:
    from r2d2.replay.buffer import SequenceReplay

State = dict[str, NDArray[Any]]


def get_state(replay: SequenceReplay) -> State:
    """See `SequenceReplay.get_state`."""
    return {name: array.copy() for name, array in _arrays(replay).items()}


def _arrays(replay: SequenceReplay) -> State:
    """What `get_state` gives, the large arrays being the buffer's own."""
    storage, writer, table = replay.storage, replay.writer, replay.table
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
        "open.slots": writer.slots,
        "sequences.entries": table.entries[:, :NEWER],
        "sequences.weights": table.tree.leaves,
        "sequences.free": table.free,
    }
    for i, leaf in enumerate(storage.observations):
        state[f"rows.observation.{i}"] = leaf
    for i, leaf in enumerate(table.states):
        state[f"sequences.state.{i}"] = leaf
    return state


def set_state(replay: SequenceReplay, state: State) -> None:
    """See `SequenceReplay.set_state`. Everything is built beside the buffer's parts and put in place at the end."""
    _check(replay, state)
    storage = StepStorage(replay.observation_spec, replay.action_spec, replay.num_envs, replay.storage.rows_per_env)
    for i, leaf in enumerate(storage.observations):
        leaf[...] = state[f"rows.observation.{i}"]
    for name, ring in zip(Rings._fields, storage.rings, strict=True):
        ring[...] = state[f"rows.{name}"]
    table = _table(replay, state)
    writer = SequenceWriter(replay.geometry, storage, table)
    writer.step[...], writer.episode_start[...] = state["open.step"], state["open.episode_start"]
    writer.slots[...] = state["open.slots"]
    problems = inconsistencies(storage, writer, table, replay.geometry)
    if problems:
        raise ValueError("the replay's state is inconsistent: " + "; ".join(problems[:3]))
    random = _random(state)
    replay.storage, replay.writer, replay.table, replay.rng = storage, writer, table, random
    replay.dropped_updates = int(state["counters"][2])


def _table(replay: SequenceReplay, state: State) -> SequenceTable:
    entries, (given, evicted, _) = state["sequences.entries"], state["counters"].tolist()
    table = SequenceTable(replay.table.state_example, replay.num_envs, len(entries), replay.priority_exponent)
    table.restore(entries, state["sequences.free"], given, evicted)
    for i, leaf in enumerate(table.states):
        leaf[...] = state[f"sequences.state.{i}"]
    table.tree.set(np.arange(len(entries)), state["sequences.weights"])
    table.largest_priority = float(state["largest_priority"])
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
    slots = np.shape(state["sequences.entries"])[:1]
    for name, like in own.items():
        shape = like.shape
        if name.startswith("sequences."):
            shape = (*slots, *shape[1:])
        found = state[name]
        if name == "sequences.free":
            shape = found.shape if found.ndim == 1 and (found.size,) <= slots else (-1,)
        if like.dtype.kind != "U" and (found.shape != shape or found.dtype != like.dtype):
            raise ValueError(
                f"{name} of the replay's state is {found.dtype}{list(found.shape)}, must be {like.dtype}{list(shape)}"
            )
    if (state["counters"] < 0).any():
        raise ValueError(f"counters of the replay's state are {state['counters'].tolist()}, must be at least 0")
