"""What an experiment is and what it leaves: figures of every seed, beside those that an article published."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Windows(Protocol):
    """Windows of consecutive letters, and the letter that follows each; in order of the alphabet."""

    @property
    def inputs(self) -> NDArray[np.float32]:
        """float32[windows, length]: letters as the models read them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[windows]: the letter that follows, 0 to ``classes - 1``."""

    @property
    def classes(self) -> int:
        """How many letters there are."""

    def shift(self, window: NDArray[np.float32], letter: int) -> NDArray[np.float32]:
        """float32[length]: ``window`` without its first letter and with ``letter`` as its last."""


class MakeWindows(Protocol):
    """How experiments get their windows: `envs.alphabet_windows.letter_windows` is one."""

    def __call__(self, length: int, *, closing: bool = False) -> Windows:
        """Windows of ``length`` letters; with ``closing``, a further letter class after Z closes the alphabet."""


def _nothing(_share: float) -> None:
    pass


@dataclass(frozen=True)
class Setup:
    """What one run of an experiment is given."""

    seed: int
    """Of weights, of shuffling, of data."""
    windows: MakeWindows
    """Where letters come from, for the experiments on the alphabet."""
    epochs: int | None = None
    """Epochs of every training instead of the article's, for a quick look; None for the article's."""
    advance: Callable[[float], None] = _nothing
    """To be told now and then, between computations, which share of this run is done, 0 to 1. It may raise
    KeyboardInterrupt, which is to be let through."""


@dataclass(frozen=True)
class Figure:
    """A number that an experiment measures with every seed."""

    model: str
    """Of which model, in words: "stateful LSTM"."""
    measure: str
    """What of it, in words: "in order"."""
    published: float | None = None
    """The article's figure, with as many decimals as it gives; None if there is none."""
    unit: str = "%"
    """Of the number; empty for none."""
    average: Literal["mean", "median"] = "mean"
    """What stands for all seeds; times are better described by their median."""

    @property
    def key(self) -> tuple[str, str]:
        """By which an outcome names it."""
        return self.model, self.measure


class Outcome(NamedTuple):
    """What one seed gave."""

    figures: Mapping[tuple[str, str], float | Sequence[float]]
    """By ``Figure.key``: exactly the figures of the experiment; several numbers if it was measured several times."""
    checks: Mapping[str, bool] = {}
    """Whether each expectation held, by its words: "3 equals 1"; exactly the checks of the experiment."""
    details: Mapping[str, Any] = {}
    """Whatever else is worth keeping, as JSON has it."""


@dataclass(frozen=True)
class Experiment:
    """Something that can be run with any seed.

    Raises:
        ValueError: two figures have the same key.
    """

    name: str
    """On the command line."""
    title: str
    """In the table and the picture."""
    run: Callable[[Setup], Outcome]
    """One seed: the same setup gives the same outcome, times excepted."""
    figures: tuple[Figure, ...] = ()
    """What it measures, in the order of the table."""
    checks: tuple[str, ...] = ()
    """What is expected to hold with every seed."""
    note: str = ""
    """A sentence or two below the table: what the figures mean."""
    once: bool = False
    """Whether the first seed is enough."""
    table: Callable[[Mapping[str, Any]], list[list[str]]] | None = None
    """The lines of a further table, its header first, from the details of the first seed."""

    def __post_init__(self) -> None:
        if len({figure.key for figure in self.figures}) < len(self.figures):
            raise ValueError(f"figures of {self.name} must differ in model or measure")


class Summary(NamedTuple):
    """A figure over the seeds."""

    average: float
    lowest: float
    highest: float


@dataclass
class Results:
    """What an experiment has given so far."""

    experiment: Experiment
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By seed, in the order in which they ran."""
    seconds: dict[int, float] = field(default_factory=dict)
    """How long each took."""

    def add(self, seed: int, outcome: Outcome, seconds: float) -> None:
        """Keep the outcome of a seed.

        Raises:
            ValueError: its figures or checks are not those of the experiment.
        """
        for what, given, own in (
            ("figures", set(outcome.figures), {figure.key for figure in self.experiment.figures}),
            ("checks", set(outcome.checks), set(self.experiment.checks)),
        ):
            if given != own:
                raise ValueError(f"{what} of {self.experiment.name} are {sorted(given)}, must be {sorted(own)}")
        self.outcomes[seed] = outcome
        self.seconds[seed] = seconds

    def values(self, figure: Figure) -> list[float]:
        """The figure of every seed, and of every time that it was measured."""
        measured = [outcome.figures[figure.key] for outcome in self.outcomes.values()]
        return [value for each in measured for value in (each if isinstance(each, Sequence) else [each])]

    def summary(self, figure: Figure) -> Summary:
        """The figure over the seeds, of which there must be one at least."""
        values = self.values(figure)
        return Summary(fmean(values) if figure.average == "mean" else median(values), min(values), max(values))

    def differs(self, figure: Figure) -> bool:
        """Whether the published figure lies outside of what our seeds gave, beyond its own rounding."""
        if figure.published is None:
            return False
        _, lowest, highest = self.summary(figure)
        decimals = len(f"{figure.published:g}".partition(".")[2])
        rounding = 0.5 * 10**-decimals
        return not lowest - rounding <= figure.published <= highest + rounding

    def held(self, check: str) -> int:
        """With how many seeds the check held."""
        return sum(outcome.checks[check] for outcome in self.outcomes.values())
