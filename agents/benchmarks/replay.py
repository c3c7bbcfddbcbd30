"""The replay benchmark: sampling, priorities, inserting and memory of `SequenceReplay` and of its peers."""

from dataclasses import dataclass
from typing import Any, Literal

from agents.benchmarks.options import Benchmark, Options
from agents.benchmarks.plan import MALLOC_TUNED, Case, Measure, Role, Subject
from agents.benchmarks.replay_data import PERIOD, PROFILES, ROWS, Profile


@dataclass(frozen=True)
class ReplayOptions(Options):
    """What to measure."""

    profiles: tuple[Literal["P1", "P2", "P3"], ...] = ("P1", "P2", "P3")
    """P1: vectors of 8, states of 2 x 64, batches of 64. P2: 64 x 64, 2 x 256, 32. P3: 84 x 84, 2 x 512, 64."""
    capacity: int | None = None
    """Steps held; default: the profile's own, 100,000, 50,000 and 200,000 (P3 takes 20 GB with all peers)."""
    cores: int = 1
    """That each process may use. Ours copies large batches with two; peers use one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity is not None and self.capacity < _LEAST_CAPACITY:
            raise ValueError(f"capacity={self.capacity} must be at least {_LEAST_CAPACITY}")


_LEAST_CAPACITY = 5_000
MEASURES = (
    Measure("batch for the learner", "batches/s", "higher"),
    Measure("sample alone", "batches/s", "higher"),
    Measure("priority update", "us a batch", "lower"),
    Measure("insert, 1 env, steps", "steps/s", "higher"),
    Measure("insert, 1 env, chunks", "steps/s", "higher"),
    Measure("insert, 16 env, steps", "steps/s", "higher"),
    Measure("insert, 16 env, chunks", "steps/s", "higher"),
    Measure("memory, resident", "times the ideal", "lower", task="memory", once=True),
    Measure("memory, arrays", "times the ideal", "lower", task="memory", once=True),
)
_OWN_NEEDS = ("tensorflow",)


def plan(options: ReplayOptions) -> list[Case]:
    """A case for each profile."""
    return [Case(name, MEASURES, _subjects(PROFILES[name], options)) for name in options.profiles]


def _subjects(profile: Profile, options: ReplayOptions) -> tuple[Subject, ...]:
    capacity = profile.capacity if options.capacity is None else options.capacity
    once = 1.1 * capacity * profile.raw_step
    whole = ROWS / PERIOD * once
    with_states = 1.1 * capacity * (profile.raw_step + profile.state)

    def subject(
        name: str, role: Role, module: str, *needs: str, memory: float, malloc: bool = False, **settings: Any
    ) -> Subject:
        return Subject(
            name,
            role,
            f"agents.benchmarks.replay_{module}",
            {"profile": profile.name, "capacity": options.capacity, "seconds": options.seconds, **settings},
            needs,
            without=("tensorflow",) if "torch" in needs else (),
            environment=MALLOC_TUNED if malloc else {},
            cores=options.cores,
            memory=int(memory),
        )

    return (
        subject("ours", "ours", "ours", *_OWN_NEEDS, memory=once),
        subject("ours-malloc", "ours", "ours", *_OWN_NEEDS, memory=once, malloc=True),
        subject("ours-collected", "ours", "ours", *_OWN_NEEDS, memory=once, collected=True),
        subject("cpprb-malloc", "peer", "cpprb", "cpprb", memory=whole, malloc=True),
        subject("numpy-ring", "reference", "numpy", memory=once),
        subject("memory-copy", "limit", "memory_copy", memory=once),
        subject("flashbax", "peer", "flashbax", "flashbax", "jax", memory=with_states),
        subject("torchrl-slice", "peer", "torchrl", "torchrl", "torch", memory=with_states, kind="slice"),
        subject("torchrl-whole", "peer", "torchrl", "torchrl", "torch", memory=whole, kind="whole"),
    )


BENCHMARK = Benchmark("sample, insert, update priorities, memory: beside cpprb, flashbax, torchrl", ReplayOptions, plan)
