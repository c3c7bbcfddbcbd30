"""What the experiments print: tables with published figures beside ours; a bar in a terminal, plain lines elsewhere."""

import io
import re

import pytest
from experiment_examples import accuracy, all_results, all_runs

from agents.experiments.console import ExperimentConsole

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


def printed():
    file = io.StringIO()
    with ExperimentConsole(file) as console:
        console.tables(all_runs())
    return file.getvalue()


def cells(text):
    """Of every line, what stands between wide gaps."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_the_published_figure_stands_beside_our_mean_and_range():
    lines = cells(printed())
    assert ["model", "asked", "published", "ours, mean", "lowest", "highest"] in lines
    assert ["dense", "in order", "68 %", "64.0 %", "60.0 %", "68.0 %"] in lines
    assert ["LSTM, in one batch", "in order", "-", "91.0 %", "90.0 %", "92.0 %"] in lines


def test_where_ours_differs_it_says_so():
    lines = cells(printed())
    marked = "differs: published 4, ours 76 to 88"
    assert ["in a loop", "4 %", "82.0 %", "76.0 %", "88.0 %", marked] in lines
    assert [
        "LSTM",
        "in order",
        "72.5 %",
        "85.0 %",
        "80.0 %",
        "90.0 %",
        "differs: published 72.5, ours 80 to 90",
    ] in lines
    assert printed().count("differs: published") == 2


def test_one_value_is_no_range():
    file = io.StringIO()
    console = ExperimentConsole(file)
    console.tables(all_runs()._replace(results=[accuracy((60.0, 4.0, 80.04, 1.0))]))
    assert "differs: published 72.5, ours 80\n" in re.sub(" +\n", "\n", file.getvalue())
    assert "one-letter, seed 0)" in file.getvalue()


def test_expectations_say_how_often_they_held():
    lines = cells(printed())
    assert ["3 equals 1", "2 of 2"] in lines
    assert ["4 differs", "1 of 2"] in lines


def test_a_further_table_shows_the_first_seed_and_brackets_are_no_markup():
    lines = cells(printed())
    assert ["seed 0:"] in lines
    assert ["1: [first]", "0.025"] in lines
    assert ["4 % is [one] of 25."] in lines


def test_times_have_their_median_and_no_published_column():
    lines = cells(printed())
    assert ["model", "measured", "ours, median", "lowest", "highest"] in lines
    assert ["fit", "an epoch", "80 ms", "71 ms", "90 ms"] in lines
    assert ["apart", "1.25e-07", "1.25e-07", "1.25e-07"] in lines


def run_through(file):
    cases = all_results()[1]
    with ExperimentConsole(file) as console:
        console.progressed(cases.experiment, 0, 0.25)
        console.finished(cases, 1)
        console.say("written: " + "long/" * 60)


def test_elsewhere_than_in_a_terminal_lines_are_plain():
    file = io.StringIO()
    run_through(file)
    assert file.getvalue() == f"five-cases, seed 1: 2.0 s\nwritten: {'long/' * 60}\n"
    assert not CONTROL.search(printed())


def test_in_a_terminal_there_is_a_bar_and_it_is_gone_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Terminal()
    run_through(file)
    assert "five-cases, seed 0" in file.getvalue()
    assert "25%" in file.getvalue()
    assert "\x1b[2K" in file.getvalue().rpartition("25%")[2]  # the bar's line is cleared
    assert "\x1b[?25h" in file.getvalue()  # the cursor is shown again


@pytest.mark.parametrize("file", [Terminal(), io.StringIO()], ids=["dumb terminal", "coloured pipe"])
def test_a_dumb_terminal_and_a_coloured_pipe_get_plain_lines(monkeypatch, file):
    monkeypatch.setenv("TERM", "dumb" if file.isatty() else "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_through(file)
    ExperimentConsole(file).tables(all_runs())
    assert not CONTROL.search(file.getvalue())
    assert "differs: published 72.5, ours 80 to 90" in file.getvalue()  # in one line, at the width of plain lines
