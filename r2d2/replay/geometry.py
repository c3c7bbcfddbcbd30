"""Which sequences an episode gives, as pure arithmetic.

The picture of a sequence, drawn here once; everything else refers to it::

    step     first          start                     start + train_length
               |  burn-in     |  trained steps          |  lookahead      |
               |  prefix      |                         |                 |
               +--------------+-------------------------+-----------------+ - - - - - +
               | <= burn_in   |  <= train_length        |  <= n_step      |  padding  |
               +--------------+-------------------------+-----------------+ - - - - - +
               ^              |<------------- unroll rows --------------->|
               stored state: what the core held just before it read o_first

Sequence ``k`` of an episode of ``T`` steps trains the steps ``[k * period, k * period + train_length)``,
as many of them as the episode has. It exists for ``k = 0`` and for every ``k`` that trains a step which
sequence ``k - 1`` does not. Its prefix is the ``burn_in`` steps before, or as many as there are: the first
sequence of an episode has none and starts from the exact initial state.

The unroll rows are the trained steps and then the lookahead, whose last row is read for its observation
only. Row ``T`` of an episode is its final observation, which has no action. An unroll that reaches the
end of its episode therefore ends with that row, and in every unroll the last row is one that can be
bootstrapped from::

    burn_in = 2, train_length = 4, overlap = 2, n_step = 1, an episode of 7 steps (F: final observation)

    step          0  1  2  3  4  5  6  F
    sequence 0    T  T  T  T  L               T trained, L lookahead, b burn-in
    sequence 1    b  b  T  T  T  T  L
    sequence 2          b  b  T  T  T  L

Source: Kapturowski et al., "Recurrent Experience Replay in Distributed Reinforcement Learning" (ICLR 2019),
sections 2.3 and 3.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Window(NamedTuple):
    """One sequence of one episode, in steps counted from the episode's start."""

    number: int
    """``k``, the number of the sequence in its episode."""
    first: int
    """First step of the prefix: the step whose recurrent state is stored."""
    start: int
    """First trained step."""
    train_length: int
    """Trained steps, 1 to the geometry's ``train_length``."""
    unroll_length: int
    """Rows from ``start`` on: trained steps, lookahead, and the final observation if it is reached."""

    @property
    def prefix_length(self) -> int:
        """Burn-in steps, 0 to ``burn_in``."""
        return self.start - self.first


@dataclass(frozen=True)
class SequenceGeometry:
    """Lengths of a sequence, in steps; see the picture in this module's docstring.

    Args:
        burn_in: longest prefix, at least 0.
        train_length: most trained steps of a sequence, at least 1.
        overlap: trained steps that adjacent sequences share, 0 to ``train_length - 1``.
        n_step: steps of the n-step return, at least 1; also the longest lookahead.

    Raises:
        TypeError: a length is not an integer.
        ValueError: a length is out of its range.
    """

    burn_in: int
    train_length: int
    overlap: int
    n_step: int = 1

    def __post_init__(self) -> None:
        for name, least in (("burn_in", 0), ("train_length", 1), ("overlap", 0), ("n_step", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}={value!r} must be an integer")
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        if self.overlap >= self.train_length:
            raise ValueError(f"overlap={self.overlap} must be smaller than train_length={self.train_length}")

    @property
    def period(self) -> int:
        """Steps from the start of one sequence to the start of the next."""
        return self.train_length - self.overlap

    @property
    def unroll_rows(self) -> int:
        """Rows of the longest unroll: ``train_length + n_step``."""
        return self.train_length + self.n_step

    @property
    def rows_needed(self) -> int:
        """Rows that must be held for a sequence to be there when it is complete.

        One before its first step, for the previous action, and one more after its last row: a sequence that is
        complete with the last step of its episode enters together with the final observation.
        """
        return 1 + self.burn_in + self.unroll_rows + 1

    def sequence_count(self, episode_length: int) -> int:
        """Number of sequences of a finished episode of ``episode_length >= 1`` steps."""
        beyond_first = max(0, episode_length - self.train_length)
        return 1 + -(-beyond_first // self.period)

    def window(self, number: int, episode_length: int | None = None) -> Window:
        """Sequence ``number``; without an ``episode_length``, of an episode that goes on for long enough."""
        start = number * self.period
        first = max(0, start - self.burn_in)
        if episode_length is None:
            return Window(number, first, start, self.train_length, self.unroll_rows)
        train_length = min(self.train_length, episode_length - start)
        unroll_length = min(self.unroll_rows, episode_length + 1 - start)
        return Window(number, first, start, train_length, unroll_length)

    def windows(self, episode_length: int) -> list[Window]:
        """All sequences of a finished episode of ``episode_length`` steps, in order."""
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length} must be at least 1")
        return [self.window(number, episode_length) for number in range(self.sequence_count(episode_length))]

    def sequences_starting_at(self, step: int) -> range:
        """Numbers of the sequences whose first step is ``step``: those whose stored state is the one there."""
        if step == 0:
            return range(self.burn_in // self.period + 1)
        number, remainder = divmod(step + self.burn_in, self.period)
        return range(number, number + 1) if remainder == 0 else range(0)

    def sequence_completed_by(self, step: int) -> int | None:
        """Number of the sequence whose last unroll row is ``step`` of an episode that has not ended, or None."""
        number, remainder = divmod(step + 1 - self.unroll_rows, self.period)
        return number if remainder == 0 and number >= 0 else None
