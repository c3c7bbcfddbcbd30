"""Run a benchmark from plan to table, JSON and chart."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from agents.benchmarks.catalogue import benchmark
from agents.benchmarks.options import Benchmark, Options, selected
from agents.benchmarks.plan import Case
from agents.benchmarks.results import CaseResult, as_json, processor
from agents.benchmarks.rounds import NOT_INSTALLED, run_case
from agents.benchmarks.tables import show

_LINE_SECONDS = 10.0
_WIDTH_WITHOUT_TERMINAL = 100
_REFRESHES_PER_SECOND = 2.0
"""Of the progress bar, which is drawn while others measure."""
_HOW_TO_INSTALL = 'what is not installed comes with: pip install -e ".[benchmark,popgym]"'


def run(name: str, options: Options, file: TextIO) -> bool:
    """Run a benchmark and leave ``<name>.json`` and ``<name>.png`` in ``options.out_dir``.

    The JSON file is written anew after every case: whoever interrupts keeps the cases that are done.

    Args:
        name: one of `agents.benchmarks.catalogue.NAMES`.
        options: of that benchmark.
        file: where tables go.

    Returns:
        Whether this software's own subjects were all measured.

    Raises:
        ValueError: there is no such subject, or the folder cannot be used.
        KeyboardInterrupt: where the cases that are done are has been said.
    """
    chosen = benchmark(name)
    cases = selected(chosen.plan(options), options.subjects)
    _make_folder(options.out_dir)
    json_file, chart = (options.out_dir / f"{name}.{ending}" for ending in ("json", "png"))
    console = _console(file)
    results: list[CaseResult] = []
    try:
        for case in cases:
            with _Progress(console, _steps(case, options.rounds)) as progress:
                results.append(run_case(case, options.rounds, progress.told))
            show(console, results[-1])
            _write(json_file, name, options, results)
    except KeyboardInterrupt:
        if results:
            _say(console, f"cases that are done: {json_file}")
        raise
    extra, lines = chosen.extra(results)
    _write(json_file, name, options, results, extra)
    chosen.draw(chart, results, _caption(name, chosen, options))
    for line in lines:
        _say(console, line)
    if any(why.startswith(NOT_INSTALLED) for result in results for why in result.absent.values()):
        _say(console, _HOW_TO_INSTALL)
    _say(console, f"results: {json_file}")
    _say(console, f"chart:   {chart}")
    return not any(
        subject.role == "ours" and subject.name in result.absent
        for result in results
        for subject in result.case.subjects
    )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out_dir={str(path)!r} cannot be made: {error}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"out_dir={str(path)!r} cannot be written to")


def _say(console: Console, line: str) -> None:
    """A line as it is: not broken, brackets being brackets."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _caption(name: str, chosen: Benchmark, options: Options) -> str:
    """What the chart says above its panels."""
    rounds = "one round" if options.rounds == 1 else f"medians of {options.rounds} rounds, and their range"
    cores = os.cpu_count() or 1
    return f"{name}: {chosen.summary}\n{processor()}, {'1 core' if cores == 1 else f'{cores} cores'}; {rounds}"


def _write(path: Path, name: str, options: Options, results: Sequence[CaseResult], extra: object = None) -> None:
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
    path.write_text(json.dumps(as_json(name, settings, list(results), extra), indent=1, allow_nan=False) + "\n")


def _steps(case: Case, rounds: int) -> int:
    """How often `run_case` tells of its work, at most."""
    tasks = {measure.of_task: 1 if measure.once else rounds for measure in case.measures}
    return len(case.subjects) * (1 + sum(tasks.values()))


def _console(file: TextIO) -> Console:
    console = Console(file=file, force_terminal=file.isatty())
    if console.is_terminal and not console.is_dumb_terminal:
        return console
    return Console(file=file, force_terminal=False, no_color=True, width=_WIDTH_WITHOUT_TERMINAL)


class _Progress:
    """A bar in a terminal; elsewhere lines, some seconds apart."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._next_line = time.monotonic() + _LINE_SECONDS
        text = TextColumn("{task.description}", markup=False)
        self._bar = Progress(
            *(BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), text),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=_REFRESHES_PER_SECOND,
        )
        self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, text: str) -> None:
        self._bar.update(self._task, description=text)
        self._bar.advance(self._task)
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            _say(self._console, text)
