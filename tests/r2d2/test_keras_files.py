"""A model saved with its states goes on, elsewhere, as if it had never stopped."""

import keras
import numpy as np
import pytest
from keras import layers

from r2d2.keras_files import load_with_states, save_with_states
from r2d2.keras_states import read_states
from r2d2.weights import save_weights

BATCH, FEATURES = 3, 2


def make(batch=BATCH, units=4):
    return keras.Sequential(
        [
            keras.Input(batch_shape=(batch, None, FEATURES)),
            layers.BatchNormalization(),  # its moving averages are weights too
            layers.Bidirectional(layers.LSTM(units, stateful=True, return_sequences=True)),
            layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], stateful=True),
            layers.Dense(2),
        ]
    )


def steps(number, seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, number, FEATURES)).astype(np.float32)


def everything(model):
    return [*model.get_weights(), *(part for parts in read_states(model).values() for part in parts)]


@pytest.fixture
def saved(tmp_path):
    model = make()
    model(steps(4), training=True)
    save_with_states(tmp_path / "model.npz", model)
    return model, tmp_path / "model.npz"


def test_a_loaded_model_goes_on_bit_for_bit(saved):
    model, path = saved
    fresh = make()  # Keras gives its layers other names
    load_with_states(path, fresh)
    for a, b in zip(everything(fresh), everything(model), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(fresh(steps(3, seed=1)), model(steps(3, seed=1)))


def test_what_keras_saves_has_no_states(saved, tmp_path):
    """The reason why this module exists: should it fail one day, Keras does it by itself."""
    model, _ = saved
    model.save_weights(tmp_path / "keras.weights.h5")
    fresh = make()
    fresh.load_weights(tmp_path / "keras.weights.h5")
    assert not any(part.any() for parts in read_states(fresh).values() for part in parts)


def test_half_precision_survives(tmp_path):
    def bfloat16_model():
        return keras.Sequential(
            [
                keras.Input(batch_shape=(2, None, 2)),
                layers.LSTM(3, stateful=True, dtype="bfloat16", recurrent_initializer="zeros"),
            ]
        )

    model, fresh = bfloat16_model(), bfloat16_model()
    model(np.ones((2, 3, 2), np.float32))
    save_with_states(tmp_path / "model", model)
    load_with_states(tmp_path / "model", fresh)
    assert {part.dtype.name for part in everything(fresh)} == {"bfloat16"}
    for a, b in zip(everything(fresh), everything(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make(batch=2), r"states/\S+_lstm/0 is float32\[3, 4\], must be float32\[2, 4\]"),
        (lambda: make(units=5), r"kernel is float32\[2, 16\], must be float32\[2, 20\]"),
        (
            lambda: keras.Sequential([keras.Input(batch_shape=(3, None, 2)), layers.GRU(4, stateful=True)]),
            "is of another network: .* on one side only",
        ),
    ],
)
def test_another_model_is_refused_and_stays_as_it_is(saved, other, message):
    model = other()
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        load_with_states(saved[1], model)
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_finite_is_not_saved(saved):
    model, path = saved
    before = path.read_bytes()
    model(steps(1) * np.nan)
    with pytest.raises(ValueError, match=r"states/\S* must be finite to be saved"):
        save_with_states(path, model)
    assert path.read_bytes() == before


def test_what_is_not_finite_is_not_loaded(saved):
    _, path = saved
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays[next(name for name in arrays if name.startswith("states"))][0] = np.inf
    np.savez(path, **arrays)
    fresh = make()
    before = everything(fresh)
    with pytest.raises(ValueError, match=r"states/\S* must be finite"):
        load_with_states(path, fresh)
    for a, b in zip(everything(fresh), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_of_weights_alone_is_another_format(saved, tmp_path):
    save_weights(tmp_path / "weights", saved[0])
    with pytest.raises(ValueError, match=r"is not a file of weights .*r2d2-weights-and-states-1"):
        load_with_states(tmp_path / "weights", make())


def test_half_a_file_is_refused(saved):
    model, path = saved
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a whole file"):
        load_with_states(path, model)


def test_a_missing_file_and_a_model_without_states_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_with_states(tmp_path / "nowhere", make())
    with pytest.raises(ValueError, match="no layer with stateful=True"):
        save_with_states(tmp_path / "stateless", keras.Sequential([keras.Input((2, 2)), layers.LSTM(3)]))
    assert not (tmp_path / "stateless").exists()
