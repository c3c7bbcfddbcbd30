"""results.json: strict JSON with every seed's figures, whole or as it was before."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from experiment_examples import accuracy, all_runs

from agents.experiments.record import write_record


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def load(file):
    return json.loads(file.read_text(), parse_constant=refuse)


def test_the_record_holds_settings_versions_and_every_seed(tmp_path):
    file = write_record(tmp_path, all_runs(), {"seeds": (0, 1), "out_dir": Path("here"), "epochs": None})
    assert file == tmp_path / "results.json"
    record = load(file)
    assert record["settings"] == {"seeds": [0, 1], "out_dir": "here", "epochs": None}
    assert record["versions"]["keras"] == keras.__version__
    assert record["versions"]["numpy"] == np.__version__
    assert set(record["versions"]) == {"python", "tensorflow", "keras", "numpy"}
    assert (record["seconds"], record["interrupted"]) == (12.5, False)
    accuracies, cases, times = record["experiments"]
    assert accuracies["name"] == "one-letter"
    assert accuracies["seeds"] == [0, 1]
    assert accuracies["seconds"] == [1.25, 1.25]
    assert accuracies["figures"][1] == {
        "model": "dense",
        "measure": "in a loop",
        "unit": "%",
        "published": 4,
        "mean": 82.0,
        "lowest": 76.0,
        "highest": 88.0,
        "differs": True,
        "each_seed": [76.0, 88.0],
    }
    assert cases["checks"] == {"3 equals 1": [True, True], "4 differs": [True, False]}
    assert cases["details"] == [{"probability": "0.025"}, {"probability": "0.125"}]
    assert times["figures"][0]["median"] == 80.0
    assert times["figures"][0]["each_seed"] == [[80.0, 71.0, 90.0]]


def test_numbers_of_numpy_are_numbers_and_those_not_finite_are_null(tmp_path):
    odd = accuracy((np.float32(0.5), float("nan"), np.float64(2.0), float("inf")))
    record = load(write_record(tmp_path, all_runs(interrupted=True)._replace(results=[odd]), {}))
    assert [figure["each_seed"] for figure in record["experiments"][0]["figures"]] == [[0.5], [None], [2.0], [None]]
    assert record["interrupted"] is True


def test_what_cannot_be_written_leaves_the_old_record(tmp_path):
    file = write_record(tmp_path, all_runs(), {"seeds": (0, 1)})
    before = file.read_text()
    with pytest.raises(TypeError):
        write_record(tmp_path, all_runs(), {"seeds": object()})
    assert file.read_text() == before
    write_record(tmp_path, all_runs(), {"seeds": (2,)})
    assert load(file)["settings"] == {"seeds": [2]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
