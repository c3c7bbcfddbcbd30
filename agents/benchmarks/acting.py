"""The acting benchmark: environment steps per second of an agent on environments that cost nothing."""

from dataclasses import dataclass
from typing import Any

from agents.benchmarks.options import MOST_CORES, Benchmark, Options
from agents.benchmarks.plan import Case, Measure, Role, Subject


@dataclass(frozen=True)
class ActingOptions(Options):
    """What to measure."""

    environments: tuple[int, ...] = (1, 16, 64)
    """Numbers of environments acted in together."""
    cores: int = MOST_CORES
    """Cores that each may use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.environments) < 1:
            raise ValueError(f"environments={self.environments} must be numbers of at least 1")


MEASURES = (Measure("acting", "environment steps/s", "higher"),)
AGREEMENT = 1e-4


def plan(options: ActingOptions) -> list[Case]:
    """A case for each number of environments."""
    return [
        Case("1 environment" if n == 1 else f"{n} environments", MEASURES, _subjects(n, options), AGREEMENT)
        for n in options.environments
    ]


def _subjects(num_envs: int, options: ActingOptions) -> tuple[Subject, ...]:
    def subject(name: str, role: Role, module: str, *needs: str, **settings: Any) -> Subject:
        settings = {"num_envs": num_envs, "seconds": options.seconds, **settings}
        without = ("tensorflow",) if "torch" in needs else ()
        return Subject(name, role, f"agents.benchmarks.acting_{module}", settings, needs, without, cores=options.cores)

    return (
        subject("ours", "ours", "ours", "tensorflow"),
        subject("keras-states-passed", "peer", "keras", "tensorflow", kind="passed"),
        subject("keras-stateful", "peer", "keras", "tensorflow", kind="held"),
        subject("torch", "peer", "torch", "torch"),
        subject("keras-predict", "reference", "keras", "tensorflow", kind="predict"),
    )


BENCHMARK = Benchmark("choosing actions for 1, 16, 64 environments: beside a compiled Keras model", ActingOptions, plan)
