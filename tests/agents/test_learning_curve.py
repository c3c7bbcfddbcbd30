"""Pictures of learning: their size, what they show, and what they leave out."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from agents import learning_curve
from agents.learning_curve import RunHistory, curves_picture, draw_learning_curve
from agents.reports import Evaluation, Report


def report(env_steps: int, return_mean: float | None, loss: float | None) -> Report:
    values: dict[str, Any] = dict.fromkeys(Report._fields, 0)
    return Report(**{**values, "env_steps": env_steps, "return_mean": return_mean, "loss": loss})


def evaluation(env_steps: int, return_mean: float, return_std: float = 0.1, best: bool = False) -> Evaluation:
    return Evaluation(env_steps, env_steps // 10, return_mean, return_std, 20, best)


def history(*, seed: int = 0, returns: list[float], solved_return: float | None = 0.9) -> RunHistory:
    """Evaluated every 1000 steps."""
    evaluations = [evaluation(1000 * (i + 1), value) for i, value in enumerate(returns)]
    return RunHistory("r2d2/Alphabet-v0", seed, solved_return, [], evaluations)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn, to look into."""
    drawn: list[Figure] = []
    make = learning_curve._figure

    def remember() -> Figure:
        drawn.append(make())
        return drawn[-1]

    monkeypatch.setattr(learning_curve, "_figure", remember)
    return drawn


def size(path: Path) -> tuple[int, int]:
    """Of a PNG file, in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    return width, height


def texts(figure: Figure) -> str:
    found = []
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [*(text.get_text() for text in axes.texts), axes.get_title(loc="left"), axes.get_xlabel()]
        found += [axes.get_ylabel(), *(text.get_text() for text in (legend.get_texts() if legend else ()))]
    return "\n".join(found)


def test_a_run_is_shown_with_everything_it_has(tmp_path: Path, figures: list[Figure]) -> None:
    run = RunHistory(
        "r2d2/TMaze-v0",
        3,
        0.95,
        [report(1000, None, None), report(2000, -0.5, 0.5), report(3000, -0.25, 0.002)],
        [evaluation(1000, 0.25, best=True), evaluation(2000, 0.75, best=True), evaluation(3000, 0.5)],
    )
    draw_learning_curve(tmp_path / "picture.png", run)
    assert size(tmp_path / "picture.png") == (1200, 700)
    shown = texts(figures[0])
    for text in (
        "r2d2/TMaze-v0, seed 3",
        "solved: 0.95",
        "best: 0.75 after 2,000 steps",
        "while exploring",
        "greedy, mean ± standard deviation",
        "environment steps",
        "loss",
    ):
        assert text in shown
    upper, lower = figures[0].axes
    greedy = next(line for line in upper.lines if str(line.get_label()).startswith("greedy"))
    np.testing.assert_array_equal(greedy.get_xydata(), [[1000, 0.25], [2000, 0.75], [3000, 0.5]])
    assert lower.get_yscale() == "log"  # 0.5 is 250 times 0.002


def test_a_loss_that_hardly_changes_is_drawn_from_zero(tmp_path: Path, figures: list[Figure]) -> None:
    reports = [report(1000, 0.0, 0.5), report(2000, 0.0, 0.25)]
    draw_learning_curve(tmp_path / "picture.png", RunHistory("Env-v0", 0, None, reports, []))
    assert figures[0].axes[1].get_yscale() == "linear"
    assert figures[0].axes[1].get_ylim()[0] == 0


@pytest.mark.filterwarnings("error")
def test_a_run_with_nothing_yet_gives_a_picture_too(tmp_path: Path, figures: list[Figure]) -> None:
    draw_learning_curve(tmp_path / "picture.png", RunHistory("Env-v0", 0, None, [report(1000, None, None)], []))
    assert size(tmp_path / "picture.png") == (1200, 700)
    assert figures[0].axes[0].get_legend() is None
    assert "solved" not in texts(figures[0])


def test_groups_are_medians_in_bands_over_their_runs(tmp_path: Path, figures: list[Figure]) -> None:
    curves = {
        "stored states": [history(returns=[0.0, 0.2]), history(returns=[0.1, 0.4]), history(returns=[0.5, 0.9])],
        "zero states": [history(returns=[0.0, 0.1])],
    }
    curves_picture(tmp_path / "picture.png", curves)
    assert size(tmp_path / "picture.png") == (1200, 700)
    axes = figures[0].axes[0]
    median = next(line for line in axes.lines if line.get_label() == "stored states (3 runs)")
    np.testing.assert_array_equal(median.get_xydata(), [[1000, 0.1], [2000, 0.4]])
    (band,) = axes.collections  # one run alone has none
    assert band.get_datalim(axes.transData).bounds == pytest.approx((1000, 0.0, 1000, 0.9))
    shown = texts(figures[0])
    for text in ("zero states (1 run)", "solved: 0.9", "r2d2/Alphabet-v0", "median of runs"):
        assert text in shown


def test_a_run_that_ended_early_keeps_its_last_value(tmp_path: Path, figures: list[Figure]) -> None:
    curves_picture(tmp_path / "picture.png", {"all": [history(returns=[1.0]), history(returns=[0.0, 0.0, 0.5])]})
    median = figures[0].axes[0].lines[0]
    np.testing.assert_array_equal(median.get_xydata(), [[1000, 0.5], [2000, 0.5], [3000, 0.75]])


def test_a_curve_begins_where_all_its_runs_have_been_evaluated(tmp_path: Path, figures: list[Figure]) -> None:
    late = RunHistory("Env-v0", 1, None, [], [evaluation(2000, 0.5), evaluation(4000, 0.5)])
    curves_picture(tmp_path / "picture.png", {"all": [history(returns=[0.0, 0.0, 1.0]), late]}, title="Late")
    median = figures[0].axes[0].lines[0]
    np.testing.assert_array_equal(median.get_xydata(), [[2000, 0.25], [3000, 0.75], [4000, 0.75]])
    assert "Late" in texts(figures[0])


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "curves has 0 groups, must be 1 to 6"),
        ({str(i): [history(returns=[0.0])] for i in range(7)}, "curves has 7 groups, must be 1 to 6"),
        ({"a": []}, "curves\\['a'\\] has no runs"),
        ({"a": [history(returns=[], seed=4)]}, "curves\\['a'\\] has a run without an evaluation \\(seed 4\\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, curves: dict[str, list[RunHistory]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curves_picture(tmp_path / "picture.png", curves)
    assert not (tmp_path / "picture.png").exists()


def test_drawing_needs_no_global_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    draw_learning_curve(tmp_path / "picture.png", history(returns=[0.0, 1.0]))
    assert "matplotlib.pyplot" not in sys.modules
