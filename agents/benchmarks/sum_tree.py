"""The sum tree benchmark: draws and updates from ten thousand to ten million leaves, beside cpprb's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.benchmarks.arithmetic import growth_per_decade, log_log_slope, spread
from agents.benchmarks.charts import Panel, draw_lines
from agents.benchmarks.options import Benchmark, Options
from agents.benchmarks.plan import MALLOC_TUNED, Case, Measure, Subject
from agents.benchmarks.results import CaseResult

DRAWS = 64
UPDATES = 1024
"""Sets of leaves that are updated in turn: always the same ones would stay in the processor's cache."""


@dataclass(frozen=True)
class SumTreeOptions(Options):
    """What to measure."""

    leaves: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """Numbers of leaves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.leaves) < DRAWS:
            raise ValueError(f"leaves={self.leaves} must be numbers of at least {DRAWS}")


MEASURES = (Measure("draw", f"us for {DRAWS}", "lower"), Measure("update", f"us for {DRAWS}", "lower"))


def plan(options: SumTreeOptions) -> list[Case]:
    """A case for each number of leaves."""
    cases = []
    for leaves in sorted(options.leaves):
        settings = {"leaves": leaves, "seconds": options.seconds}
        ours = Subject("ours", "ours", "agents.benchmarks.sum_tree_ours", settings, cores=1)
        cpprb = Subject(
            "cpprb-malloc",
            "peer",
            "agents.benchmarks.sum_tree_cpprb",
            settings,
            ("cpprb",),
            environment=MALLOC_TUNED,
            cores=1,
        )
        cases.append(Case(f"{leaves:,} leaves", MEASURES, (ours, cpprb)))
    return cases


def extra(results: Sequence[CaseResult]) -> tuple[Any, list[str]]:
    """How the times grow: microseconds for a tenfold of leaves, and the exponent of the best power law."""
    growth, lines = {}, []
    for measure, subjects in _curves(results).items():
        for subject, (leaves, rounds) in subjects.items():
            if len(leaves) < 2:
                continue
            medians = [spread(values).median for values in rounds]
            per_decade, slope = growth_per_decade(leaves, medians), log_log_slope(leaves, medians)
            growth[f"{subject}, {measure}"] = {"us_per_decade": per_decade, "log_log_slope": slope}
            lines.append(f"{subject}, {measure}: {per_decade:+.1f} us for ten times the leaves; slope {slope:.2f}")
    return growth, lines


def draw(path: Path, results: Sequence[CaseResult], caption: str) -> None:
    """Times over leaves, a panel for draws and one for updates."""
    draw_lines(
        path,
        [
            Panel(f"{measure} of {DRAWS}", "leaves", "microseconds", subjects)
            for measure, subjects in _curves(results).items()
        ],
        caption,
    )


def _curves(results: Sequence[CaseResult]) -> dict[str, dict[str, tuple[list[float], list[list[float]]]]]:
    """Measure -> subject -> numbers of leaves, and the rounds at each."""
    curves: dict[str, dict[str, tuple[list[float], list[list[float]]]]] = {m.name: {} for m in MEASURES}
    for result in results:
        leaves = float(result.case.subjects[0].settings["leaves"])
        for measure, subjects in curves.items():
            for subject, values in result.values.get(measure, {}).items():
                x, y = subjects.setdefault(subject, ([], []))
                x.append(leaves)
                y.append(values)
    return curves


BENCHMARK = Benchmark("the sum tree from 1e4 to 1e7 leaves: beside cpprb", SumTreeOptions, plan, draw, extra)
