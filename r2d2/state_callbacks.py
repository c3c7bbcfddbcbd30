"""Keras callbacks that put a stateful model into states of your own while `fit`, `evaluate` or `predict` runs it.

Keras's loops know nothing of states: a batch goes on from where the last one has ended, whatever it was, so that states
set before `fit` last for one batch. These callbacks set them again whenever it is time. They assign the layers' own
variables: whatever was built, compiled or set to zero before, the next batch starts from the states given.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from r2d2.keras_states import reset_states, write_states

StatesLike = Mapping[str, Any]


class _InRun(keras.callbacks.Callback):
    """Knows whether `evaluate` runs by itself, or inside of `fit` on its validation data."""

    _in_fit = False

    def set_model(self, model: Any) -> None:
        """Called whenever a run of its own starts, also after one that has failed."""
        super().set_model(model)
        self._in_fit = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._in_fit = True


class StatesBeforeEpoch(_InRun):
    """Every epoch of `fit` starts from given states, and so does a run of `evaluate` or `predict` by itself.

    Validation inside of `fit` goes on from where the epoch's training has ended, as Keras has it.

    Args:
        states: as `r2d2.read_states` gave them, or a function of the epoch's number (0 in `evaluate` and `predict`)
            that gives them; default: zero.

    Raises:
        ValueError: when an epoch starts, and the states do not fit the model (see `r2d2.write_states`).
    """

    def __init__(self, states: StatesLike | Callable[[int], StatesLike] | None = None) -> None:
        super().__init__()
        self._states = states

    def _set(self, epoch: int) -> None:
        if self._states is None:
            reset_states(self.model)
        else:
            write_states(self.model, self._states(epoch) if callable(self._states) else self._states)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._set(epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        if not self._in_fit:
            self._set(0)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._set(0)


class StatesBeforeBatch(_InRun):
    """Every batch of `fit`, `evaluate` or `predict` starts from the states that a function of its number gives.

    Give ``shuffle=False`` to `fit`: it shuffles unless told otherwise and tells no callback so, and the states would be
    those of other rows. Where rows must be shuffled, let the states be data: the layer's ``initial_state=``.

    Args:
        states_at: the states of a batch by its number in the epoch (from 0), for its rows in their order.
        validation: the same for the batches of ``validation_data`` in `fit`; needed if there are any.

    Raises:
        ValueError: when a batch starts, and its states do not fit the model (see `r2d2.write_states`), or
            ``validation`` is missing, or the model was compiled with another ``steps_per_execution`` than 1, with which
            Keras calls callbacks before the first of several batches only.
    """

    def __init__(
        self, states_at: Callable[[int], StatesLike], validation: Callable[[int], StatesLike] | None = None
    ) -> None:
        super().__init__()
        self._states_at = states_at
        self._validation = validation

    def _set(self, states: StatesLike) -> None:
        if self.model.steps_per_execution != 1:
            raise ValueError(
                f"steps_per_execution={self.model.steps_per_execution} must be 1 to set states before every batch: "
                "Keras calls callbacks before the first of so many batches only"
            )
        write_states(self.model, states)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._set(self._states_at(batch))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self._in_fit:
            self._set(self._states_at(batch))
        elif self._validation is not None:
            self._set(self._validation(batch))
        else:
            raise ValueError("validation is missing: say from which states the batches of validation_data start")

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._set(self._states_at(batch))
