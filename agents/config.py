"""The whole configuration of a run: one frozen dataclass, checked when made, which is also the command line."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from r2d2.field_types import require_declared_types
from r2d2.replay import SequenceGeometry
from r2d2.settings import LearnerSettings

SequenceStart = Literal["stored_with_burn_in", "stored", "zero"]


@dataclass(frozen=True)
class Config:
    """Configuration of a run. The defaults are those of the preset "memory"; see `agents.presets`.

    Raises:
        TypeError: a value is of another type.
        ValueError: a value is out of its range, or two do not fit together; the message names them.
    """

    env_id: str = "r2d2/TMaze-v0"
    """Gymnasium id of the environment; `module:Env-v0` imports `module` first."""
    preset: Literal["memory", "control", "atari"] = "memory"
    """What the other options default to: small memory tasks, control from partial observations, or the paper's."""
    seed: int = 0
    """Of everything that is random. The same seed on the same machine gives the same losses, bit for bit."""
    total_steps: int = 40_000
    """Environment steps, over all environments."""
    out_dir: str | None = None
    """The run's own folder. Default: runs/<env-id>/<date and time>_seed<seed>."""

    num_envs: int = 8
    """Environments that are acted in together, by one call of the network."""
    env_mode: Literal["sync", "async"] = "sync"
    """Whether environments run in this process, or in one process each (for slow ones)."""
    env_args: tuple[str, ...] = ()
    """Arguments of the environment, each name=value, such as corridor_length=20."""
    env_timeout: float | None = None
    """Seconds that one step of the environments may take, with env_mode async; None for no limit."""

    train_length: int = 64
    """Trained steps of a sequence."""
    burn_in: int = 16
    """Steps before the trained ones that warm the recurrent state, without training."""
    overlap: int = 32
    """Trained steps that adjacent sequences of an episode share; smaller than train_length."""
    sequence_start: SequenceStart = "stored_with_burn_in"
    """Where a replayed sequence starts: stored state and burn-in, stored state alone, or zero state (and burn-in)."""
    capacity: int = 100_000
    """Rows that the replay holds: steps, and one final observation for each episode."""
    batch_size: int = 32
    """Sequences of an update."""
    priority_exponent: float = 0.6
    """Sequences are drawn in proportion to priority ** priority_exponent; 0 draws uniformly."""
    importance_exponent: float = 0.4
    """Strength of the importance weights; 0 switches them off."""
    eta: float = 0.9
    """Priority of a sequence: eta * max + (1 - eta) * mean of its absolute TD errors."""

    replay_ratio: float = 64.0
    """Trained steps per environment step: the one dial between acting and learning."""
    learning_starts: int = 500
    """Environment steps before the first update."""
    epsilon_base: float = 0.4
    """Actor i of N explores with epsilon_base ** (1 + epsilon_spread * i / (N - 1)): a ladder of epsilons."""
    epsilon_spread: float = 7.0
    """See epsilon_base; 0 gives every actor the same epsilon."""
    epsilon_decay_steps: int = 3_000
    """Environment steps over which every epsilon falls from 1 to its place on the ladder."""

    n_step: int = 1
    """Steps of reward in a target."""
    gamma: float = 0.99
    """Discount of one step."""
    rescaling_epsilon: float | None = None
    """Epsilon of the value rescaling (the paper: 1e-3); None for no rescaling."""
    normalize_rewards: bool = True
    """Whether rewards are divided by the running deviation of returns: their scale then does not matter."""
    huber_delta: float | None = 1.0
    """TD errors beyond this count linearly in the loss; None for half the square everywhere."""
    learning_rate: float = 2e-3
    """Of Adam."""
    adam_epsilon: float = 1e-8
    """Of Adam. The paper's 1e-3 keeps small tasks from being learned."""
    max_gradient_norm: float = 10.0
    """Gradients are scaled down to this global norm."""
    target_period: int | None = None
    """Updates between copies of the weights to the target network; None if they are mixed."""
    target_mixing: float | None = 0.01
    """Share of the weights mixed into the target network at every update; None if they are copied."""

    torso_units: int = 64
    """Width of the dense layers that read an observation."""
    core: Literal["lstm", "gru"] = "lstm"
    """Kind of the recurrent layers."""
    core_units: tuple[int, ...] = (64,)
    """Width of each recurrent layer."""
    head_units: int = 0
    """Width of a hidden layer between the core and the Q-values; 0 for none."""
    dueling: bool = True
    """Whether the head is split into value and advantages."""
    read_previous_action: bool = True
    """Whether the network reads the previous action."""
    read_previous_reward: bool = True
    """Whether the network reads the previous reward."""

    evaluation_period: int = 1_000
    """Environment steps between evaluations by greedy episodes on fresh environments."""
    evaluation_episodes: int = 20
    """Episodes of an evaluation on the way; one that may be the best is confirmed over final_evaluation_episodes."""
    final_evaluation_episodes: int = 100
    """Episodes over which an evaluation is confirmed that may be the best, if more than those on the way."""
    evaluated_weights: Literal["online", "target"] = "online"
    """Which weights are evaluated and kept: the trained ones, or the target network's, a slow average of them."""
    stop_when_solved: bool = True
    """Whether the run ends as soon as an evaluation reaches solved_return."""
    solved_return: float | None = None
    """Mean return at which the task counts as solved. Default: the threshold registered with the environment."""
    report_period: int = 1_000
    """Environment steps between lines of metrics."""

    def __post_init__(self) -> None:
        require_declared_types(self)
        _require(self, "seed", lambda v: 0 <= v < 2**32, "in [0, 2**32)")
        _require(self, "env_timeout", lambda v: v is None or 0 < v < math.inf, "None or a finite number greater than 0")
        if self.env_timeout is not None and self.env_mode == "sync":
            raise ValueError(f"env_timeout={self.env_timeout} needs env_mode='async': one process cannot be timed out")
        _ = self.env_kwargs  # checks the arguments' form
        for name in ("total_steps", "num_envs", "batch_size", "evaluation_period", "evaluation_episodes"):
            _require(self, name, lambda v: v >= 1, "at least 1")
        for name in ("final_evaluation_episodes", "report_period", "torso_units"):
            _require(self, name, lambda v: v >= 1, "at least 1")
        for name in ("learning_starts", "epsilon_decay_steps", "head_units"):
            _require(self, name, lambda v: v >= 0, "at least 0")
        for name in ("priority_exponent", "importance_exponent", "epsilon_spread"):
            _require(self, name, lambda v: math.isfinite(v) and v >= 0, "a finite number, at least 0")
        _require(self, "epsilon_base", lambda v: 0 <= v <= 1, "in [0, 1]")
        _require(self, "replay_ratio", lambda v: math.isfinite(v) and v > 0, "a finite number greater than 0")
        _require(self, "core_units", lambda v: v and min(v) >= 1, "one or more numbers of at least 1")
        _require(self, "solved_return", lambda v: v is None or math.isfinite(v), "None or a finite number")
        _ = self.learner_settings  # checks the numbers of the update
        rows = self.geometry.rows_needed * self.num_envs
        if self.capacity < rows:
            raise ValueError(
                f"capacity={self.capacity} must be at least {rows}: room for one sequence of each of "
                f"num_envs={self.num_envs} environments"
            )

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the environment, from ``env_args``; a value that is no Python literal is a string."""
        kwargs: dict[str, Any] = {}
        for argument in self.env_args:
            name, equals, value = argument.partition("=")
            if not equals or not name.isidentifier():
                raise ValueError(f"env_args={argument!r} must have the form name=value")
            if name in kwargs:
                raise ValueError(f"env_args={argument!r} gives {name} a second time")
            try:
                kwargs[name] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                kwargs[name] = value
        return kwargs

    @property
    def geometry(self) -> SequenceGeometry:
        """Lengths of the replayed sequences."""
        burn_in = 0 if self.sequence_start == "stored" else self.burn_in
        return SequenceGeometry(burn_in, self.train_length, self.overlap, self.n_step)

    @property
    def learner_settings(self) -> LearnerSettings:
        """The numbers of the update."""
        return LearnerSettings(
            n_step=self.n_step,
            gamma=self.gamma,
            eta=self.eta,
            rescaling_epsilon=self.rescaling_epsilon,
            huber_delta=self.huber_delta,
            learning_rate=self.learning_rate,
            adam_epsilon=self.adam_epsilon,
            max_gradient_norm=self.max_gradient_norm,
            target_period=self.target_period,
            target_mixing=self.target_mixing,
        )


def _require(config: Config, name: str, allowed: Callable[[Any], Any], words: str) -> None:
    value = getattr(config, name)
    if not allowed(value):
        raise ValueError(f"{name}={value} must be {words}")
