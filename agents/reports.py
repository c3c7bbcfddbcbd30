"""What a run says of itself while it goes on, and what it ends with."""

from typing import NamedTuple, Protocol

from agents.config import Config


class Report(NamedTuple):
    """Metrics since the last report, unless said otherwise."""

    env_steps: int
    """Environment steps since the beginning."""
    updates: int
    """Updates since the beginning."""
    seconds: float
    """Seconds since the beginning, evaluations included."""
    episodes: int
    """Episodes finished since the beginning."""
    return_mean: float | None
    """Mean return of the last 100 episodes while exploring; None before the first one ends."""
    length_mean: float | None
    """Mean length of these episodes, in steps."""
    loss: float | None
    """Mean loss; None without updates."""
    gradient_norm: float | None
    """Mean global norm of the gradient before clipping."""
    mean_q: float | None
    """Mean Q-value of the actions taken, in the units of the normalised and rescaled reward."""
    reward_scale: float
    """What rewards are multiplied by now."""
    epsilon: float
    """Mean epsilon of the actors now."""
    env_steps_per_second: float
    """Evaluations not counted."""
    updates_per_second: float
    """Evaluations not counted."""
    replay_ratio: float
    """Trained steps per environment step, since learning began."""
    replay_sequences: int
    """Sequences that can be sampled now."""
    replay_steps: int
    """Steps held now."""
    dropped_priority_updates: int
    """Since the beginning: updates for sequences that had been overwritten."""
    staleness: float | None
    """Delta-Q of the R2D2 paper at the first trained step, mean over some sequences; None if not measured."""


class Evaluation(NamedTuple):
    """Greedy episodes on fresh environments."""

    env_steps: int
    updates: int
    return_mean: float
    return_std: float
    episodes: int
    best: bool
    """Whether these are the best weights so far."""
    cut: int = 0
    """Episodes that were cut because they did not end."""


class Summary(NamedTuple):
    """What a run ends with. Field names are those of summary.json."""

    env_id: str
    seed: int
    env_steps: int
    updates: int
    wall_seconds: float
    training_seconds: float
    """Without evaluations and without the first compilation."""
    env_steps_per_second: float
    updates_per_second: float
    evaluation_return_mean: float
    """Of the weights kept, in the evaluation that found them the best; being the best of several, it flatters."""
    evaluation_return_std: float
    evaluation_episodes: int
    last_return_mean: float
    """In the last evaluation."""
    solved: bool | None
    """None where the task has no threshold."""
    solved_at_env_steps: int | None
    solved_at_training_seconds: float | None
    stopped_because: str
    """"solved", "total_steps", or "interrupted"."""
    seconds_by_part: dict[str, float]
    """Where the time went: environment, acting, replay, learning, evaluation, compilation, other."""


class Observer(Protocol):
    """Whoever wants to be told; every method is called from the training loop, in this order."""

    def started(self, config: Config, solved_return: float | None, parameters: int, replay_bytes: int) -> None:
        """Before the first step; ``replay_bytes`` is what the replay will take."""

    def progressed(self, env_steps: int) -> None:
        """After every step of the environments; to be quick."""

    def reported(self, report: Report) -> None:
        """Every ``report_period`` steps."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """After every evaluation."""

    def finished(self, summary: Summary) -> None:
        """After the last evaluation."""
