"""What all benchmarks have in common: their options, and what a benchmark consists of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from agents.benchmarks.charts import draw_bars
from agents.benchmarks.plan import Case
from agents.benchmarks.results import CaseResult
from r2d2.replay.two_threads import available_cores

MOST_CORES = min(2, available_cores())
"""That a benchmark uses unless told otherwise: there are figures of two."""


@dataclass(frozen=True)
class Options:
    """Options of every benchmark.

    Raises:
        ValueError: a number is out of its range.
    """

    rounds: int = 7
    """Rounds: how often every subject does every task, in turn with the others."""
    seconds: float = 0.1
    """Least seconds that a task is repeated for in a round."""
    subjects: tuple[str, ...] = ()
    """Only these; default: all that are installed."""
    out_dir: Path = Path("runs/benchmark")
    """Folder of the results: a JSON file and a chart for each benchmark, replaced by the next run."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds={self.rounds} must be at least 1")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds={self.seconds} must be a finite number greater than 0")
        for field in fields(self):
            _refuse_nothing_and_repeats(field.name, getattr(self, field.name))
        cores = getattr(self, "cores", MOST_CORES)
        if not all(1 <= number <= available_cores() for number in (cores if isinstance(cores, tuple) else (cores,))):
            raise ValueError(f"cores={cores} must be from 1 to {available_cores()}, the cores there are")


def _refuse_nothing_and_repeats(name: str, value: Any) -> None:
    """Of options with several values; no subject stands for all of them."""
    if not isinstance(value, tuple):
        return
    if not value and name != "subjects":
        raise ValueError(f"{name} is given without a value; leave it out for its default")
    for number, part in enumerate(value):
        if part in value[:number]:
            raise ValueError(f"{name} names {part!r} twice")


def no_extra(results: Sequence[CaseResult]) -> tuple[Any, list[str]]:
    """Nothing beyond the tables."""
    return None, []


@dataclass(frozen=True)
class Benchmark:
    """One benchmark."""

    summary: str
    """What it measures, in one line."""
    options: type[Options]
    plan: Callable[[Any], list[Case]]
    """The cases, for options."""
    draw: Callable[[Path, Sequence[CaseResult], str], None] = draw_bars
    """Draws the chart, with a caption."""
    extra: Callable[[Sequence[CaseResult]], tuple[Any, list[str]]] = no_extra
    """What else follows from the results: for the JSON file, and in lines below the tables."""


def selected(cases: list[Case], subjects: Sequence[str]) -> list[Case]:
    """The cases with only the ``subjects`` named, all if none are; cases that have none of them are left out.

    Raises:
        ValueError: there is no such subject.
    """
    known = list(dict.fromkeys(subject.name for case in cases for subject in case.subjects))
    for name in subjects:
        if name not in known:
            raise ValueError(f"subjects={name!r} must be among {known}")
    if not subjects:
        return cases
    chosen = [
        replace(case, subjects=tuple(subject for subject in case.subjects if subject.name in subjects))
        for case in cases
    ]
    return [case for case in chosen if case.subjects]
