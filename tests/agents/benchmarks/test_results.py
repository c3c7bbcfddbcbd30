"""Rows of the tables, JSON, pictures."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Console

from agents.benchmarks.catalogue import NAMES, benchmark
from agents.benchmarks.charts import Panel, bars, draw_bars, draw_lines, lines
from agents.benchmarks.plan import Case, Measure, Role, Subject
from agents.benchmarks.results import CaseResult, as_json, machine, rows
from agents.benchmarks.tables import number, show

RATE, TIME = Measure("rate", "1/s", "higher"), Measure("time", "s", "lower")
SHARE = Measure("share", "%", None)


def result(**values: dict[str, list[float]]) -> CaseResult:
    roles: dict[str, Role] = {
        "ours": "ours",
        "slow": "peer",
        "fast": "peer",
        "plain": "reference",
        "copy": "limit",
    }
    subjects = tuple(Subject(name, role, "nothing") for name, role in roles.items())
    return CaseResult(Case("case", (RATE, TIME, SHARE), subjects), values)


def ratios(given: CaseResult, measure: Measure) -> dict[str, tuple[float | None, float | None]]:
    return {row.subject: (row.to_best_peer, row.to_limit) for row in rows(given, measure)}


def test_ratios_are_to_the_best_peer_and_to_the_limit() -> None:
    given = result(rate={"ours": [30.0], "slow": [10.0], "fast": [20.0], "plain": [90.0], "copy": [60.0]})
    assert ratios(given, RATE) == {
        "ours": (1.5, 0.5),
        "slow": (0.5, 10 / 60),
        "fast": (1.0, 20 / 60),
        "plain": (4.5, 1.5),
        "copy": (3.0, 1.0),
    }


def test_ours_comes_first_and_the_limit_last_whatever_the_order_of_preparation() -> None:
    subjects = [
        Subject(name, role, "nothing")
        for name, role in zip("abcde", ("limit", "peer", "reference", "ours", "peer"), strict=True)
    ]
    given = CaseResult(Case("case", (RATE,), tuple(subjects)), {"rate": {key: [1.0] for key in "abcde"}})
    assert [row.subject for row in rows(given, RATE)] == ["d", "b", "e", "c", "a"]


def test_of_times_the_shortest_is_the_best() -> None:
    given = result(time={"ours": [2.0], "slow": [5.0], "fast": [1.0], "copy": [0.5]})
    assert ratios(given, TIME) == {
        "ours": (0.5, 0.25),
        "slow": (0.2, 0.1),
        "fast": (1.0, 0.5),
        "copy": (2.0, 1.0),
    }


def test_what_is_neither_good_nor_bad_is_not_compared() -> None:
    assert ratios(result(share={"ours": [2.0], "fast": [5.0]}), SHARE) == {"ours": (None, None), "fast": (None, None)}


def test_without_peers_or_limit_there_is_no_ratio() -> None:
    assert ratios(result(rate={"ours": [2.0], "plain": [1.0]}), RATE) == {"ours": (None, None), "plain": (None, None)}
    assert rows(result(), RATE) == []


def test_with_values_that_are_not_positive_there_is_no_ratio() -> None:
    given = result(rate={"ours": [2.0, 0.0], "fast": [1.0, 1.0]}, time={"ours": [2.0], "fast": [0.0]})
    assert ratios(given, RATE) == {"ours": (None, None), "fast": (1.0, None)}
    assert ratios(given, TIME) == {"ours": (None, None), "fast": (None, None)}


def test_who_is_dropped_is_in_no_measure() -> None:
    given = result(rate={"ours": [1.0], "fast": [2.0]}, time={"fast": [1.0]})
    given.drop("fast", "it broke")
    assert given.values == {"rate": {"ours": [1.0]}, "time": {}}
    assert given.absent == {"fast": "it broke"}


def test_json_carries_everything() -> None:
    given = result(rate={"ours": [3.0, 1.0, 2.0], "fast": [1.0, 1.0, 1.0]})
    given.drop("slow", "not installed: slow")
    given.compared_with, given.agreement = "fast", {"ours": math.inf, "plain": 1e-7}
    said = json.loads(json.dumps(as_json("replay", {"rounds": 3}, [given], {"slope": 0.5}), allow_nan=False))
    assert (said["benchmark"], said["options"], said["extra"]) == ("replay", {"rounds": 3}, {"slope": 0.5})
    (case,) = said["cases"]
    assert case["absent"] == {"slow": "not installed: slow"}
    assert (case["compared_with"], case["agreement"]) == ("fast", {"ours": None, "plain": 1e-7})
    measure = case["measures"][0]
    assert (measure["name"], measure["unit"], measure["better"]) == ("rate", "1/s", "higher")
    assert measure["subjects"][0] == {
        "name": "ours",
        "role": "ours",
        "values": [3.0, 1.0, 2.0],
        "median": 2.0,
        "lowest": 1.0,
        "highest": 3.0,
        "ratio_to_best_peer": 2.0,
        "ratio_to_limit": None,
    }


def test_the_machine_is_named() -> None:
    said = machine()
    assert said["cores"] >= 1
    assert said["processor"]
    assert said["versions"]["numpy"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00123, "0.00123"),
        (1.2345, "1.23"),
        (99.94, "99.9"),
        (12345.6, "12,346"),
        (99_949.0, "99,949"),
        (99_951.0, "100k"),
        (883_275.0, "883k"),
        (999_700.0, "1M"),
        (44_200_000.0, "44.2M"),
        (5.5e10, "55G"),
        (-250_000.0, "-250k"),
        (float("nan"), "-"),
    ],
)
def test_numbers_have_few_digits(value: float, text: str) -> None:
    assert number(value) == text


def plan_of(name: str) -> list[Case]:
    chosen = benchmark(name)
    return chosen.plan(chosen.options())


def shown(given: CaseResult) -> str:
    text = io.StringIO()
    show(Console(file=text, width=100), given)
    return text.getvalue()


def test_the_table_says_what_was_measured_and_who_was_not() -> None:
    given = result(rate={"ours": [30.0, 20.0], "fast": [20.0, 20.0], "copy": [60.0, 80.0]}, time={"ours": [0.5]})
    given.drop("slow", "not installed: slow")
    given.notes["fast"] = "uniform draws"
    given.notes |= {"copy": "a call into C", "ours": "uniform draws"}
    given.compared_with, given.agreement = "fast", {"ours": 3e-7, "slow": 0.5}
    text = shown(given)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "│ rate │ ours │ 25 │ 20 - 30 │ 1.25 │ 0.38 │" in lines
    assert "│ 1/s │ fast │ 20 │ 20 - 20 │ 1.00 │ 0.29 │" in lines
    assert any(line.startswith("│ more is better │ copy (limit) │ 70") for line in lines)
    start = lines.index("│ time │ ours │ 0.5 │ 0.5 - 0.5 │ - │ - │")
    assert lines[start + 1 : start + 3] == ["│ s │ │ │ │ │ │", "│ less is better │ │ │ │ │ │"]
    assert "share" not in text  # nobody measured it
    assert "slow left out: not installed: slow" in text
    assert "fast, ours: uniform draws" in lines
    assert "copy: a call into C" in lines
    assert "answers differ from those of fast by, relative to their size: ours 3e-07" in lines


def test_the_table_fits_into_a_hundred_columns_whatever_is_measured() -> None:
    """With the longest names there are, and numbers of any size: no cell is cut, none is broken."""
    measures = {measure for name in NAMES for case in plan_of(name) for measure in case.measures}
    names = {(subject.name, subject.role) for name in NAMES for case in plan_of(name) for subject in case.subjects}
    values = [99_900.4, 12_345.6, 99_949.4]
    for measure in measures:
        subjects = tuple(Subject(name, role, "nothing") for name, role in sorted(names))
        given = CaseResult(
            Case("case", (measure,), subjects), {measure.name: dict.fromkeys([s.name for s in subjects], values)}
        )
        text = shown(given)
        assert max(map(len, text.splitlines())) <= 100
        assert "…" not in text
        for subject in subjects:
            assert f" {subject.name} " in text
        assert f" {measure.name} " in text
        assert f" {measure.unit} " in text
        assert " 12,346 - 99,949 " in text


def test_ratios_have_columns_only_where_there_are_any() -> None:
    assert "to best" not in shown(result(rate={"ours": [1.0], "copy": [2.0]}))
    assert "limit ┃" in shown(result(rate={"ours": [1.0], "copy": [2.0]}))
    assert "to best" in shown(result(rate={"ours": [1.0], "fast": [2.0]}))
    assert "limit ┃" not in shown(result(rate={"ours": [1.0], "fast": [2.0]}))


def test_where_nothing_was_measured_the_table_says_so() -> None:
    given = result(rate={"slow": [1.0]})
    given.drop("slow", "it broke")
    assert shown(given) == "case: nothing was measured\n  slow left out: it broke\n\n"


def panels(figure: Figure) -> list[tuple[str, str]]:
    """Title and text of each panel: the case in the first line of a block, and the measure."""
    return [(axes.get_title(loc="left"), axes.texts[-1].get_text()) for axes in figure.axes if axes.axison]


def bar_ends(axes: Axes) -> list[float]:
    return [patch.get_x() + patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)]


def named(name: str, **values: dict[str, list[float]]) -> CaseResult:
    given = result(**values)
    return replace(given, case=replace(given.case, name=name))


def test_the_chart_has_a_panel_for_each_case_and_measure() -> None:
    one = named("one", rate={"ours": [30.0, 20.0], "fast": [20.0, 10.0]}, time={"ours": [0.5], "copy": [0.1]})
    two = named("two", rate={"ours": [1.0]})
    assert panels(bars([one, two], "caption")) == [
        ("one", "rate, 1/s (more is better)"),
        ("two", "rate, 1/s (more is better)"),
        ("", "time, s (less is better)"),
    ]


def test_bars_begin_at_zero_and_end_at_the_median_with_their_numbers() -> None:
    figure = bars([result(rate={"ours": [30.0, 20.0, 40.0], "slow": [10.0] * 3, "fast": [20.0] * 3})], "caption")
    (axes,) = figure.axes
    assert bar_ends(axes) == [30.0, 10.0, 20.0]
    assert axes.get_xlim()[0] == 0
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ours", "slow", "fast"]
    assert [text.get_text() for text in axes.texts[:-1]] == ["30  (1.50)", "10", "20"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "this software (how many times better than the best other)",
        "others",
    ]


def test_values_far_apart_are_points_on_a_logarithmic_axis() -> None:
    """The length of a bar would mean nothing there."""
    (axes,) = bars([result(rate={"ours": [1.0], "fast": [1000.0]})], "caption").axes
    assert (axes.get_xscale(), bar_ends(axes)) == ("log", [])
    assert axes.texts[-1].get_text() == "rate, 1/s (more is better); a line each decade"


def test_values_that_are_not_positive_are_bars() -> None:
    (axes,) = bars([result(rate={"ours": [0.0], "fast": [1000.0]}, time={})], "caption").axes
    assert (axes.get_xscale(), bar_ends(axes)) == ("linear", [0.0, 1000.0])


def test_parts_of_a_whole_are_one_bar() -> None:
    measures = (RATE, *(Measure(name, "% of the time", None, task="run") for name in ("acting", "learning", "else")))
    case = Case("case", measures, (Subject("ours", "ours", "nothing"), Subject("fast", "peer", "nothing")))
    shares = {"acting": [10.0, 20.0], "learning": [85.0, 50.0], "else": [5.0, 30.0]}
    values = {name: {"ours": [ours], "fast": [fast]} for name, (ours, fast) in shares.items()}
    figure = bars([CaseResult(case, {"rate": {"ours": [1.0], "fast": [2.0]}, **values})], "caption")
    assert panels(figure) == [("case", "rate, 1/s (more is better)"), ("", "% of the time")]
    assert sorted(bar_ends(figure.axes[1])) == [10.0, 20.0, 70.0, 95.0, 100.0, 100.0]
    assert [text.get_text() for text in figure.axes[1].texts[:-1]] == ["10", "20", "85", "50", "30"]  # 5 is too narrow


def test_three_cases_stand_in_a_row_and_others_below() -> None:
    """Those with other measures too, wherever they come between the others."""
    other = Case("other", (TIME,), result().case.subjects)
    first, *cases = [named(str(number), rate={"ours": [1.0]}) for number in range(4)]
    figure = bars([first, CaseResult(other, {"time": {"ours": [1.0]}}), *cases], "caption")
    assert [title for title, _ in panels(figure)] == ["0", "1", "2", "3", "other"]
    figure.canvas.draw()
    low = [axes.get_position().y0 for axes in figure.axes if axes.axison]
    figure_low = [axes.get_window_extent().y0 for axes in figure.axes if axes.axison]
    assert low[0] == low[1] == low[2]
    assert figure_low[0] == figure_low[2] > figure_low[3] > figure_low[4]


def test_the_caption_stands_above() -> None:
    for figure in (
        bars([result(rate={"ours": [1.0]})], "what it is"),
        lines([Panel("title", "x", "y", {})], "what it is"),
    ):
        assert figure.get_suptitle() == "what it is"


def test_nothing_measured_is_an_empty_chart(tmp_path: Path) -> None:
    draw_bars(tmp_path / "chart.png", [result()], "caption")
    assert size(tmp_path / "chart.png")


def size(path: Path) -> tuple[int, ...]:
    return tuple(matplotlib.image.imread(path).shape[:2])


def test_lines_are_drawn_two_panels_in_a_row(tmp_path: Path) -> None:
    panel = Panel("title", "x", "y", {"ours": ([10.0, 100.0], [[1.0, 2.0], [3.0, 4.0]])})
    figure = lines([panel] * 3, "caption")
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 3
    places = [(round(axes.get_position().x0, 3), round(axes.get_position().y0, 3)) for axes in shown]
    assert places[0][0] == places[2][0] < places[1][0]
    assert places[0][1] == places[1][1] > places[2][1]
    (line,) = shown[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10.0, 100.0], [1.5, 3.5])  # medians
    draw_lines(tmp_path / "chart.png", [Panel("title", "x", "y", {})], "caption")
    assert size(tmp_path / "chart.png")
