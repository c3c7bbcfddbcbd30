"""Pictures of learning: one run's curve, and groups of runs side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.reports import Evaluation, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
_GROUP_COLOURS = (_BLUE, _RED, _GREEN, _PURPLE, _ORANGE, _SKY)
_LOG_FROM = 30.0  # The loss is drawn on a logarithmic axis if its largest value is so many times its smallest.
_INK, _QUIET, _RULE = "#222222", "#6F6F6F", "#E2E2E2"


class RunHistory(NamedTuple):
    """What a run has reported, oldest first."""

    env_id: str
    seed: int
    solved_return: float | None
    reports: list[Report]
    evaluations: list[Evaluation]


def draw_learning_curve(path: Path, history: RunHistory) -> None:
    """Draw a run as a picture of 1200 x 700 pixels.

    Above: the mean return of each greedy evaluation with its standard deviation as a band, the return while
    exploring, the threshold, and the best evaluation. Below: the loss. What the run does not have is left out.

    Args:
        path: the picture's file, PNG; it is replaced.
        history: the run.
    """
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (4.2, 1), "hspace": 0.09})
    for axes in (upper, lower):
        _style(axes)
    _title(upper, f"{history.env_id}, seed {history.seed}")

    steps, exploring = _series(history.reports, "return_mean")
    if np.isfinite(exploring).any():
        label = "while exploring, last 100 episodes"
        upper.plot(steps, exploring, color=_QUIET, linewidth=1.2, alpha=0.8, label=label)
    steps, mean = _series(history.evaluations, "return_mean")
    _, deviation = _series(history.evaluations, "return_std")
    if np.isfinite(mean).any():
        label = "greedy, mean ± standard deviation"
        upper.fill_between(steps, mean - deviation, mean + deviation, color=_BLUE, alpha=0.15, linewidth=0)
        upper.plot(steps, mean, color=_BLUE, linewidth=2.2, marker="o", markersize=4.5, label=label)
    best = [evaluation for evaluation in history.evaluations if evaluation.best]
    if best:
        upper.plot(
            best[-1].env_steps,
            best[-1].return_mean,
            color=_ORANGE,
            marker="*",
            markersize=19,
            markeredgecolor="white",
            linestyle="none",
            zorder=5,
            label=f"best: {best[-1].return_mean:.4g} after {best[-1].env_steps:,} steps",
        )
    if history.solved_return is not None:
        _threshold(upper, history.solved_return)
    upper.set_ylabel("return")
    _legend(upper)

    steps, loss = _series(history.reports, "loss")
    lower.set_ylabel("loss")
    if np.isfinite(loss).any():
        lower.plot(steps, loss, color=_GREEN, linewidth=1.4)
        if np.nanmin(loss) > 0 and np.nanmax(loss) >= _LOG_FROM * np.nanmin(loss):
            _few_decades(lower)
        else:
            lower.set_ylim(bottom=min(0.0, float(np.nanmin(loss))))
            lower.locator_params(axis="y", nbins=3)
            lower.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    _steps_axis(lower)
    figure.align_ylabels([upper, lower])
    figure.savefig(path, format="png")


def curves_picture(path: Path, curves: Mapping[str, Sequence[RunHistory]], *, title: str | None = None) -> None:
    """Compare groups of runs in a picture of 1200 x 700 pixels: greedy return over environment steps.

    Each group is a line, the median over its runs, in a band from the lowest to the highest. Between its
    evaluations a run is interpolated; one that ended early keeps its last value to the end of its group.

    Args:
        path: the picture's file, PNG; it is replaced.
        curves: name of a group -> its runs, in the order of the legend.
        title: above the picture; None for the environments' ids.

    Raises:
        ValueError: there is no group, more than can be told apart, or a run without an evaluation.
    """
    if not 1 <= len(curves) <= len(_GROUP_COLOURS):
        raise ValueError(f"curves has {len(curves)} groups, must be 1 to {len(_GROUP_COLOURS)}")
    for name, runs in curves.items():
        if not runs:
            raise ValueError(f"curves[{name!r}] has no runs, must have at least 1")
        for run in runs:
            if not run.evaluations:
                raise ValueError(f"curves[{name!r}] has a run without an evaluation (seed {run.seed})")

    everything = [run for runs in curves.values() for run in runs]
    figure = _figure()
    axes = figure.subplots()
    _style(axes)
    _title(axes, title if title is not None else ", ".join(dict.fromkeys(run.env_id for run in everything)))
    for colour, (name, runs) in zip(_GROUP_COLOURS, curves.items(), strict=False):
        steps, returns = _common_steps(runs)
        runs_text = f"{len(runs)} run" + ("s" if len(runs) > 1 else "")
        if len(runs) > 1:
            axes.fill_between(steps, returns.min(0), returns.max(0), color=colour, alpha=0.16, linewidth=0)
        axes.plot(steps, np.median(returns, axis=0), color=colour, linewidth=2.4, label=f"{name} ({runs_text})")
    thresholds = {run.solved_return for run in everything if run.solved_return is not None}
    if len(thresholds) == 1:
        _threshold(axes, thresholds.pop())
    several = any(len(runs) > 1 for runs in curves.values())
    axes.set_ylabel("greedy return" + (": median of runs, lowest to highest" if several else ""))
    _steps_axis(axes)
    _legend(axes)
    figure.savefig(path, format="png")


def _common_steps(runs: Sequence[RunHistory]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Environment steps [points], and the greedy return of every run there [runs, points]."""
    series = [_series(run.evaluations, "return_mean") for run in runs]
    first = max(steps[0] for steps, _ in series)
    grid = np.unique(np.concatenate([steps for steps, _ in series]))
    grid = grid[grid >= first]
    return grid, np.stack([np.interp(grid, steps, values) for steps, values in series])


def _series(entries: Sequence[Any], field: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Environment steps and values of one field; a missing value is NaN, a gap in the line."""
    values = [getattr(entry, field) for entry in entries]
    steps = np.array([entry.env_steps for entry in entries], dtype=np.float64)
    return steps, np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _figure() -> Figure:
    """A figure of 1200 x 700 pixels that belongs to no window system and to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(12, 7), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.2, h_pad=0.2)
    return figure


def _few_decades(axes: Axes) -> None:
    """A logarithmic axis of a low panel: few labels fit, and those between them would cover each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#B0B0B0")
    axes.grid(color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=12, color="#B0B0B0")
    axes.yaxis.label.set(color=_INK, fontsize=13)
    axes.xaxis.label.set(color=_INK, fontsize=13)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=16, fontweight="bold", color=_INK, pad=14)


def _threshold(axes: Axes, solved_return: float) -> None:
    axes.axhline(solved_return, color=_INK, linewidth=1.3, linestyle=(0, (6, 4)), zorder=1)
    axes.annotate(
        f"solved: {solved_return:g}",
        xy=(0, solved_return),
        xycoords=("axes fraction", "data"),
        xytext=(6, 4),
        textcoords="offset points",
        color=_INK,
        fontsize=12,
    )


def _steps_axis(axes: Axes) -> None:
    from matplotlib.ticker import StrMethodFormatter

    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("environment steps")
    axes.set_xlim(left=0)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize=12, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=_INK)
