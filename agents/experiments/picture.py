"""A picture of the accuracies: the published figure of every model beside our mean and range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agents.experiments.results import Figure, Results

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

FILE = "alphabet.png"

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_INK, _QUIET, _RULE, _BAND = "#222222", "#6F6F6F", "#E2E2E2", "#F6F6F6"
_INCHES_PER_LINE, _INCHES_AROUND, _LEAST_INCHES = 0.34, 1.7, 3.6


class _Line(NamedTuple):
    """A line of the picture: a model with its figures, or (without) the title of an experiment."""

    name: str
    figures: tuple[Figure, ...]
    results: Results


def draw_picture(folder: Path, all_results: Sequence[Results], epochs: int | None = None) -> Path | None:
    """Draw alphabet.png, 1400 pixels wide: a line a model, a panel a test.

    Shown are the experiments that measure per cent.

    Args:
        folder: where; it must be there, and the picture in it is replaced, or removed if there is nothing to show.
        all_results: what was measured.
        epochs: of every training, if it was not the articles' number.

    Returns:
        The file; None if there is nothing to show, and no picture.
    """
    shown = [results for results in all_results if any(map(_is_shown, results.experiment.figures))]
    file = folder / FILE
    if not shown:
        file.unlink(missing_ok=True)  # one of another run would be taken for this one's
        return None
    lines = [line for results in shown for line in _lines(results)]
    tests = list(dict.fromkeys(figure.measure for line in lines for figure in line.figures))

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    height = max(_LEAST_INCHES, _INCHES_AROUND + _INCHES_PER_LINE * len(lines))
    picture = Picture(figsize=(14, height), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(picture)
    panels = picture.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for axes, test in zip(panels, tests, strict=True):
        _panel(axes, test, lines)
    _names(panels[0], lines)
    seeds = len(shown[0].outcomes)
    picture.suptitle(
        "The alphabet with hidden states: published once, measured "
        + ("again" if seeds == 1 else f"again with {seeds} seeds")
        + ("" if epochs is None else f", after {epochs} epochs only"),
        x=0.012,
        ha="left",
        fontsize=16,
        fontweight="bold",
        color=_INK,
    )
    handles, labels = _legend()
    picture.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=11, frameon=False, labelcolor=_INK)
    picture.savefig(file, format="png")
    return file


def _is_shown(figure: Figure) -> bool:
    return figure.unit == "%"


def _lines(results: Results) -> list[_Line]:
    """The title, then each model."""
    experiment = results.experiment
    models = dict.fromkeys(figure.model for figure in experiment.figures)
    lines = [_Line(experiment.title, (), results)]
    for model in models:
        figures = tuple(figure for figure in experiment.figures if figure.model == model and figure.unit == "%")
        lines.append(_Line(model, figures, results))
    return lines


def _panel(axes: Axes, test: str, lines: Sequence[_Line]) -> None:
    """One test of all models: the range as a bar, the mean as a dot in it, the published figure as a diamond."""
    axes.set_title(test, loc="left", fontsize=13, color=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#B0B0B0")
    axes.grid(axis="x", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=11, length=0)
    axes.set_xlim(-4, 104)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("per cent" if "error" in test else "accuracy in per cent", fontsize=12, color=_INK)
    for y, line in enumerate(lines):
        if not line.figures:
            axes.axhspan(y - 0.5, y + 0.5, color=_BAND, zorder=0)
        for figure in line.figures:
            if figure.measure == test:
                _mark(axes, y, figure, line.results)


def _mark(axes: Axes, y: int, figure: Figure, results: Results) -> None:
    average, lowest, highest = results.summary(figure)
    axes.plot([lowest, highest], [y, y], color=_BLUE, alpha=0.3, linewidth=8, solid_capstyle="round", zorder=2)
    axes.plot(average, y, "o", color=_BLUE, markersize=8, markeredgecolor="white", zorder=3)
    if figure.published is not None:
        inside = "none" if not results.differs(figure) else _ORANGE
        axes.plot(figure.published, y, "D", markersize=8, markerfacecolor=inside, markeredgecolor=_ORANGE, zorder=4)


def _names(axes: Axes, lines: Sequence[_Line]) -> None:
    """Models and experiments, on the left of the first panel, from above."""
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set(color=_INK if line.figures else _QUIET, fontweight="normal" if line.figures else "bold")


def _legend() -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D

    nothing: list[float] = []
    handles: list[Artist] = [
        Line2D(nothing, nothing, color=_BLUE, alpha=0.3, linewidth=8, solid_capstyle="round"),
        Line2D(nothing, nothing, color=_BLUE, marker="o", linestyle="none", markersize=8, markeredgecolor="white"),
        Line2D(nothing, nothing, marker="D", color=_ORANGE, markerfacecolor="none", linestyle="none", markersize=8),
        Line2D(nothing, nothing, marker="D", color=_ORANGE, linestyle="none", markersize=8),
    ]
    return handles, ["ours, lowest to highest", "ours, mean", "published", "published, outside of our range"]
