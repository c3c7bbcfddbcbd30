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

from numba.extending import register_jitable

from r2d2.replay.limits import whole


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


@register_jitable
def begun_by(steps: int, burn_in: int, period: int) -> int:
    """Number of an episode's sequences whose first step is among its first ``steps``: 0, 1, ... are."""
    return (steps - 1 + burn_in) // period + 1 if steps > 0 else 0


@register_jitable
def complete_by(steps: int, unroll_rows: int, period: int) -> int:
    """Number of an open episode's sequences whose rows are all among its first ``steps``: 0, 1, ... are."""
    return (steps - unroll_rows) // period + 1 if steps >= unroll_rows else 0


@register_jitable
def count_of(episode_length: int, train_length: int, period: int) -> int:
    """Number of sequences of a finished episode of ``episode_length >= 1`` steps."""
    return 1 - -max(0, episode_length - train_length) // period


@register_jitable
def window_of(
    number: int, steps: int, burn_in: int, train_length: int, period: int, n_step: int
) -> tuple[int, int, int, int]:
    """First step, start, trained steps and unroll rows of sequence ``number`` of an episode.

    ``steps`` are those of the episode if it has ended, else as many as there are, enough for the sequence's rows.
    """
    start = number * period
    first = max(0, start - burn_in)
    return first, start, min(train_length, steps - start), min(train_length + n_step, steps + 1 - start)


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
    n_step: int

    def __post_init__(self) -> None:
        for name, least in (("burn_in", 0), ("train_length", 1), ("overlap", 0), ("n_step", 1)):
            value = whole(getattr(self, name), name)
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
            object.__setattr__(self, name, value)  # one of NumPy's becomes one of Python's
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
    def lengths(self) -> tuple[int, int, int, int]:
        """``burn_in``, ``train_length``, ``period`` and ``n_step``, for compiled code."""
        return self.burn_in, self.train_length, self.period, self.n_step

    @property
    def rows_needed(self) -> int:
        """Rows that must be held for a sequence to be there when it is complete.

        One before its first step, for the previous action, and one more after its last row: a sequence that is
        complete with the last step of its episode enters together with the final observation.
        """
        return 1 + self.burn_in + self.unroll_rows + 1

    @property
    def most_open(self) -> int:
        """Most sequences of one episode that have begun and are not complete."""
        return -(-(self.burn_in + self.unroll_rows) // self.period)

    def begun_by(self, steps: int) -> int:
        """See `begun_by`."""
        return begun_by(steps, self.burn_in, self.period)

    def complete_by(self, steps: int) -> int:
        """See `complete_by`."""
        return complete_by(steps, self.unroll_rows, self.period)

    def sequence_count(self, episode_length: int) -> int:
        """Number of sequences of a finished episode of ``episode_length`` steps.

        Raises:
            ValueError: ``episode_length`` is less than 1.
        """
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length} must be at least 1")
        return count_of(episode_length, self.train_length, self.period)

    def window(self, number: int, episode_length: int | None = None) -> Window:
        """Sequence ``number``; without an ``episode_length``, of an episode that goes on for long enough.

        Raises:
            ValueError: an episode of this length has no such sequence.
        """
        if episode_length is None:
            episode_length = max(0, number) * self.period + self.unroll_rows
        count = self.sequence_count(episode_length)
        if not 0 <= number < count:
            raise ValueError(f"number={number} must be from 0 to {count - 1} with episode_length={episode_length}")
        return Window(
            number, *window_of(number, episode_length, self.burn_in, self.train_length, self.period, self.n_step)
        )

    def windows(self, episode_length: int) -> list[Window]:
        """All sequences of a finished episode of ``episode_length`` steps, in order.

        Raises:
            ValueError: ``episode_length`` is less than 1.
        """
        return [self.window(number, episode_length) for number in range(self.sequence_count(episode_length))]
