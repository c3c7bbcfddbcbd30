"""What the experiments say in the terminal: a bar while they run, tables at the end."""

import sys
from typing import Any, TextIO

from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agents.experiments.results import Experiment, Figure, Results
from agents.experiments.runs import Runs

_PLAIN_WIDTH = 140


class ExperimentConsole:
    """An observer that tells a person how far the experiments are, and prints their tables.

    In a terminal: a bar below a line for every experiment that is done. Elsewhere (a pipe, a file, CI, ``TERM=dumb``):
    plain lines without any control character. Used in a ``with`` statement, the terminal is left in order.

    Args:
        file: where to write; None for standard output.
        interactive: whether to draw a bar; None for "if ``file`` is a terminal".
    """

    def __init__(self, file: TextIO | None = None, *, interactive: bool | None = None) -> None:
        file = sys.stdout if file is None else file
        is_terminal = file.isatty() if interactive is None else interactive
        self._console = Console(file=file, force_terminal=is_terminal, highlight=False)
        if interactive is None and self._console.is_dumb_terminal:
            is_terminal = False
        if not is_terminal:
            self._console = Console(file=file, force_terminal=False, no_color=True, highlight=False, width=_PLAIN_WIDTH)
        self._bar = _bar(self._console) if is_terminal else None
        self._task: Any = None

    def __enter__(self) -> "ExperimentConsole":
        if self._bar is not None:
            self._task = self._bar.add_task("", total=1.0)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progressed(self, experiment: Experiment, seed: int, share: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=share, description=f"{experiment.name}, seed {seed}")

    def finished(self, results: Results, seed: int) -> None:
        """Say which seed is done."""
        self.say(f"{results.experiment.name}, seed {seed}: {results.seconds[seed]:.1f} s")
        if self._bar is None:
            self._console.file.flush()

    def tables(self, runs: Runs) -> None:
        """Print the results of every experiment."""
        for results in runs.results:
            self._console.print()
            self._console.print(_whole(results))
        self._console.print()

    def say(self, line: str) -> None:
        """Print a line as it is, however long."""
        self._console.print(Text(line), soft_wrap=True)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="blue"),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )


def _whole(results: Results) -> Group:
    """All that there is to say about an experiment."""
    experiment = results.experiment
    numbers = [str(seed) for seed in results.outcomes]
    seeds = f"seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
    title = Text.assemble((experiment.title, "bold"), f"  ({experiment.name}, {seeds})")
    parts: list[Any] = [title]
    if experiment.figures:
        parts.append(_figures(results))
    if experiment.table is not None:
        seed, outcome = next(iter(results.outcomes.items()))
        parts += [Text(f"seed {seed}:"), _lines(experiment.table(outcome.details))]
    if experiment.checks:
        parts.append(_checks(results))
    if experiment.note:
        parts.append(Text(experiment.note, style="dim"))
    return Group(*parts)


def _figures(results: Results) -> Table:
    """A line a figure; the model is named once."""
    figures = results.experiment.figures
    published = any(figure.published is not None for figure in figures)
    averages = "/".join(dict.fromkeys(figure.average for figure in figures))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    table.add_column("asked" if published else "measured")
    if published:
        table.add_column("published", justify="right")
    table.add_column(f"ours, {averages}", justify="right")
    table.add_column("lowest", justify="right")
    table.add_column("highest", justify="right")
    if published:
        table.add_column("")
    for number, figure in enumerate(figures):
        named = number and figures[number - 1].model == figure.model
        if number and not named:
            table.add_section()
        average, lowest, highest = (_number(value, figure) for value in results.summary(figure))
        line: list[Text | str] = [Text("" if named else figure.model), Text(figure.measure)]
        if published:
            line.append("-" if figure.published is None else f"{figure.published:g} {figure.unit}")
        line += [average, lowest, highest]
        if published:
            line.append(Text(_remark(results, figure), style="yellow"))
        table.add_row(*line)
    return table


def _remark(results: Results, figure: Figure) -> str:
    """How our figure differs from the published one; empty if it does not."""
    if not results.differs(figure):
        return ""
    _, lowest, highest = results.summary(figure)
    shown = list(dict.fromkeys(f"{round(value, 1):g}" for value in (lowest, highest)))
    return f"differs: published {figure.published:g}, ours {' to '.join(shown)}"


def _number(value: float, figure: Figure) -> str:
    if figure.unit == "%":
        return f"{value:.1f} %"
    number = f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.3g}"
    return f"{number} {figure.unit}".rstrip()


def _checks(results: Results) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("expected")
    table.add_column("held, of seeds", justify="right")
    for check in results.experiment.checks:
        held, of = results.held(check), len(results.outcomes)
        style = "green" if held == of else "bold red"
        table.add_row(Text(check), Text(f"{held} of {of}", style=style))
    return table


def _lines(lines: list[list[str]]) -> Table:
    header, *rest = lines
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for line in rest:
        table.add_row(*map(Text, line))
    return table
