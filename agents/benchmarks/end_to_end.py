"""The end-to-end benchmark: whole agents, their speed and where their time goes, and how long they take to solve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents.benchmarks.end_to_end_work import PARTS, TASKS
from agents.benchmarks.options import MOST_CORES, Benchmark, Options
from agents.benchmarks.plan import Case, Measure, Role, Subject
from agents.benchmarks.results import CaseResult


@dataclass(frozen=True)
class EndToEndOptions(Options):
    """What to measure."""

    rounds: int = 3
    """Rounds: how often every subject makes a run, in turn with the others."""
    tasks: tuple[Literal["cart-pole", "repeat-previous"], ...] = ("cart-pole", "repeat-previous")
    """CartPole with hidden velocities, popgym's RepeatPreviousEasy."""
    steps: int = 4_000
    """Environment steps of a run."""
    solve: bool = True
    """Whether to measure the time to solve as well; it takes minutes."""
    seed: int = 0
    """Of the runs that are to solve."""
    most_steps: int = 200_000
    """Environment steps after which a task counts as not solved."""
    cores: int = MOST_CORES
    """Cores that each may use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("steps", 1_000), ("most_steps", 1_000), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")


SPEED = (
    Measure("environment steps", "1/s", "higher", task="run"),
    Measure("updates", "1/s", "higher", task="run"),
    *(Measure(name, "% of the time", None, task="run") for name in PARTS.values()),
)
TIME_TO_SOLVE = (
    Measure("time", "s of training", "lower", task="solve", once=True),
    Measure("steps", "environment steps", "lower", task="solve", once=True),
)
QUOTED = (
    "Quoted, measured elsewhere on two cores, for orientation only; CartPole is without velocities:",
    "  deep_rl_zoo R2D2: 30 updates/s at 32 x 39 steps, 18 at 32 x 52; no task solved (CartPole: 237)",
    "  tianshou DRQN: 39 updates/s at 128 x 4 steps; not solved (142)",
    "  simple_distributed_rl R2D2: 19 updates/s at 32 x 15 steps; not solved (24)",
)


def plan(options: EndToEndOptions) -> list[Case]:
    """For each task a case for the speed, and one for the time to solve."""
    cases = []
    for task in options.tasks:
        name = TASKS[task].name
        cases.append(
            Case(
                f"{name}: speed",
                SPEED,
                (
                    _subject("ours", "ours", "ours", "tensorflow", task=task, steps=options.steps, options=options),
                    _subject(
                        "recurrent-double-q",
                        "peer",
                        "reference",
                        "torch",
                        task=task,
                        steps=options.steps,
                        options=options,
                    ),
                ),
            )
        )
        if options.solve:
            most = options.most_steps
            cases.append(
                Case(
                    f"{name}: time to solve",
                    TIME_TO_SOLVE,
                    (
                        _subject("ours", "ours", "ours", "tensorflow", task=task, steps=most, options=options),
                        _subject("recurrent-ppo", "peer", "ppo", "sb3_contrib", task=task, steps=most, options=options),
                    ),
                )
            )
    return cases


def _subject(
    name: str, role: Role, module: str, *needs: str, task: str, steps: int, options: EndToEndOptions
) -> Subject:
    settings = {"task": task, "steps": steps, "seed": options.seed}
    module = f"agents.benchmarks.end_to_end_{module}"
    without = () if "tensorflow" in needs else ("tensorflow",)
    return Subject(name, role, module, settings, (*needs, *TASKS[task].needs), without, cores=options.cores)


def extra(results: Sequence[CaseResult]) -> tuple[Any, list[str]]:
    """What others have been measured with elsewhere."""
    return {"quoted": list(QUOTED)}, list(QUOTED)


BENCHMARK = Benchmark(
    "whole agents: speed, where time goes, time to solve: beside plain PyTorch and PPO",
    EndToEndOptions,
    plan,
    extra=extra,
)
