"""The growth benchmark: what more steps held, more environments, longer sequences and wider networks cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.benchmarks.arithmetic import log_log_slope, spread
from agents.benchmarks.charts import Panel, draw_lines
from agents.benchmarks.growth_work import BATCH, GROWTHS
from agents.benchmarks.options import MOST_CORES, Benchmark, Options
from agents.benchmarks.plan import Case, Measure, Subject
from agents.benchmarks.results import CaseResult

_BYTES_PER_STEP = 100
"""Roughly, with its share of everything."""


@dataclass(frozen=True)
class GrowthOptions(Options):
    """What to measure."""

    what: tuple[Literal["buffer", "environments", "sequence", "units"], ...] = (
        "buffer",
        "environments",
        "sequence",
        "units",
    )
    """What grows, a panel of the chart each."""
    largest: int | None = None
    """Leave out larger sizes; default: none."""
    cores: int = MOST_CORES
    """Cores that may be used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.largest is not None and self.largest < 1:
            raise ValueError(f"largest={self.largest} must be at least 1")
        for what in self.what:
            if self.largest is not None and self.largest < GROWTHS[what].sizes[0]:
                raise ValueError(
                    f"largest={self.largest} must be at least {GROWTHS[what].sizes[0]}, the smallest size of {what!r}"
                )


def plan(options: GrowthOptions) -> list[Case]:
    """A case for each thing that grows; its subjects are the sizes."""
    cases = []
    for what in options.what:
        growth = GROWTHS[what]
        subjects = tuple(
            Subject(
                f"{size:,}",
                "ours",
                "agents.benchmarks.growth_ours",
                {"growth": what, "size": size, "seconds": options.seconds},
                ("tensorflow",),
                cores=options.cores,
                memory=_BYTES_PER_STEP * size if what == "buffer" else 0,
            )
            for size in growth.sizes
            if options.largest is None or size <= options.largest
        )
        measures = tuple(Measure(curve, "ms", "lower") for curve in growth.curves)
        cases.append(Case(growth.title, measures, subjects))
    return cases


def extra(results: Sequence[CaseResult]) -> tuple[Any, list[str]]:
    """The slope of each curve in logarithms: 0 does not grow, 1 grows in proportion; None with one size alone."""
    slopes: dict[str, float | None] = {}
    lines = []
    for result in results:
        for curve, (sizes, rounds) in _curves(result).items():
            name, slope = f"{result.case.name}: {curve}", _slope(sizes, rounds)
            slopes[name] = slope if len(sizes) > 1 else None
            lines.append(f"{name}: slope {slope:.2f}")
    return {"log_log_slopes": slopes}, lines


def draw(path: Path, results: Sequence[CaseResult], caption: str) -> None:
    """A panel for each thing that grows."""
    labels = {growth.title: growth.label for growth in GROWTHS.values()}
    panels = []
    for result in results:
        curves = {
            f"{curve} (slope {_slope(sizes, rounds):.2f})": (sizes, rounds)
            for curve, (sizes, rounds) in _curves(result).items()
        }
        panels.append(Panel(result.case.name, labels[result.case.name], f"milliseconds, batch {BATCH}", curves))
    draw_lines(path, panels, caption)


Curve = tuple[list[float], list[list[float]]]
"""Sizes, and the rounds at each."""


def _curves(result: CaseResult) -> dict[str, Curve]:
    """What was measured of each curve."""
    size = {subject.name: float(subject.settings["size"]) for subject in result.case.subjects}
    curves = {}
    for measure in result.case.measures:
        values = result.values.get(measure.name, {})
        names = [name for name in size if name in values]
        if names:
            curves[measure.name] = ([size[name] for name in names], [values[name] for name in names])
    return curves


def _slope(sizes: list[float], rounds: list[list[float]]) -> float:
    return log_log_slope(sizes, [spread(values).median for values in rounds])


BENCHMARK = Benchmark(
    "what larger buffers, more environments, longer sequences, wider LSTMs cost", GrowthOptions, plan, draw, extra
)
