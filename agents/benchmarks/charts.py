"""The results of a benchmark as a picture: bars of all measures, or lines over what grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agents.benchmarks.plan import Measure
from agents.benchmarks.results import CaseResult, Row, rows
from agents.benchmarks.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = {"ours": "#0072B2", "peer": "#9A9A9A", "limit": "#E69F00", "reference": "#D4D4D4"}
_MEANING = {
    "ours": "this software",
    "peer": "others",
    "limit": "what the machine can do",
    "reference": "for comparison",
}
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_PARTS = ("#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#8C8C8C")
"""Of a whole: other colours than those that tell the subjects apart."""
_INK, _RULE = "#222222", "#E2E2E2"
_DECADES_WITHOUT_LOGARITHM = 2.0
_RANGE_WITH_FEW_LABELS = 300.0
_CASES_IN_A_ROW = 3
_WIDTH_OF_LEGEND = 9.0
"""Inches that all roles take in one line."""
_SHARE_WITH_LABEL = 8.0
"""Percent that a part must have to have its number written into it."""


class Panel(NamedTuple):
    """Lines over what grows, both axes logarithmic."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
    """Name -> x, and the rounds at each x."""


def draw_bars(path: Path, results: Sequence[CaseResult], caption: str) -> None:
    """`bars` as a PNG file, replaced."""
    bars(results, caption).savefig(path, format="png")


def draw_lines(path: Path, panels: Sequence[Panel], caption: str) -> None:
    """`lines` as a PNG file, replaced."""
    lines(panels, caption).savefig(path, format="png")


def bars(results: Sequence[CaseResult], caption: str) -> Figure:
    """A panel for each case and measure: medians as bars, ranges as whiskers; parts of a whole as one bar.

    Cases with the same measures stand beside each other, three in a row.

    Args:
        results: what to draw; of what was not measured there is no panel.
        caption: above the panels.
    """
    blocks = _blocks(results)
    width = max((len(block) for block, _ in blocks), default=1)
    heights = [[_height(block, measures) for measures in lines] for block, lines in blocks]
    figure = _figure(max(7.5, 4.9 * width), sum(map(sum, heights)) + 0.3 * len(blocks) + 1.2, caption)
    if not blocks:
        return figure
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[sum(h) + 0.3 for h in heights])[:, 0]
    for part, (block, lines), ratios in zip(parts, blocks, heights, strict=True):
        grid = part.subplots(len(lines), width, squeeze=False, height_ratios=ratios)
        for line, measures in enumerate(lines):
            for column in range(width):
                axes = grid[line][column]
                if column < len(block) and any(rows(block[column], measure) for measure in measures):
                    _draw_panel(axes, block[column], measures)
                    if line == 0:
                        axes.set_title(
                            block[column].case.name, loc="left", pad=22, fontsize=10, fontweight="bold", color=_INK
                        )
                else:
                    axes.axis("off")
    _explain_colours(figure, results)
    return figure


def lines(panels: Sequence[Panel], caption: str) -> Figure:
    """The panels beside and below each other, two in a row."""
    columns = min(2, len(panels))
    height = math.ceil(len(panels) / columns)
    figure = _figure(6.6 * columns, 4.6 * height + 0.6, caption)
    grid = figure.subplots(height, columns, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        _style(axes, "both")
        for colour, (name, (x, rounds)) in zip(_LINES, panel.lines.items(), strict=False):
            y = [float(np.median(values)) for values in rounds]
            axes.fill_between(x, [min(v) for v in rounds], [max(v) for v in rounds], color=colour, alpha=0.15, lw=0)
            axes.plot(x, y, color=colour, linewidth=2, marker="o", markersize=4, label=name)
        axes.set_xscale("log")
        sizes = sorted({value for x, _ in panel.lines.values() for value in x})
        axes.set_xticks(sizes, [number(value) for value in sizes])
        axes.set_xticks([], minor=True)
        _logarithmic_y(axes)
        axes.set_title(panel.title, loc="left", fontsize=12, fontweight="bold", color=_INK)
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.y_label)
        if panel.lines:
            axes.legend(fontsize=9, frameon=False)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    return figure


Line = tuple[Measure, ...]
"""Measures that share a panel: one, or parts of a whole."""


def _blocks(results: Sequence[CaseResult]) -> list[tuple[list[CaseResult], list[Line]]]:
    """Cases to stand beside each other, and the panels of each: those in which at least one of them has values."""
    blocks = []
    alike: dict[tuple[Measure, ...], list[CaseResult]] = {}
    for result in results:
        alike.setdefault(result.case.measures, []).append(result)
    for measures, cases in alike.items():
        whole = [tuple(same) for _, same in groupby(measures, key=lambda m: m.name if m.better else (m.unit, m.task))]
        for first in range(0, len(cases), _CASES_IN_A_ROW):
            block = cases[first : first + _CASES_IN_A_ROW]
            lines = [line for line in whole if any(rows(case, measure) for case in block for measure in line)]
            if lines:
                blocks.append((block, lines))
    return blocks


