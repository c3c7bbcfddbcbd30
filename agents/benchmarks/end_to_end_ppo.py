"""sb3-contrib's RecurrentPPO as a subject of the end-to-end benchmark: the time until it has solved a task."""

import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.benchmarks.end_to_end_work import TASKS, NotSolved
from agents.benchmarks.prepared import Prepared

SETTINGS: dict[str, dict[str, Any]] = {
    # RL Baselines3 Zoo's for CartPole without velocities.
    "cart-pole": {
        "num_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "learning_rate": lambda left: 1e-3 * left,
        "clip_range": lambda left: 0.2 * left,
    },
    # Tuned by hand on small memory tasks: the library's defaults do not solve them.
    "repeat-previous": {
        "num_envs": 16,
        "n_steps": 128,
        "learning_rate": 1e-3,
        "policy_kwargs": {"lstm_hidden_size": 64},
    },
}
_EVALUATE_EVERY = 2048
_EPISODES, _EPISODES_TO_CONFIRM = 20, 100


class UntilSolved(BaseCallback):
    """Evaluates now and then, off the clock, and ends the training when the task is solved."""

    def __init__(self, make: Any, solved_return: float) -> None:
        super().__init__()
        self._evaluation = DummyVecEnv([make] * _EPISODES)
        self._solved_return = solved_return
        self._next = _EVALUATE_EVERY
        self._start = time.perf_counter()
        self.best = float("-inf")
        self.solved: tuple[float, int] | None = None
        """Seconds and steps."""

    def _on_step(self) -> bool:
        return self.solved is None

    def _on_rollout_end(self) -> None:
        """After a rollout, and so between updates."""
        if self.num_timesteps < self._next:
            return
        self._next += _EVALUATE_EVERY
        begin = time.perf_counter()
        mean = self._mean(_EPISODES)
        if mean >= self._solved_return:
            mean = self._mean(_EPISODES_TO_CONFIRM)
        self.best = max(self.best, mean)
        if mean >= self._solved_return:
            self.solved = (begin - self._start, self.num_timesteps)
        self._start += time.perf_counter() - begin

    def _mean(self, episodes: int) -> float:
        returns, _ = evaluate_policy(self.model, self._evaluation, episodes, deterministic=True, warn=False)
        return float(returns)


def prepare(task: str, steps: int, seed: int) -> Prepared:
    """Runs until the task is solved, or ``steps`` are over."""
    torch.set_num_threads(1)  # more are slower with networks of this size
    given = TASKS[task]

    def make() -> Any:
        return gymnasium.make(given.env_id)

    def solve() -> Mapping[str, float]:
        settings = dict(SETTINGS[task])
        envs = DummyVecEnv([make] * settings.pop("num_envs"))
        callback = UntilSolved(make, given.solved_return)
        RecurrentPPO("MlpLstmPolicy", envs, seed=seed, **settings).learn(steps, callback)
        if callback.solved is None:
            raise NotSolved(f"best return {callback.best:.3g} in {steps:,} steps")
        seconds, at = callback.solved
        return {"time": seconds, "steps": at}

    return Prepared({"solve": solve})
