"""Weights of a network on disk: arrays by name in a NumPy archive, nothing that could run code when loaded."""

from pathlib import Path
from typing import Any

from r2d2.archive import assign_all, read_archive, write_archive

FORMAT = "r2d2-weights-1"


def save_weights(path: Path | str, network: Any) -> None:
    """Write all weights of a Keras model, so that ``path`` holds either the old file or the new one, whole."""
    write_archive(path, FORMAT, named_weights(network))


def load_weights(path: Path | str, network: Any) -> None:
    """Give the network the weights that `save_weights` wrote of one of the same make.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file of weights, or of another network; the network is unchanged then.
    """
    assign_all(path, read_archive(path, FORMAT), named_weights(network))


def named_weights(network: Any) -> dict[str, Any]:
    """Weights by position and path: Keras numbers layer names anew in every process, so their numbers are left out."""
    return {
        f"{i:03d}/{'/'.join(without_number(part) for part in variable.path.split('/'))}": variable
        for i, variable in enumerate(network.weights)
    }


def without_number(name: str) -> str:
    """``lstm`` for ``lstm_3``."""
    return name.rstrip("0123456789_")
