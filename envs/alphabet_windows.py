"""The alphabet as supervised learning: windows of consecutive letters, and the letter that follows each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.alphabet import LETTERS


@dataclass(frozen=True, eq=False)
class LetterWindows:
    """Windows in the order of the alphabet: with three letters ABC -> D, BCD -> E, ... WXY -> Z.

    A letter is read as its number divided by the number of classes, so A is 0 and all are below 1.
    """

    inputs: NDArray[np.float32]
    """float32[windows, length]"""
    labels: NDArray[np.int64]
    """int64[windows]: the number of the letter that follows, 0 to ``classes - 1``."""
    classes: int
    """How many letters there are."""

    def shift(self, window: NDArray[np.float32], letter: int) -> NDArray[np.float32]:
        """The window that follows when ``letter`` comes next: a prediction fed back.

        Args:
            window: float32[length].
            letter: a letter's number.

        Returns:
            float32[length]: without the first letter of ``window``, with ``letter`` as the last.

        Raises:
            ValueError: there is no such letter.
        """
        if not 0 <= letter < self.classes:
            raise ValueError(f"letter={letter} must be a letter's number: 0 to {self.classes - 1}")
        return np.append(window[1:], np.float32(letter / self.classes))


def letter_windows(length: int, *, closing: bool = False) -> LetterWindows:
    """All windows of the alphabet that are followed by a letter.

    Args:
        length: letters of a window, at least 1.
        closing: put an A after Z that is a letter of its own, number 26, and thus the last label.

    Returns:
        26 - length windows and 26 classes; with ``closing``, one more of each.

    Raises:
        ValueError: ``length`` leaves no letter to follow a window.
    """
    letters = np.arange(LETTERS + closing)
    if not 1 <= length < len(letters):
        raise ValueError(f"length={length} must be 1 to {len(letters) - 1}")
    windows = np.lib.stride_tricks.sliding_window_view(letters, length)[:-1]
    return LetterWindows((windows / len(letters)).astype(np.float32), letters[length:], len(letters))
