"""What a benchmark is made of: cases, in each of which subjects do the same work side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.benchmarks.arithmetic import Better

Role = Literal["ours", "peer", "limit", "reference"]
"""This software; another; what the machine itself can do; or something shown beside them that nobody competes with."""

MALLOC_TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Environment in which the C library keeps the memory it has once been given, instead of returning it page by page."""


@dataclass(frozen=True)
class Measure:
    """One number of each subject in each round."""

    name: str
    unit: str
    better: Better | None
    """Whether high values are good or low ones; None where neither is, and nothing is compared."""
    task: str = ""
    """The task that yields it; default: one of the same name."""
    once: bool = False
    """Whether its task is done in the first round only: what does not vary, or takes long."""

    @property
    def of_task(self) -> str:
        """The name of the task that yields it."""
        return self.task or self.name


@dataclass(frozen=True)
class Subject:
    """Something that is measured, in a process of its own."""

    name: str
    role: Role
    module: str
    """The module that its process imports; its ``prepare(**settings)`` gives a `Prepared`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can carry."""
    needs: tuple[str, ...] = ()
    """Modules that must be installed."""
    without: tuple[str, ...] = ()
    """Modules that its process must not find: TensorFlow and PyTorch do not live together."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to its process's environment."""
    cores: int | None = None
    """How many cores its process may use; None for all."""
    memory: int = 0
    """Bytes that it will take, roughly."""


@dataclass(frozen=True)
class Case:
    """One piece of work and who does it."""

    name: str
    measures: tuple[Measure, ...]
    subjects: tuple[Subject, ...]
    agreement: float | None = None
    """How far the subjects' answers may be from those of the first peer, relative to the size of each answer; None:
    they give none."""
