"""Weights on disk: what is written is read, also elsewhere, and what is not whole is refused. Law 16: no pickle."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from gymnasium import spaces
from random_sequences import CORES, random_network, randomize

from r2d2.network import RecurrentQNetwork
from r2d2.weights import load_weights, save_weights


def arrays_of(network: Any) -> list[np.ndarray]:
    return [np.array(variable) for variable in network.weights]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for array, expected_array in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array)


@pytest.fixture
def network() -> RecurrentQNetwork:
    return random_network(0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights of another network of the same make as ``network``."""
    path = tmp_path / "weights.npz"
    save_weights(path, random_network(1))
    return path


def rewrite(path: Path, **changes: Any) -> None:
    """Replace, add or (None) remove arrays of the archive."""
    with np.load(path) as archive:
        arrays: dict[str, Any] = dict(archive)
    for name, value in changes.items():
        arrays[name] = value
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def names_in(path: Path) -> list[str]:
    with np.load(path) as archive:
        return [name for name in archive.files if name != "format"]


class TestRoundTrip:
    @pytest.mark.parametrize("core", list(CORES))
    def test_gives_the_same_weights(self, core: str, tmp_path: Path) -> None:
        one, other = random_network(1, **CORES[core]()), random_network(2, **CORES[core]())
        one.reward_scale.assign(0.25)
        save_weights(tmp_path / "weights.npz", one)
        load_weights(tmp_path / "weights.npz", other)
        assert_equal(arrays_of(other), arrays_of(one))
        assert float(other.reward_scale.numpy()) == 0.25

    def test_in_another_process_whose_layers_are_numbered_otherwise(self, tmp_path: Path) -> None:
        """There, other layers of the same kinds are made first: Keras then numbers those of the network anew."""
        script = """
import sys, keras, numpy as np
from random_sequences import CORES, random_network
from r2d2.weights import load_weights
from gymnasium import spaces
for _ in range(11):
    keras.layers.LSTM(3), keras.layers.GRU(3), keras.layers.Dense(3), keras.layers.Conv2D(3, 3)
network = random_network(7, spaces.Box(0, 255, (8, 8, 3), np.uint8), **CORES["lstm_then_gru"]())
load_weights(sys.argv[1], network)
sys.stdout.buffer.write(b"".join(np.array(v).tobytes() for v in network.weights))
"""
        network = random_network(1, spaces.Box(0, 255, (8, 8, 3), np.uint8), **CORES["lstm_then_gru"]())
        save_weights(tmp_path / "weights.npz", network)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "weights.npz")],
            capture_output=True,
            check=True,
            env=environment,
            timeout=240,
        )
        assert run.stdout == b"".join(array.tobytes() for array in arrays_of(network))

    def test_works_for_any_keras_model(self, tmp_path: Path) -> None:
        def make() -> Any:
            return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])

        one, other = make(), make()
        save_weights(tmp_path / "weights.npz", one)
        load_weights(tmp_path / "weights.npz", other)
        assert_equal(arrays_of(other), arrays_of(one))


