"""The tasks and configurations of the end-to-end benchmark, and the numbers that come out of a run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from agents.config import Config
from agents.presets import preset


class Task(NamedTuple):
    """A task."""

    name: str
    env_id: str
    preset: str
    solved_return: float
    needs: tuple[str, ...]


TASKS = {
    "cart-pole": Task("CartPole with hidden velocities", "envs:r2d2/CartPoleHiddenVelocity-v0", "control", 475.0, ()),
    "repeat-previous": Task(
        "popgym RepeatPreviousEasy", "popgym:popgym-RepeatPreviousEasy-v0", "memory", 0.9, ("popgym",)
    ),
}
PARTS = {
    "environment": "environment",
    "acting": "acting",
    "replay": "replay",
    "learning": "learning",
    "other": "everything else",
}
LEARNING_STARTS = 500


def of_fixed_length(task: str, steps: int) -> Config:
    """The configuration of a run of so many environment steps, without evaluations."""
    return preset(
        TASKS[task].preset,
        env_id=TASKS[task].env_id,
        total_steps=steps,
        learning_starts=LEARNING_STARTS,
        evaluation_period=steps + 1,
        evaluation_episodes=1,
        final_evaluation_episodes=1,
        report_period=steps + 1,
        stop_when_solved=False,
    )


def until_solved(task: str, steps: int, seed: int) -> Config:
    """The configuration of a run that ends when it has solved the task, or after so many steps."""
    given = TASKS[task]
    return replace(
        preset(given.preset), env_id=given.env_id, total_steps=steps, seed=seed, solved_return=given.solved_return
    )


def speeds(env_steps: int, updates: int, parts: Mapping[str, float]) -> dict[str, Any]:
    """Rates, and the share of each part in the time.

    Args:
        env_steps, updates: made in the run.
        parts: seconds by part, as `agents.stopwatch.Stopwatch` gives them; those of evaluation and compilation do not
            count.
    """
    counted = {name: parts.get(name, 0.0) for name in PARTS}
    seconds = sum(counted.values())
    return {
        "environment steps": env_steps / seconds,
        "updates": updates / seconds,
        **{PARTS[name]: 100 * own / seconds for name, own in counted.items()},
    }


class NotSolved(RuntimeError):
    """A run ended without having solved its task."""