def _height(block: Sequence[CaseResult], measures: Line) -> float:
    """Inches of a panel."""
    most = max(len(rows(case, measure)) for case in block for measure in measures)
    return 0.75 + 0.23 * most + (0.3 if len(measures) > 1 else 0.0)


def _draw_panel(axes: Axes, result: CaseResult, measures: Line) -> None:
    first = measures[0]
    text = f"{first.name}, {first.unit}" if len(measures) == 1 else first.unit
    if first.better is not None:
        text += f" ({'more' if first.better == 'higher' else 'less'} is better)"
    tables = [rows(result, measure) for measure in measures]
    table = next(own for own in tables if own)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color("#B0B0B0")
    axes.set_yticks(range(len(table)), [row.subject for row in table], fontsize=8, color=_INK)
    axes.tick_params(left=False)
    axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    for label, row in zip(axes.get_yticklabels(), table, strict=True):
        label.set_fontweight("bold" if row.role == "ours" else "normal")
    if len(measures) == 1:
        text += _draw_values(axes, table)
    else:
        _draw_shares(axes, [measure.name for measure in measures], tables)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.annotate(
        text, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=_INK
    )


def _draw_values(axes: Axes, table: Sequence[Row]) -> str:
    """One measure: bars from zero, or points where values are too far apart for bars, which the text returned says."""
    medians = [row.spread.median for row in table]
    far_apart = min(medians) > 0 and math.log10(max(medians) / min(medians)) > _DECADES_WITHOUT_LOGARITHM
    for place, row in enumerate(table):
        middle, low, high = row.spread
        if far_apart:
            axes.plot([low, high], [place, place], color=_INK, linewidth=1)
            axes.plot(middle, place, marker="o", markersize=7, color=_COLOURS[row.role])
        else:
            error: Any = [[middle - low], [high - middle]]
            axes.barh(place, middle, xerr=error, height=0.72, color=_COLOURS[row.role], ecolor=_INK, capsize=2)
        ratio = row.to_best_peer if row.role == "ours" else None
        axes.annotate(
            number(middle) + ("" if ratio is None else f"  ({ratio:.2f})"),
            (high, place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_INK,
        )
    axes.margins(x=0.25)
    if not far_apart:
        axes.set_xlim(left=min(0.0, *(row.spread.lowest for row in table)))
        return ""
    axes.set_xscale("log")
    axes.grid(axis="x", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return "; a line each decade"


def _draw_shares(axes: Axes, names: Sequence[str], tables: Sequence[Sequence[Row]]) -> None:
    """Medians of the parts of a whole, one after the other."""
    for name, table, colour in zip(names, tables, cycle(_PARTS)):
        for place, row in enumerate(table):
            start = sum(own[place].spread.median for own in tables[: names.index(name)])
            share = row.spread.median
            axes.barh(place, share, left=start, height=0.72, color=colour, label=None if place else name)
            if share >= _SHARE_WITH_LABEL:
                axes.text(start + share / 2, place, f"{share:.0f}", ha="center", va="center", fontsize=8, color="white")
    axes.set_xlim(0, 100)
    axes.legend(
        *(axes.get_legend_handles_labels()),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        ncols=len(names),
        fontsize=7,
        frameon=False,
        handlelength=0.9,
        columnspacing=0.9,
        handletextpad=0.4,
        borderaxespad=0.1,
    )


def _explain_colours(figure: Figure, results: Sequence[CaseResult]) -> None:
    from matplotlib.patches import Patch

    table = [row for result in results for measure in result.case.measures for row in rows(result, measure)]
    meanings = dict(_MEANING)
    if any(row.role == "ours" and row.to_best_peer is not None for row in table):
        meanings["ours"] += " (how many times better than the best other)"
    present = [role for role in _COLOURS if any(row.role == role for row in table)]
    figure.legend(
        handles=[Patch(color=_COLOURS[role], label=meanings[role]) for role in present],
        loc="outside lower left",
        ncols=len(present) if figure.get_figwidth() > _WIDTH_OF_LEGEND else 2,
        fontsize=8,
        frameon=False,
    )


def _figure(width: float, height: float, caption: str) -> Figure:
    """A figure that belongs to no window system and to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(caption, x=0.01, ha="left", fontsize=10, color=_INK)
    return figure


def _logarithmic_y(axes: Axes) -> None:
    """A logarithmic axis whose labels are plain numbers, also where it covers no whole decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axis = axes.yaxis
    first, last = axis.get_view_interval()
    steps = (1.0,) if last / first > _RANGE_WITH_FEW_LABELS else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _style(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#B0B0B0")
    axes.grid(axis=grid, color=_RULE, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=8, color="#B0B0B0")
