"""What a run says in the terminal: how it begins, how far it is, how it ended."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agents.config import Config
from agents.reports import Evaluation, Report, Summary

_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 10.0
_REPORTS_FOR_TIME_LEFT = 10


class RunConsole:
    """An observer that tells a person how the run goes.

    In a terminal: a bar with the latest numbers below the lines of the evaluations. Elsewhere (a pipe, a file,
    CI, ``TERM=dumb``): plain lines without any control character, some seconds apart. Used in a ``with``
    statement, the terminal is left in order whatever happens.

    Args:
        results: the run's folder; None if nothing is kept.
        next_command: what the reader may want to run afterwards.
        file: where to write; None for standard output.
        interactive: whether to draw a bar; None for "if ``file`` is a terminal".
        seconds_between_lines: least time between lines where there is no bar; evaluations always have one.
    """

    def __init__(
        self,
        results: Path | None = None,
        *,
        next_command: str | None = None,
        file: TextIO | None = None,
        interactive: bool | None = None,
        seconds_between_lines: float = _LINE_SECONDS,
    ) -> None:
        file = sys.stdout if file is None else file
        # Not rich's own guess: with FORCE_COLOR, for one, it takes a pipe for a terminal.
        is_terminal = file.isatty() if interactive is None else interactive
        self._console = Console(file=file, force_terminal=is_terminal, highlight=False)
        if interactive is None and self._console.is_dumb_terminal:
            is_terminal = False
        if not is_terminal:
            self._console = Console(file=file, force_terminal=False, no_color=True, highlight=False)
        self._is_terminal = is_terminal
        self._results = results
        self._next_command = next_command
        self._seconds_between_lines = seconds_between_lines
        self._live: Live | None = None
        self._total_steps = 1
        self._env_steps = 0
        self._report: Report | None = None
        self._reports: deque[Report] = deque(maxlen=_REPORTS_FOR_TIME_LEFT)
        self._evaluation: Evaluation | None = None
        self._has_warned = False
        self._next_refresh = float("inf")
        self._next_line = 0.0
        self.has_started = False
        """Whether the run got as far as its first step."""

    def __enter__(self) -> "RunConsole":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_bar()

    def started(self, config: Config, solved_return: float | None, parameters: int, replay_bytes: int) -> None:
        """Say what is about to run."""
        self.has_started = True
        self._total_steps = config.total_steps
        environments = "1 environment" if config.num_envs == 1 else f"{config.num_envs} environments"
        goal = "the environment names no threshold" if solved_return is None else f"solved at {solved_return:g}"
        self._say(Text(f"{config.env_id}, preset {config.preset}, seed {config.seed}", style="bold"))
        self._say(f"  {config.total_steps:,} steps in {environments}; {goal}")
        self._say(f"  {parameters:,} parameters; {_bytes(replay_bytes)} of replay for {config.capacity:,} rows")
        # Updates begin with the step of all environments after the one that reaches it.
        if config.total_steps <= -(-config.learning_starts // config.num_envs) * config.num_envs:
            self._say(
                Text(f"  too few steps for an update: learning_starts={config.learning_starts:,}", style="yellow")
            )
        if self._results is not None:
            self._say(f"  results in {self._results}")
        if self._is_terminal:
            self._live = Live(self._bar(), console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
            self._next_refresh = time.perf_counter() + _REFRESH_SECONDS

    def progressed(self, env_steps: int) -> None:
        """Move the bar, a few times a second at most: this is called after every step."""
        self._env_steps = env_steps
        if time.perf_counter() >= self._next_refresh:
            self._refresh()

    def reported(self, report: Report) -> None:
        """Show the latest numbers."""
        self._report = report
        self._env_steps = report.env_steps
        if report.updates:  # before the first, steps are much faster than they will be
            self._reports.append(report)
        if self._live is not None:
            self._refresh()
        elif not self._is_terminal and time.perf_counter() >= self._next_line:
            self._next_line = time.perf_counter() + self._seconds_between_lines
            share = report.env_steps / self._total_steps
            self._say(f"step {report.env_steps:,} of {self._total_steps:,} ({share:.0%})  {self._numbers(report)}")

    def evaluated(self, evaluation: Evaluation) -> None:
        """Say how well the agent plays now."""
        self._evaluation = evaluation
        line = Text(
            f"step {evaluation.env_steps:,}  greedy return {_number(evaluation.return_mean)} "
            f"(std {_number(evaluation.return_std)}) in {_episodes(evaluation.episodes)}"
        )
        if evaluation.best:
            line.append("  best so far", style="green")
        self._say(line)
        if evaluation.cut and not self._has_warned:
            self._has_warned = True
            self._say(
                f"{_episodes(evaluation.cut)} did not end and had to be cut, which takes long: give the environment a "
                "limit, such as --env-args max_episode_steps=500"
            )
        if self._live is not None:
            self._refresh()

    def finished(self, summary: Summary) -> None:
        """Say how it ended, and where to go from here."""
        self._stop_bar()
        self._say("")
        for name, value in self._result(summary):
            self._say(Text.assemble((f"{name:<16}", "bold"), value))

    def _result(self, summary: Summary) -> list[tuple[str, Text | str]]:
        if summary.solved is None:
            solved = Text("not known: the environment names no threshold (--solved-return sets one)")
        elif not summary.solved:
            solved = Text("no", style="yellow")
        else:
            solved, plain = Text("yes", style="bold green"), "not bold default"
            if summary.solved_at_env_steps is not None:
                solved.append(f", after {summary.solved_at_env_steps:,} steps", style=plain)
            if summary.solved_at_training_seconds is not None:
                solved.append(
                    f" and {_duration(summary.solved_at_training_seconds)} of training", style="not bold default"
                )
        rows: list[tuple[str, Text | str]] = [
            ("solved", solved),
            (
                "greedy return",
                f"{_number(summary.evaluation_return_mean)} (std {_number(summary.evaluation_return_std)}) in "
                f"{_episodes(summary.evaluation_episodes)} with the best weights, "
                f"{_number(summary.last_return_mean)} with the last",
            ),
            ("steps", f"{summary.env_steps:,}, {summary.env_steps_per_second:,.0f} a second while training"),
            ("updates", f"{summary.updates:,}, {summary.updates_per_second:,.0f} a second while training"),
            ("time", f"{_duration(summary.wall_seconds)}: {_shares(summary.seconds_by_part)}"),
            (
                "ended by",
                {"solved": "a solution", "total_steps": "its last step", "interrupted": "Ctrl-C"}.get(
                    summary.stopped_because, summary.stopped_because
                ),
            ),
        ]
        if self._results is not None:
            rows.append(("results", str(self._results)))
        if self._next_command is not None:
            rows.append(("next", Text(self._next_command, style="cyan")))
        return rows

    def _say(self, text: Text | str) -> None:
        # Soft-wrapped: a path or a command can be copied whole. Text: "[...]" is no markup here.
        self._console.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)
        if not self._is_terminal:
            self._console.file.flush()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._bar(), refresh=True)
            self._next_refresh = time.perf_counter() + _REFRESH_SECONDS

    def _stop_bar(self) -> None:
        self._next_refresh = float("inf")
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _bar(self) -> Table:
        total = f"{self._total_steps:,}"
        first = Table.grid(padding=(0, 1), expand=True)
        first.add_column(no_wrap=True)
        first.add_column(ratio=1)
        first.add_column(no_wrap=True)
        first.add_row(
            Text(f"{self._env_steps:>{len(total)},} of {total} steps"),
            ProgressBar(total=self._total_steps, completed=self._env_steps, complete_style="blue"),
            Text(self._time_left()),
        )
        numbers = self._numbers(self._report) if self._report is not None else "the first report is on its way"
        whole = Table.grid(expand=True)
        whole.add_row(first)
        whole.add_row(Text(numbers, style="dim", no_wrap=True, overflow="ellipsis"))
        return whole

    def _numbers(self, report: Report) -> str:
        greedy = None if self._evaluation is None else self._evaluation.return_mean
        parts = [
            f"return {_number(report.return_mean)}",
            f"greedy {_number(greedy)}",
            f"loss {'-' if report.loss is None else f'{report.loss:.3g}'}",
            f"{report.env_steps_per_second:,.0f} steps/s",
            f"{report.updates_per_second:,.0f} updates/s",
            f"ratio {report.replay_ratio:.3g}",
        ]
        if not self._is_terminal:
            parts.append(self._time_left())
        return "  ".join(parts)

    def _time_left(self) -> str:
        """From the pace of the last reports, evaluations included."""
        if len(self._reports) < 2:
            return "- left"
        oldest, newest = self._reports[0], self._reports[-1]
        seconds_per_step = (newest.seconds - oldest.seconds) / max(1, newest.env_steps - oldest.env_steps)
        return f"{_duration(seconds_per_step * max(0, self._total_steps - self._env_steps))} left"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def _episodes(count: int) -> str:
    return "1 episode" if count == 1 else f"{count:,} episodes"


def _bytes(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if whole < 3600:
        return f"{minutes} min {whole % 60} s"
    return f"{hours} h {minutes} min" if not days else f"{days} d {hours} h"


def _shares(seconds_by_part: dict[str, float]) -> str:
    """The parts in per cent, the largest first; those below half a per cent are left out."""
    total = sum(seconds_by_part.values())
    parts = sorted(seconds_by_part.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts if seconds >= total / 200 and total > 0)
