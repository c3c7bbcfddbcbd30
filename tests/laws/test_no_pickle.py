"""Law 16: nothing that is loaded from disk can run code."""

import ast
from pathlib import Path

import numpy as np
import pytest
from random_sequences import random_network

from r2d2.weights import FORMAT, load_weights, save_weights

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("r2d2", "agents", "envs", "scripts") for path in (ROOT / folder).rglob("*.py")]
CAN_RUN_CODE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def test_an_array_of_objects_among_weights_is_refused_and_its_code_never_runs(tmp_path):
    network = random_network(0)
    path, harm = tmp_path / "weights.npz", tmp_path / "harm"
    save_weights(path, network)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "format"}
    arrays[next(iter(arrays))] = np.array([Harm(harm)], dtype=object)
    np.savez(path, format=np.array(FORMAT), **arrays)
    with pytest.raises(ValueError, match="not a whole file of weights"):
        load_weights(path, network)
    assert not harm.exists()


def test_no_source_imports_what_unpickles():
    assert len(SOURCES) > 40
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not CAN_RUN_CODE & {name.split(".")[0] for name in names}, f"{path}:{node.lineno}"


def test_every_load_of_arrays_and_models_says_that_it_takes_no_objects():
    loads = 0
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert not called.endswith("load_model"), f"{path}:{node.lineno}"
            if called in ("np.load", "numpy.load"):
                loads += 1
                assert "allow_pickle=False" in ast.unparse(node), f"{path}:{node.lineno}"
    assert loads >= 1
