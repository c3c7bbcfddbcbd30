"""States of a Keras model's stateful layers can be read, restored, reset by row, and warmed up."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from r2d2.keras_states import read_states, reset_states, warm_up, write_states

BATCH, FEATURES = 3, 2


def model_of(*layers):
    return keras.Sequential([keras.Input(batch_shape=(BATCH, None, FEATURES)), *layers, keras.layers.Dense(2)])


def lstm_model():
    return model_of(keras.layers.LSTM(4, stateful=True, return_sequences=True, name="memory"))


def steps(number, seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, number, FEATURES)).astype(np.float32)


def test_states_start_at_zero_and_are_those_after_the_last_call():
    model, played = lstm_model(), steps(5)
    assert not any(part.any() for part in read_states(model)["memory"])
    model(played)
    free = keras.layers.LSTM(4, return_state=True)
    free(played)
    free.set_weights(model.layers[0].get_weights())
    _, hidden, cell = free(played)
    np.testing.assert_allclose(read_states(model)["memory"][0], hidden, atol=1e-6)
    np.testing.assert_allclose(read_states(model)["memory"][1], cell, atol=1e-6)


def test_a_restored_model_repeats_itself_bit_for_bit():
    model = model_of(
        keras.layers.Bidirectional(keras.layers.GRU(3, stateful=True, return_sequences=True)),
        keras.layers.RNN([keras.layers.LSTMCell(4), keras.layers.LSTMCell(5)], stateful=True, return_sequences=True),
        keras.layers.SimpleRNN(4, stateful=True),
    )
    model(steps(4))
    saved = read_states(model)
    once = model(steps(3, seed=1)).numpy()
    assert not np.array_equal(model(steps(3, seed=1)), once)
    write_states(model, saved)
    np.testing.assert_array_equal(model(steps(3, seed=1)), once)


def test_nested_layers_are_found_and_equal_names_kept_apart():
    inner = model_of(keras.layers.LSTM(4, stateful=True, return_sequences=True, name="memory"))
    outer = keras.Sequential([inner, keras.layers.LSTM(5, stateful=True, name="memory")])
    outer(steps(2))
    assert {name: parts[0].shape for name, parts in read_states(outer).items()} == {
        "memory": (BATCH, 4),
        "memory:2": (BATCH, 5),
    }


def test_only_the_chosen_rows_are_reset():
    model = lstm_model()
    model(steps(4))
    before = read_states(model)["memory"]
    reset_states(model, [False, True, False])
    for old, new in zip(before, read_states(model)["memory"], strict=True):
        np.testing.assert_array_equal(new[[0, 2]], old[[0, 2]])
        assert not new[1].any()
    reset_states(model)
    assert not any(part.any() for part in read_states(model)["memory"])


def test_written_states_are_seen_by_a_function_compiled_before():
    model = lstm_model()
    compiled = tf.function(lambda x: model(x))
    zero = read_states(model)
    first = compiled(steps(3)).numpy()
    write_states(model, zero)
    np.testing.assert_array_equal(compiled(steps(3)), first)


def test_warming_up_in_pieces_or_at_once_leads_to_the_same_state():
    model, prefix = lstm_model(), steps(6)
    warm_up(model, prefix)
    at_once = read_states(model)["memory"]
    reset_states(model)
    for piece in (prefix[:, :1], prefix[:, 1:4], prefix[:, 4:]):
        warm_up(model, piece)
    for a, b in zip(at_once, read_states(model)["memory"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_gradient_stops_at_the_end_of_the_prefix():
    model, prefix, remainder = lstm_model(), tf.constant(steps(4)), tf.constant(steps(3, seed=1))
    with tf.GradientTape() as tape:
        tape.watch([prefix, remainder])
        warm_up(model, prefix)
        loss = tf.reduce_sum(model(remainder) ** 2)
    warm = tape.gradient(loss, [prefix, remainder, *model.trainable_variables])
    assert warm[0] is None
    assert np.abs(warm[1]).max() > 0

    reset_states(model)
    model(prefix)
    with tf.GradientTape() as tape:  # the same states, handed over as they are
        loss = tf.reduce_sum(model(remainder) ** 2)
    for a, b in zip(warm[2:], tape.gradient(loss, model.trainable_variables), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, r"states are of layers \[\]"),
        (lambda s: {"other": s["memory"]}, r"states are of layers \['other'\]"),
        (lambda s: {"memory": s["memory"][:1]}, r"states\['memory'\] has 1 parts, the layer has 2"),
        (
            lambda s: {"memory": (s["memory"][0], s["memory"][1][:2])},
            r"\[1\] has shape \(2, 4\), must be \(3, 4\); a st",
        ),
        (lambda s: {"memory": (s["memory"][0], s["memory"][1].astype(float))}, r"\[1\] has dtype float64, must be fl"),
        (lambda s: {"memory": (s["memory"][0], s["memory"][1] * np.nan)}, r"\[1\] must be finite"),
    ],
)
def test_a_wrong_state_is_refused_by_name_and_nothing_is_written(change, message):
    model = lstm_model()
    model(steps(3))
    before = read_states(model)
    wrong = change({"memory": tuple(part + 1 for part in before["memory"])})
    with pytest.raises(ValueError, match=message):
        write_states(model, wrong)
    for old, new in zip(before["memory"], read_states(model)["memory"], strict=True):
        np.testing.assert_array_equal(old, new)


def test_rows_to_reset_must_be_bools_of_the_batch():
    model = lstm_model()
    with pytest.raises(ValueError, match=r"rows is int64\[1\], must be bool\[3\]"):
        reset_states(model, [1])


def test_a_model_without_stateful_layers_is_told_so():
    with pytest.raises(ValueError, match="has no layer with stateful=True"):
        read_states(model_of(keras.layers.LSTM(4)))
