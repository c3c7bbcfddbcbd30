"""How well a model knows the alphabet when it is asked a letter at a time: in order, in reverse, in a loop."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from agents.experiments.results import Windows
from r2d2.keras_states import States, reset_states, write_states


class LetterTests:
    """Accuracies in per cent of all windows: one right answer of 25 is 4 %, one of 23 is 4.35 %.

    A stateful model starts every test from zero states (or from those given) and is not reset again, so that each
    letter is read in the state which the letters before have left.

    Args:
        model: a model of batch size 1.
        windows: what to ask.
        reset_every_letter: put a stateful model into zero states before every letter.
    """

    def __init__(self, model: Any, windows: Windows, *, reset_every_letter: bool = False) -> None:
        self._model = model
        self._windows = windows
        self._reset_every_letter = reset_every_letter
        self._is_stateful = any(getattr(layer, "stateful", False) for layer in model.layers)
        call = tf.function(lambda inputs: model(inputs, training=False))
        self._call = call.get_concrete_function(tf.TensorSpec(model.input_shape))

    def in_order(self, start: States | None = None, first: int = 0) -> float:
        """Ask one window after the other, from number ``first`` to the last; those before count as wrong."""
        return self._accuracy(range(first, len(self._windows.labels)), start)

    def in_reverse(self) -> float:
        """Ask from the last window to the first."""
        return self._accuracy(reversed(range(len(self._windows.labels))), None)

    def in_loop(self) -> float:
        """Show the first window alone; each answer becomes the last letter of the next window.

        The k-th answer is right if it is the letter that really follows the k-th window. One mistake may lead
        astray for good: 4 % (1 of 25) is A -> B and nothing more.
        """
        self._begin(None)
        window, right = self._windows.inputs[0], 0
        for label in self._windows.labels:
            letter = self._answer(window)
            right += letter == int(label)
            window = self._windows.shift(window, letter)
        return self._per_cent(right)

    def _accuracy(self, numbers: Iterable[int], start: States | None) -> float:
        self._begin(start)
        windows = self._windows
        return self._per_cent(sum(self._answer(windows.inputs[i]) == int(windows.labels[i]) for i in numbers))

    def _begin(self, start: States | None) -> None:
        if start is not None:
            write_states(self._model, start)
        elif self._is_stateful:
            reset_states(self._model)

    def _answer(self, window: NDArray[np.float32]) -> int:
        if self._reset_every_letter and self._is_stateful:
            reset_states(self._model)
        return int(np.argmax(self._call(tf.constant(window.reshape(self._model.input_shape)))))

    def _per_cent(self, right: int) -> float:
        return 100.0 * right / len(self._windows.labels)
