"""The learner benchmark: one R2D2 update beside the same arithmetic in plain Keras and in PyTorch."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from agents.benchmarks.options import Benchmark, Options
from agents.benchmarks.plan import Case, Measure, Role, Subject
from agents.benchmarks.recurrent_work import SIZES
from r2d2.replay.two_threads import available_cores


@dataclass(frozen=True)
class LearnerOptions(Options):
    """What to measure."""

    sizes: tuple[Literal["small", "middle", "large"], ...] = ("small", "middle", "large")
    """small: 32 sequences of 10 + 20 steps, LSTM of 64. middle: 64 of 40 + 80, 128. large: 64 of 40 + 80, 512."""
    cores: tuple[int, ...] = tuple(number for number in (1, 2) if number <= available_cores())
    """Numbers of cores to measure with."""


THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that tell the libraries which NumPy may use for products how many threads to take."""
MEASURES = (
    Measure("update", "ms", "lower"),
    Measure("first update", "s after the call", "lower", once=True),
)
AGREEMENT = 1e-4
"""How far losses and gradients may differ: float32 sums over all steps in different orders."""


def plan(options: LearnerOptions) -> list[Case]:
    """A case for each number of cores and size."""
    return [
        Case(f"{SIZES[size].name}, {_cores(cores)}", MEASURES, _subjects(size, cores, options.seconds), AGREEMENT)
        for cores in options.cores
        for size in options.sizes
    ]


def _subjects(size: str, cores: int, seconds: float) -> tuple[Subject, ...]:
    def subject(name: str, role: Role, module: str, *needs: str, **settings: Any) -> Subject:
        settings = {"size": size, "seconds": seconds, **settings}
        without = ("tensorflow",) if "torch" in needs else ()
        return Subject(name, role, f"agents.benchmarks.learner_{module}", settings, needs, without, cores=cores)

    floor = subject("matrix-product", "limit", "floor", threads=cores)

    return (
        subject("ours", "ours", "ours", "tensorflow"),
        subject("keras", "peer", "keras", "tensorflow", xla=False),
        subject("keras-xla", "peer", "keras", "tensorflow", xla=True),
        subject("torch", "peer", "torch", "torch"),
        replace(floor, environment=dict.fromkeys(THREADS, str(cores))),
    )


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


BENCHMARK = Benchmark("one update: beside plain Keras, Keras with XLA, PyTorch", LearnerOptions, plan)
