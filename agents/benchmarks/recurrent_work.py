"""The network and the batch that learners and actors are measured with: the same numbers in every library."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_STEP, GAMMA, ETA = 5, 0.997, 0.9
LEARNING_RATE, ADAM_EPSILON, FIRST_MOMENT_DECAY = 1e-4, 1e-3, 0.9
LARGEST_NORM = 1e9
"""Gradients are clipped to this norm: the work is done, and the gradients compared are the true ones."""
FEATURES, ACTIONS = 8, 4


@dataclass(frozen=True)
class Size:
    """A size of the update: torso of ``units`` (dense, ReLU), LSTM of ``units``, dueling head."""

    batch: int
    burn_in: int
    train_length: int
    units: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.batch} x ({self.burn_in} + {self.train_length}), LSTM {self.units}"

    @property
    def rows(self) -> int:
        """Rows after the burn-in: trained steps and lookahead."""
        return self.train_length + N_STEP

    @property
    def operations(self) -> int:
        """Floating-point operations of the LSTM's products in one update: two a weight, row and step forward, and twice
        as many backward, which only trained steps need; all else is small beside them."""
        a_step = 2 * self.batch * (2 * self.units) * (4 * self.units)
        forward = 2 * (self.burn_in + self.rows)  # the online and the target network
        return a_step * (forward + 2 * self.train_length)


SIZES = {
    "small": Size(32, 10, 20, 64),
    "middle": Size(64, 40, 80, 128),
    "large": Size(64, 40, 80, 512),
}


class Weights(NamedTuple):
    """Of the network, as Keras lays them out; an LSTM's gates are input, forget, cell, output, as PyTorch's are too."""

    torso: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Kernel [FEATURES, units] and bias."""
    lstm: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """Kernel [units, 4 units], recurrent kernel [units, 4 units], bias [4 units]."""
    advantage: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Kernel [units, ACTIONS] and bias."""
    value: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Kernel [units, 1] and bias."""


class Work(NamedTuple):
    """A batch. B: batch, F: burn-in, W: rows after it; every row is real, no episode ends."""

    hidden: NDArray[np.float32]
    """float32[B, units], stored state."""
    cell: NDArray[np.float32]
    """The same."""
    prefix: NDArray[np.float32]
    """float32[B, F, FEATURES]"""
    unroll: NDArray[np.float32]
    """float32[B, W, FEATURES]"""
    action: NDArray[np.int32]
    """int32[B, W]"""
    reward: NDArray[np.float32]
    """float32[B, W]"""
    importance_weights: NDArray[np.float32]
    """float32[B]"""


def weights(units: int, seed: int = 0) -> Weights:
    """Weights of the usual size, and biases that are not zero so that a forgotten one is seen."""
    rng = np.random.default_rng(seed)

    def kernel(rows: int, columns: int) -> NDArray[np.float32]:
        return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

    def bias(columns: int) -> NDArray[np.float32]:
        return (0.1 * rng.standard_normal(columns)).astype(np.float32)

    return Weights(
        (kernel(FEATURES, units), bias(units)),
        (kernel(units, 4 * units), kernel(units, 4 * units), bias(4 * units)),
        (kernel(units, ACTIONS), bias(ACTIONS)),
        (kernel(units, 1), bias(1)),
    )


def work(size: Size) -> Work:
    """A batch of random numbers."""
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    return Work(
        normal(size.batch, size.units),
        normal(size.batch, size.units),
        normal(size.batch, size.burn_in, FEATURES),
        normal(size.batch, size.rows, FEATURES),
        rng.integers(ACTIONS, size=(size.batch, size.rows), dtype=np.int32),
        normal(size.batch, size.rows),
        rng.uniform(0.3, 1.0, size.batch).astype(np.float32),
    )


TARGET_SEED = 2
"""Of the target network's weights: had it the online network's, mistaking one for the other would not be seen."""


def answers(loss: float, priorities: NDArray[np.float32], gradients: list[NDArray[Any]]) -> dict[str, list[float]]:
    """What to compare between libraries: the loss, the priorities, and the gradients of the first update.

    Args:
        loss: half the weighted mean square of the TD errors.
        priorities: float32[B].
        gradients: one an array of `Weights`, in its order and layout.

    Returns:
        By name; of each gradient its products with eight fixed random directions, as long as itself: any difference
        shows in them, and they are few.
    """
    said = {"loss": [float(loss)], "priorities": np.asarray(priorities, np.float64).tolist()}
    for place, gradient in enumerate(gradients):
        directions = np.random.default_rng([place, gradient.size]).standard_normal((8, gradient.size))
        said[f"gradient {place}"] = (directions @ gradient.reshape(-1).astype(np.float64)).tolist()
    return said