class TestSaving:
    def test_makes_the_folder_and_leaves_nothing_else_in_it(self, network: RecurrentQNetwork, tmp_path: Path) -> None:
        save_weights(tmp_path / "a" / "b" / "weights.npz", network)
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["weights.npz"]

    def test_replaces_the_file_that_was_there(self, network: RecurrentQNetwork, saved: Path) -> None:
        save_weights(saved, network)
        other = random_network(2)
        load_weights(saved, other)
        assert_equal(arrays_of(other), arrays_of(network))

    def test_that_fails_leaves_the_file_that_was_there(
        self, network: RecurrentQNetwork, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = saved.read_bytes()

        def half(file: Any, **arrays: Any) -> None:
            file.write(b"half of it")
            raise OSError("no space left on device")

        monkeypatch.setattr(np, "savez", half)
        with pytest.raises(OSError, match="no space left"):
            save_weights(saved, network)
        assert saved.read_bytes() == before


class TestRefuses:
    """Each with its message, and the network stays what it was."""

    def refused(self, path: Path, network: Any, said: str, error: type[Exception] = ValueError) -> None:
        before = arrays_of(network)
        with pytest.raises(error, match=said):
            load_weights(path, network)
        assert_equal(arrays_of(network), before)

    def test_no_file(self, network: RecurrentQNetwork, tmp_path: Path) -> None:
        self.refused(tmp_path / "none.npz", network, r"no weights at .*none\.npz", FileNotFoundError)
        self.refused(tmp_path, network, "no weights at", FileNotFoundError)

    @pytest.mark.parametrize("kept", [0.0, 0.0005, 0.01, 0.5, 0.9, 0.999])
    def test_a_truncated_file(self, network: RecurrentQNetwork, saved: Path, kept: float) -> None:
        whole = saved.read_bytes()
        saved.write_bytes(whole[: int(kept * len(whole))])
        self.refused(saved, network, r"weights\.npz is not a whole file of weights")

    def test_any_damaged_byte(self, network: RecurrentQNetwork, saved: Path) -> None:
        """Wherever a byte is flipped, loading refuses, or the byte was one that nobody reads (a date, a permission)."""
        whole, before = saved.read_bytes(), arrays_of(network)
        expected = arrays_of(random_network(1))
        rng, refused = np.random.default_rng(0), 0
        for place in rng.choice(len(whole), 300, replace=False).tolist():
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            saved.write_bytes(damaged)
            try:
                load_weights(saved, network)
            except ValueError:
                refused += 1
                assert_equal(arrays_of(network), before)
            else:
                assert_equal(arrays_of(network), expected)
                for variable, array in zip(network.weights, before, strict=True):
                    variable.assign(array)
        assert refused > 200

    @pytest.mark.parametrize(
        "contents", [b"", b"weights?", pickle.dumps({"weights": 1}), b"PK\x03\x04" + bytes(50)], ids=len
    )
    def test_another_kind_of_file(self, network: RecurrentQNetwork, saved: Path, contents: bytes) -> None:
        saved.write_bytes(contents)
        self.refused(saved, network, "is not a whole file of weights")

    def test_a_single_array(self, network: RecurrentQNetwork, saved: Path) -> None:
        with saved.open("wb") as file:
            np.save(file, np.zeros(3))
        self.refused(saved, network, "is not a whole file of weights")

    @pytest.mark.parametrize("format_of", [None, np.array("r2d2-weights-0"), np.array(3.0)], ids=str)
    def test_another_format(self, network: RecurrentQNetwork, saved: Path, format_of: Any) -> None:
        rewrite(saved, format=format_of)
        self.refused(saved, network, r"is not a file of weights of this software \(r2d2-weights-1\)")

    @pytest.mark.parametrize(
        "options",
        [
            {"core": "gru"},
            {"core": "lstm", "core_units": (6, 5)},
            {"dueling": False},
            {"head_units": 5},
        ],
        ids=str,
    )
    def test_weights_of_a_network_with_other_layers(self, saved: Path, options: dict[str, Any]) -> None:
        self.refused(saved, random_network(2, **options), "is of another network: .* on one side only")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"core_units": (7,)}, r"lstm_cell/kernel is float32\[13, 24\], must be float32\[13, 28\]"),
            ({"torso_units": 9}, r"dense/kernel is float32\[3, 8\], must be float32\[3, 9\]"),
            ({"read_previous_reward": False}, r"kernel is float32\[13, 24\], must be float32\[12, 24\]"),
            ({"observation_space": spaces.Discrete(5)}, r"dense/kernel is float32\[3, 8\], must be float32\[5, 8\]"),
        ],
    )
    def test_weights_of_a_network_of_other_sizes(self, saved: Path, options: dict[str, Any], said: str) -> None:
        self.refused(saved, random_network(2, **options), said)

    def test_an_array_missing_or_too_many(self, network: RecurrentQNetwork, saved: Path) -> None:
        name = names_in(saved)[3]
        with np.load(saved) as archive:
            array = archive[name]
        rewrite(saved, **{name: None})
        self.refused(saved, network, f"is of another network: {name} on one side only")
        rewrite(saved, **{name: array, "more": array})
        self.refused(saved, network, "is of another network: more on one side only")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite(self, network: RecurrentQNetwork, saved: Path, value: float) -> None:
        name = names_in(saved)[-1]  # the last one: those before it must not have been assigned
        rewrite(saved, **{name: np.full(1, value, np.float32)})
        self.refused(saved, network, f"{name} must be finite")

    @pytest.mark.parametrize("dtype", ["float64", "int32", "complex64", "U1", "bool"])
    def test_another_dtype(self, network: RecurrentQNetwork, saved: Path, dtype: str) -> None:
        name = names_in(saved)[-1]
        rewrite(saved, **{name: np.zeros(1, dtype)})
        self.refused(saved, network, rf"{name} is .*\[1\], must be float32\[1\]")

    def test_code(self, network: RecurrentQNetwork, saved: Path, tmp_path: Path) -> None:
        """Law 16: an array of objects would run what it was pickled with."""
        mark = tmp_path / "was_run"

        class Harm:
            def __reduce__(self) -> Any:
                return Path.touch, (mark,)

        rewrite(saved, **{names_in(saved)[-1]: np.array([Harm()], dtype=object)})
        self.refused(saved, network, "is not a whole file of weights")
        saved.write_bytes(pickle.dumps(Harm()))
        self.refused(saved, network, "is not a whole file of weights")
        assert not mark.exists()


def test_randomised_networks_differ() -> None:
    """Or a round trip would show nothing."""
    one, other = random_network(1), random_network(2)
    assert all(np.any(a != b) for a, b in zip(arrays_of(one)[1:], arrays_of(other)[1:], strict=True))
    randomize(other, 1)
    assert_equal(arrays_of(other), arrays_of(one))
