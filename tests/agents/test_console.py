"""RunConsole: a bar in a terminal, plain lines elsewhere, and a cost that a training loop does not feel."""

from __future__ import annotations

import contextlib
import io
import re
import time
from pathlib import Path
from typing import Any

import pytest

from agents.config import Config
from agents.console import RunConsole, _bytes, _duration, _number
from agents.reports import Evaluation, Report, Summary

CONTROL = re.compile(r"[^\n\x20-\x7e]")
"""Anything but printable ASCII and the ends of lines."""


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def report(**values: Any) -> Report:
    fields: dict[str, Any] = dict.fromkeys(Report._fields, 0)
    known = {"loss": 0.0123, "return_mean": 0.25, "env_steps_per_second": 1234.4, "updates_per_second": 56.0}
    return Report(**{**fields, **known, "replay_ratio": 44.0, "staleness": None, **values})


def summary(**values: Any) -> Summary:
    known: dict[str, Any] = {
        "env_id": "r2d2/TMaze-v0",
        "seed": 1,
        "env_steps": 20_000,
        "updates": 1500,
        "wall_seconds": 75.0,
        "training_seconds": 60.0,
        "env_steps_per_second": 333.0,
        "updates_per_second": 25.0,
        "evaluation_return_mean": 0.98,
        "evaluation_return_std": 0.05,
        "evaluation_episodes": 100,
        "last_return_mean": 0.9,
        "solved": True,
        "solved_at_env_steps": 12_000,
        "solved_at_training_seconds": 34.0,
        "stopped_because": "total_steps",
        "seconds_by_part": {"acting": 15.0, "learning": 56.0, "replay": 0.2, "other": 3.8},
    }
    return Summary(**{**known, **values})


def told(console: RunConsole, *, solved_return: float | None = 0.95, end: Summary | None = None) -> None:
    """A short run."""
    with console:
        console.started(Config(seed=1, total_steps=20_000), solved_return, 34_821, 3_900_000)
        console.progressed(8)
        console.reported(report(env_steps=1000, updates=0, seconds=1.0, loss=None, return_mean=None))
        console.evaluated(Evaluation(1000, 0, -0.5, 0.25, 20, True))
        console.reported(report(env_steps=10_000, updates=500, seconds=31.0))
        console.reported(report(env_steps=15_000, updates=1000, seconds=61.0))
        console.evaluated(Evaluation(15_000, 1000, 0.98, 0.05, 100, False))
        console.finished(summary() if end is None else end)


def test_episodes_that_do_not_end_are_told_of_once() -> None:
    file = io.StringIO()
    console = RunConsole(None, file=file)
    with console:
        console.started(Config(), None, 1, 1)
        for _ in range(2):
            console.evaluated(Evaluation(1000, 0, 27_000.0, 0.0, 20, True, cut=20))
        console.finished(summary())
    assert file.getvalue().count("20 episodes did not end and had to be cut") == 1


@pytest.mark.parametrize(("total_steps", "said"), [(499, 1), (504, 1), (505, 0)])
def test_a_run_too_short_for_an_update_is_told_of(total_steps: int, said: int) -> None:
    file = io.StringIO()
    with RunConsole(None, file=file) as console:
        console.started(Config(total_steps=total_steps, learning_starts=500, num_envs=8), None, 1, 1)
        console.finished(summary())
    assert file.getvalue().count("too few steps for an update: learning_starts=500") == said


def test_elsewhere_than_in_a_terminal_lines_are_plain() -> None:
    file = io.StringIO()
    folder = Path("runs/r2d2/TMaze-v0/a [red] folder, whose name is longer than a line of a terminal would have room")
    told(RunConsole(folder, next_command="python evaluate.py [x]", file=file, seconds_between_lines=0))
    text = file.getvalue()
    assert not CONTROL.search(text)
    assert text.splitlines() == [
        "r2d2/TMaze-v0, preset memory, seed 1",
        "  20,000 steps in 8 environments; solved at 0.95",
        "  34,821 parameters; 3.9 MB of replay for 100,000 rows",
        f"  results in {folder}",
        "step 1,000 of 20,000 (5%)  return -  greedy -  loss -  1,234 steps/s  56 updates/s  ratio 44  - left",
        "step 1,000  greedy return -0.50 (std 0.25) in 20 episodes  best so far",
        "step 10,000 of 20,000 (50%)  return 0.25  greedy -0.50  loss 0.0123  "
        "1,234 steps/s  56 updates/s  ratio 44  - left",
        # 30 s for the last 5000 steps, and 5000 are left.
        "step 15,000 of 20,000 (75%)  return 0.25  greedy -0.50  loss 0.0123  "
        "1,234 steps/s  56 updates/s  ratio 44  30 s left",
        "step 15,000  greedy return 0.98 (std 0.05) in 100 episodes",
        "",
        "solved          yes, after 12,000 steps and 34 s of training",
        "greedy return   0.98 (std 0.05) in 100 episodes with the best weights, 0.90 with the last",
        "steps           20,000, 333 a second while training",
        "updates         1,500, 25 a second while training",
        # Of 75 s; the replay's 0.2 s are less than half a per cent.
        "time            1 min 15 s: learning 75%, acting 20%, other 5%",
        "ended by        its last step",
        f"results         {folder}",
        "next            python evaluate.py [x]",
    ]


