"""Evaluation: greedy episodes on fresh environments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from agents.acting import Actor
from agents.config import Config
from agents.episodes import EpisodeStream
from agents.make_envs import make_envs
from agents.networks import make_network
from r2d2.network import RecurrentQNetwork
from r2d2.replay.spaces import ActionSpec
from r2d2.weights import load_weights

MOST_ENVS = 20
"""Environments that an evaluation steps together."""
LONGEST_EPISODE = 27_000
"""Steps after which an episode counts as it is: a greedy agent may never end one (half an hour of an Atari game)."""


class EvaluationResult(NamedTuple):
    """Undiscounted returns and lengths of the episodes."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    cut: int = 0
    """How many of them were cut after `LONGEST_EPISODE` steps."""


class Evaluator:
    """Plays greedy episodes with the weights that ``network`` has at the time.

    Every environment of the vector plays the same number of episodes: to take whichever episodes end first would
    favour short ones.
    """

    def __init__(self, network: RecurrentQNetwork, env_id: str, env_kwargs: dict[str, Any]) -> None:
        self._network = network
        self._env_id = env_id
        self._env_kwargs = env_kwargs
        self._action_spec = ActionSpec(network.action_space)
        self._actors: dict[int, Actor] = {}

    def evaluate(self, episodes: int, seed: int, check: Callable[[], None]) -> EvaluationResult:
        """``episodes`` greedy episodes on environments made afresh and seeded with ``seed``; see `play`."""
        num_envs = min(episodes, MOST_ENVS)
        if num_envs not in self._actors:
            self._actors[num_envs] = Actor(self._network, num_envs)
        envs = make_envs(self._env_id, num_envs, env_kwargs=self._env_kwargs)
        return play(envs, self._actors[num_envs], self._action_spec, episodes, seed, check)


def play(
    envs: VectorEnv[Any, Any, Any],
    actor: Actor,
    action_spec: ActionSpec,
    episodes: int,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Play ``episodes`` greedy episodes, fewer if some are longer than `LONGEST_EPISODE`; closes the environments.

    ``check`` is called before every step, and may raise.
    """
    quota = np.full(envs.num_envs, episodes // envs.num_envs)
    quota[: episodes % envs.num_envs] += 1
    returns: list[float] = []
    lengths: list[int] = []
    cut = 0
    running, steps = np.zeros(envs.num_envs), np.zeros(envs.num_envs, np.int64)
    actor.refresh()
    with EpisodeStream(envs, seed=seed) as stream:
        while quota.any():
            check()
            q_values, _ = actor.q_values(stream.observation, stream.first)
            index = q_values.argmax(axis=1)
            result = stream.step(action_spec.from_index(index))
            actor.took(index, result.reward)
            running += result.reward
            steps += result.active
            endless = (steps >= LONGEST_EPISODE) & (quota > 0) & ~(result.terminated | result.truncated)
            returns.extend(running[endless].tolist())
            lengths.extend(steps[endless].tolist())
            quota[endless] = 0
            cut += int(endless.sum())
            running[result.finished.rows] = steps[result.finished.rows] = 0
            for row, value, length in zip(*result.finished, strict=True):
                if quota[row]:
                    quota[row] -= 1
                    returns.append(float(value))
                    lengths.append(int(length))
    return EvaluationResult(np.array(returns), np.array(lengths), cut)


def evaluate_run(
    config: Config,
    weights: Path,
    *,
    episodes: int,
    seed: int,
    render: Callable[[Any], None] | None = None,
    render_mode: str | None = None,
) -> EvaluationResult:
    """Greedy episodes with saved weights of a run of ``config``.

    Args:
        config: the run's configuration.
        weights: file written by `r2d2.weights.save_weights`.
        episodes: how many, at least 1.
        seed: of the environments.
        render: if given, one environment is played and each of its frames handed over.
        render_mode: Gymnasium's, of that environment.

    Raises:
        FileNotFoundError, ValueError: weights are missing, damaged, or of another configuration.
    """
    if render is None:
        envs = make_envs(config.env_id, min(episodes, MOST_ENVS), env_kwargs=config.env_kwargs)
    else:
        envs = SyncVectorEnv(
            [
                lambda: _Shown(
                    gymnasium.make(config.env_id, **{**config.env_kwargs, "render_mode": render_mode}), render
                )
            ],
            autoreset_mode=AutoresetMode.DISABLED,
        )
    network = make_network(config, envs.single_observation_space, envs.single_action_space)
    load_weights(weights, network)
    return play(envs, Actor(network, envs.num_envs), ActionSpec(envs.single_action_space), episodes, seed)


class _Shown(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Hands over each frame: that of a reset when a step follows it, and that of an episode's last step."""

    def __init__(self, env: gymnasium.Env[Any, Any], show: Callable[[Any], None]) -> None:
        super().__init__(env)
        self._show = show
        self._first_frame: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        result = self.env.reset(seed=seed, options=options)
        self._first_frame = self.env.render()
        return result

    def step(self, action: Any) -> Any:
        if self._first_frame is not None:
            self._show(self._first_frame)
            self._first_frame = None
        result = self.env.step(action)
        self._show(self.env.render())
        return result
