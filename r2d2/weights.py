"""Weights of a network on disk: arrays by name in a NumPy archive, nothing that could run code when loaded."""

import os
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "r2d2-weights-1"


def save_weights(path: Path | str, network: Any) -> None:
    """Write all weights of a Keras model, so that ``path`` holds either the old file or the new one, whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: np.asarray(variable) for name, variable in _named(network).items()}
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(file, format=np.array(FORMAT), **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_weights(path: Path | str, network: Any) -> None:
    """Give the network the weights that `save_weights` wrote of one of the same make.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file of weights, or of another network; the network is unchanged then.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # what a damaged archive makes zipfile and NumPy raise has many types
        raise ValueError(f"{path} is not a whole file of weights: {error}") from error
    if str(arrays.pop("format", "")) != FORMAT:
        raise ValueError(f"{path} is not a file of weights of this software ({FORMAT})")
    variables = _named(network)
    if set(arrays) != set(variables):
        differing = sorted(set(arrays) ^ set(variables))
        raise ValueError(f"{path} is of another network: {', '.join(differing[:4])} on one side only")
    for name, variable in variables.items():
        found, shape = arrays[name], tuple(variable.shape)
        if found.shape != shape or found.dtype != variable.dtype:
            raise ValueError(
                f"{path}: {name} is {found.dtype}{list(found.shape)}, must be {variable.dtype}{list(shape)}"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"{path}: {name} must be finite; it holds NaN or infinity")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _named(network: Any) -> dict[str, Any]:
    """Weights by position and path: Keras numbers layer names anew in every process, so their numbers are left out."""
    return {
        f"{i:03d}/{'/'.join(part.rstrip('0123456789_') for part in variable.path.split('/'))}": variable
        for i, variable in enumerate(network.weights)
    }