def test_lines_come_now_and_then_but_evaluations_always() -> None:
    file = io.StringIO()
    told(RunConsole(file=file, seconds_between_lines=3600))
    lines = file.getvalue().splitlines()
    assert sum(" of 20,000 (" in line for line in lines) == 1
    assert sum("greedy return" in line and line.startswith("step") for line in lines) == 2


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    file = Terminal()
    told(RunConsole(file=file))
    assert "solved          yes" in file.getvalue()
    assert not CONTROL.search(file.getvalue())


def test_a_pipe_gets_plain_lines_even_if_colours_are_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    file = io.StringIO()
    told(RunConsole(file=file))
    assert "solved          yes" in file.getvalue()
    assert not CONTROL.search(file.getvalue())


def test_a_terminal_gets_a_bar_below_the_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    file = Terminal()
    told(RunConsole(file=file))
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())  # without colours
    assert "15,000 of 20,000 steps" in text
    assert "return 0.25  greedy 0.98  loss 0.0123  1,234 steps/s  56 updates/s  ratio 44" in text
    assert "30 s left" in text
    assert "greedy return 0.98 (std 0.05) in 100 episodes" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor, hidden and shown again


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_bar_takes_two_lines_in_terminals_of_any_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    file = Terminal()
    with RunConsole(file=file) as console:
        console.started(Config(), 0.95, 1, 1)
        file.truncate(0)
        console.reported(report(env_steps=39_999, updates=100, seconds=1.0))
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()).strip("\0\r\n").split("\n")
    assert len(lines) == 2
    assert max(map(len, lines)) <= columns


def test_the_terminal_is_left_in_order_when_the_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Terminal()
    console = RunConsole(file=file)
    with contextlib.suppress(RuntimeError), console:
        console.started(Config(), 0.95, 1, 1)
        raise RuntimeError
    assert file.getvalue().count("\x1b[?25h") == 1
    assert console.has_started


def test_it_says_whether_the_task_is_solved() -> None:
    def line(end: Summary, start: str) -> str:
        file = io.StringIO()
        told(RunConsole(file=file), end=end)
        return next(line[16:] for line in file.getvalue().splitlines() if line.startswith(start))

    unsolved = summary(solved=False, solved_at_env_steps=None, solved_at_training_seconds=None)
    assert line(unsolved, "solved") == "no"
    unknown = "not known: the environment names no threshold (--solved-return sets one)"
    assert line(summary(solved=None), "solved") == unknown
    assert line(summary(stopped_because="interrupted"), "ended by") == "Ctrl-C"
    assert line(summary(stopped_because="solved"), "ended by") == "a solution"


def test_an_environment_without_a_threshold_is_said_so() -> None:
    file = io.StringIO()
    told(RunConsole(file=file), solved_return=None)
    assert "  20,000 steps in 8 environments; the environment names no threshold" in file.getvalue().splitlines()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_step_costs_a_few_microseconds(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    steps = 100_000
    with RunConsole(file=Terminal() if terminal else io.StringIO()) as console:
        console.started(Config(total_steps=steps), 0.95, 1, 1)
        best = float("inf")
        for _ in range(3):  # the machine may be busy with something else
            start = time.perf_counter()
            for step in range(steps):
                console.progressed(step)
            best = min(best, time.perf_counter() - start)
    assert best / steps < 5e-6


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3_900_000, "3.9 MB"), (28.2e9, "28 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert _bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7380, "2 h 3 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.954, "0.95"), (-21.0, "-21.00"), (12_345.6, "12,346")])
def test_numbers(value: float | None, text: str) -> None:
    assert _number(value) == text
