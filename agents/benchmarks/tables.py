"""The results of a benchmark as a table to be read in a terminal of a hundred columns."""

from collections.abc import Callable, Iterator
from itertools import zip_longest

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agents.benchmarks.plan import Measure
from agents.benchmarks.results import CaseResult, Row, rows

_STYLES = {"ours": "bold", "peer": "", "limit": "cyan", "reference": "dim"}
_ROLES = {"ours": "", "peer": "", "limit": " (limit)", "reference": " (reference)"}
_RATIOS: dict[str, Callable[[Row], float | None]] = {
    "to best\npeer": lambda row: row.to_best_peer,
    "to\nlimit": lambda row: row.to_limit,
}
"""Columns that stand only where there is such a ratio."""
_LETTERS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_PLAIN_BELOW = 1e5


def table(result: CaseResult) -> Table:
    """All measures of a case, a section each. Ratios above 1 are better, for rates and for times."""
    columns = Table(title=result.case.name, title_justify="left", title_style="bold", header_style="bold")
    columns.add_column("measure")
    columns.add_column("subject")
    measured = {measure: found for measure in result.case.measures if (found := rows(result, measure))}
    ratios = [
        (heading, get)
        for heading, get in _RATIOS.items()
        if any(get(row) is not None for found in measured.values() for row in found)
    ]
    for heading in ("median", "lowest - highest", *(heading for heading, _ in ratios)):
        columns.add_column(heading, justify="right", no_wrap=True)
    for measure, found in measured.items():
        columns.add_section()
        for beside, row in zip_longest(_headings(measure), found):
            if row is None:
                columns.add_row(beside)
                continue
            compared = ["-" if (ratio := get(row)) is None else f"{ratio:.2f}" for _, get in ratios]
            columns.add_row(beside, *_cells(row), *compared, style=_STYLES[row.role])
    return columns


def show(console: Console, result: CaseResult) -> None:
    """Print the table of a case, and who is not in it, or what is to be known of those who are."""
    if any(result.values.values()):
        console.print(table(result))
    else:
        console.print(Text(f"{result.case.name}: nothing was measured", style="bold"))
    for note in dict.fromkeys(result.notes.values()):
        names = ", ".join(name for name, own in result.notes.items() if own == note)
        _tell(console, f"{names}: {note}")
    kept = {name: value for name, value in result.agreement.items() if name not in result.absent}
    if kept:
        differences = ", ".join(f"{name} {value:.1g}" for name, value in kept.items())
        _tell(console, f"answers differ from those of {result.compared_with} by, relative to their size: {differences}")
    for name, why in result.absent.items():
        _tell(console, f"{name} left out: {why}", "yellow")
    console.print()


def _tell(console: Console, text: str, style: str = "") -> None:
    console.print(Padding(Text(text, style), (0, 0, 0, 2), expand=False))


def number(value: float) -> str:
    """A number in few digits: 1.23M or 123k or 12,345 or 12.3 or 0.00123."""
    if value != value:
        return "-"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= _PLAIN_BELOW:
        size, letter = next(entry for entry in _LETTERS if abs(rounded) >= entry[0])
        return f"{rounded / size:.3g}{letter}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _headings(measure: Measure) -> Iterator[str]:
    """What stands beside the rows of a measure, from the first one on."""
    yield measure.name
    yield measure.unit
    if measure.better is not None:
        yield f"{'more' if measure.better == 'higher' else 'less'} is better"


def _cells(row: Row) -> list[str]:
    low, high = number(row.spread.lowest), number(row.spread.highest)
    return [row.subject + _ROLES[row.role], number(row.spread.median), f"{low} - {high}"]
