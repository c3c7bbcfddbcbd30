"""flashbax's prioritised trajectory buffer as a subject of the replay benchmark."""

from typing import Any

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from agents.benchmarks.prepared import Prepared
from agents.benchmarks.replay_data import IMPORTANCE_EXPONENT, PERIOD, PRIORITY_EXPONENT, ROWS, Profile, Sequence, Steps
from agents.benchmarks.replay_measures import prepare_replay
from agents.benchmarks.replay_sequences import split


class Flashbax:
    """See `agents.benchmarks.replay_measures.Replay`. It knows no episodes: sequences go over their ends."""

    prioritized = True

    def __init__(self, profile: Profile, num_envs: int, capacity: int) -> None:
        length = capacity // num_envs // PERIOD * PERIOD
        buffer = flashbax.make_prioritised_trajectory_buffer(
            add_batch_size=num_envs,
            sample_batch_size=profile.batch,
            sample_sequence_length=ROWS,
            period=PERIOD,
            min_length_time_axis=ROWS,
            max_length_time_axis=length,
            priority_exponent=PRIORITY_EXPONENT,
        )
        self._length = length
        self._num_envs = num_envs
        self._state = buffer.init(
            {
                "observation": jnp.zeros(profile.shape, profile.dtype),
                "action": jnp.zeros((), jnp.int32),
                "reward": jnp.zeros((), jnp.float32),
                "terminated": jnp.zeros((), jnp.bool_),
                "hidden": jnp.zeros(profile.units, jnp.float32),
                "cell": jnp.zeros(profile.units, jnp.float32),
            }
        )

        def sample(state: Any, key: Any) -> Any:
            batch = buffer.sample(state, key)
            # Their number cancels when the largest is made 1.
            weights = batch.probabilities**-IMPORTANCE_EXPONENT
            return batch.experience, batch.indices, weights / weights.max()

        self._add = jax.jit(buffer.add, donate_argnums=0)
        self._sample = jax.jit(sample)
        self._set = jax.jit(buffer.set_priorities, donate_argnums=0)
        self._key = jax.random.key(0)
        self._indices: Any = None
        self._steps = 0

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self._state))

    @property
    def num_steps(self) -> int:
        return min(self._steps, self._length * self._num_envs)

    def insert(self, chunk: Steps, *, one_by_one: bool) -> None:
        for part in split(chunk, one_by_one=one_by_one):
            terminated = np.zeros(part.reward.shape, np.bool_)
            terminated[-1] = part.ends
            fields = (part.observation, part.action, part.reward, terminated, part.hidden, part.cell)
            names = ("observation", "action", "reward", "terminated", "hidden", "cell")
            self._state = self._add(
                self._state, {name: field.swapaxes(0, 1) for name, field in zip(names, fields, strict=True)}
            )
            self._steps += part.reward.size
        jax.block_until_ready(self._state)

    def sample(self) -> Any:
        self._key, key = jax.random.split(self._key)
        experience, self._indices, weights = jax.block_until_ready(self._sample(self._state, key))
        return experience, weights

    def sequences(self, batch: Any) -> list[Sequence]:
        fields = {name: np.asarray(field) for name, field in batch[0].items()}
        return [
            Sequence(observation, action, reward, hidden[0], cell[0])
            for observation, action, reward, hidden, cell in zip(
                *[fields[name] for name in ("observation", "action", "reward", "hidden", "cell")], strict=True
            )
        ]

    def sampled(self) -> Any:
        return self._indices

    def everything(self) -> NDArray[np.int64]:
        rows = self._length // PERIOD * self._num_envs
        tree = self._state.sum_tree_state
        return np.flatnonzero(np.asarray(flashbax.buffers.sum_tree.get(tree, jnp.arange(rows))))

    def set_priorities(self, names: Any, priorities: NDArray[np.float64]) -> None:
        self._state = self._set(self._state, jnp.asarray(names), jnp.asarray(priorities, jnp.float32))
        jax.block_until_ready(self._state)


def prepare(profile: str, capacity: int | None, seconds: float) -> Prepared:
    """See `prepare_replay`."""
    return prepare_replay(
        Flashbax,
        profile=profile,
        capacity=capacity,
        seconds=seconds,
        note="stores a recurrent state with every step, and hands all of them out; sequences go over episodes' ends; "
        f"inserts steps by add of one, chunks by add of {PERIOD}",
    )
