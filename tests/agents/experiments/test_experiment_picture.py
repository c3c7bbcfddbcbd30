"""alphabet.png: its size, what it marks, and when there is none."""

import struct

import numpy as np
import pytest
from experiment_examples import accuracy, all_results
from matplotlib.figure import Figure

from agents.experiments.picture import draw_picture


@pytest.fixture
def drawn(monkeypatch):
    """The pictures saved, to look into."""
    pictures = []
    save = Figure.savefig

    def remember(self, *arguments, **options):
        pictures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return pictures


def marks(axes, marker):
    """Where the marks of a kind are: accuracy and line."""
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == marker]


def test_published_figures_are_marked_beside_ours(tmp_path, drawn):
    file = draw_picture(tmp_path, all_results())
    assert file == tmp_path / "alphabet.png"
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    assert width == 1400
    assert height >= 360
    order, loop = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in (order, loop)] == ["in order", "in a loop"]
    names = [label.get_text() for label in order.get_yticklabels()]
    assert names == ["Experiment 1: one letter -> the next", "dense", "LSTM", "LSTM, in one batch"]
    assert marks(order, "D") == [(68, 1), (72.5, 2)]
    assert marks(loop, "D") == [(4, 1)]
    assert marks(order, "o") == [(64, 1), (85, 2), (91, 3)]
    ranges = [line.get_xydata().tolist() for line in order.lines if len(line.get_xydata()) == 2]
    assert ranges == [[[60, 1], [68, 1]], [[80, 2], [90, 2]], [[90, 3], [92, 3]]]
    bottom, top = order.get_ylim()
    assert bottom > top  # the first line is above


def test_a_published_figure_outside_of_our_range_is_filled(tmp_path, drawn):
    draw_picture(tmp_path, [accuracy((68.0, 76.0, 80.0, 90.0))])
    order, _ = drawn[0].axes
    diamonds = [line for line in order.lines if line.get_marker() == "D"]
    assert [diamond.get_markerfacecolor() == "none" for diamond in diamonds] == [True, False]
    assert "measured again" in drawn[0].get_suptitle()
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [
        "ours, lowest to highest",
        "ours, mean",
        "published",
        "published, outside of our range",
    ]


def test_without_published_accuracies_there_is_no_picture(tmp_path):
    assert draw_picture(tmp_path, all_results()[1:]) is None
    assert draw_picture(tmp_path, []) is None
    assert not list(tmp_path.iterdir())


def test_all_marks_are_inside(tmp_path, drawn):
    draw_picture(tmp_path, [accuracy((0.0, 100.0, 100.0, 0.0))])
    for axes in drawn[0].axes:
        left, right = axes.get_xlim()
        for line in axes.lines:
            assert left < np.min(line.get_xdata()) <= np.max(line.get_xdata()) < right
