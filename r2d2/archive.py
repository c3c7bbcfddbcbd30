"""Files of named arrays: written whole or not at all, read without anything that could run code.

A NumPy archive with the name of its format inside. `assign_all` gives its arrays to variables, all or nothing.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_archive(path: Path | str, form: str, arrays: Mapping[str, Any]) -> None:
    """Write ``arrays``, so that ``path`` holds either the old file or the new one, whole.

    Args:
        path: the file; its folder is made.
        form: name and number of the format, which `read_archive` asks for.
        arrays: whatever `numpy.asarray` takes, by name. Dtypes that NumPy does not know by itself, such as bfloat16,
            are written as float32, which holds each of their values exactly.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    written: dict[str, Any] = {name: _native(np.asarray(array)) for name, array in arrays.items()}
    with partial.open("wb") as file:
        np.savez(file, format=np.array(form), **written)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_archive(path: Path | str, form: str) -> dict[str, NDArray[Any]]:
    """The arrays by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not of the format ``form``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # what a damaged archive makes zipfile and NumPy raise has many types
        raise ValueError(f"{path} is not a whole file of weights") from error
    if str(arrays.pop("format", "")) != form:
        raise ValueError(f"{path} is not a file of weights of this software ({form})")
    return arrays


def assign_all(path: Path | str, arrays: Mapping[str, NDArray[Any]], variables: Mapping[str, Any]) -> None:
    """Assign every array to the variable of its name.

    Raises:
        ValueError: names, shapes or dtypes differ, or a value is not finite; no variable has been changed then. The
            message names ``path``, where the arrays come from.
    """
    if set(arrays) != set(variables):
        differing = sorted(set(arrays) ^ set(variables))
        raise ValueError(f"{path} is of another network: {', '.join(differing[:4])} on one side only")
    for name, variable in variables.items():
        found, wanted = arrays[name], np.asarray(variable)
        if found.shape != wanted.shape or found.dtype != _native(wanted).dtype:
            raise ValueError(
                f"{path}: {name} is {found.dtype}{list(found.shape)}, must be {variable.dtype}{list(wanted.shape)}"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"{path}: {name} must be finite; it holds NaN or infinity")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isbuiltin == 1 or array.dtype.kind == "U" else array.astype(np.float32)
