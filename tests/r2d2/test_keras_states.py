"""States of a Keras model's stateful layers can be read, written and reset, all or by row."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from stateful_models import (
    BATCH,
    FEATURES,
    MODELS,
    assert_same,
    bidirectional,
    conv_lstm,
    functional_model,
    lstm_model,
    model_of,
    nested_model,
    one_cell,
    parts_of,
    stacked_cells,
    steps,
    subclassed_model,
)

from r2d2.keras_states import read_states, reset_states, take_rows, write_states


class TestReading:
    def test_states_start_at_zero_and_are_those_after_the_last_call(self):
        model, played = lstm_model(), steps(5)
        assert not any(part.any() for part in read_states(model)["memory"])
        model(played)
        free = layers.LSTM(4, return_state=True)
        free(played)
        free.set_weights(model.layers[0].get_weights())
        _, hidden, cell = free(played)
        np.testing.assert_allclose(read_states(model)["memory"][0], hidden, atol=1e-6)
        np.testing.assert_allclose(read_states(model)["memory"][1], cell, atol=1e-6)

    @pytest.mark.parametrize(
        ("make", "shapes"),
        [
            (lstm_model, {"memory": [(4,), (4,)]}),
            (functional_model, {"left": [(3,)], "right": [(4,)]}),
            (nested_model, {"memory": [(4,), (4,)], "memory:2": [(5,), (5,)]}),
            (one_cell, {"rnn": [(5,)]}),
            (stacked_cells, {"rnn": [(4,), (4,), (5,), (3,)]}),
            (bidirectional, {"forward_lstm": [(3,), (3,)], "backward_lstm": [(3,), (3,)]}),
            (conv_lstm, {"conv_lstm1d": [(2, 2), (2, 2)]}),
            (subclassed_model, {"gru": [(3,)], "gru_1": [(3,)], "lstm": [(4,), (4,)]}),
        ],
    )
    def test_every_stateful_layer_is_found_wherever_it_is(self, make, shapes):
        keras.backend.clear_session()  # layers are numbered from the start
        found = {name: [part.shape for part in parts] for name, parts in read_states(make()).items()}
        assert found == {name: [(BATCH, *shape) for shape in parts] for name, parts in shapes.items()}

    def test_what_was_read_does_not_change_with_the_model(self):
        model = lstm_model()
        model(steps(2))
        read = read_states(model)
        kept = {name: tuple(part.copy() for part in parts) for name, parts in read.items()}
        model(steps(2, seed=1))
        assert_same(read, kept)

    def test_a_single_layer_will_do(self):
        layer = layers.GRU(4, stateful=True)
        layer.build((BATCH, None, FEATURES))
        assert [part.shape for part in parts_of(read_states(layer))] == [(BATCH, 4)]

    def test_a_model_without_stateful_layers_is_told_so(self):
        with pytest.raises(ValueError, match="has no layer with stateful=True"):
            read_states(model_of(layers.LSTM(4)))

    @pytest.mark.parametrize("wrong", [None, "model", np.zeros(3)])
    def test_what_is_no_model_is_told_so(self, wrong):
        with pytest.raises(ValueError, match="must be a Keras model or layer"):
            read_states(wrong)

    def test_a_model_that_is_not_built_is_told_so(self):
        with pytest.raises(ValueError, match="layer 'memory' has no states yet: call the model once, or build it"):
            read_states(keras.Sequential([layers.LSTM(4, stateful=True, name="memory")]))


class TestWriting:
    @pytest.mark.parametrize("make", MODELS)
    def test_a_restored_model_repeats_itself_bit_for_bit(self, make):
        model = make()
        model(steps(4))
        saved = read_states(model)
        once = model(steps(3, seed=1)).numpy()
        assert not np.array_equal(model(steps(3, seed=1)), once)
        write_states(model, saved)
        assert_same(read_states(model), saved)
        np.testing.assert_array_equal(model(steps(3, seed=1)), once)

    @given(chosen=st.lists(st.booleans(), min_size=BATCH, max_size=BATCH))
    def test_only_the_chosen_rows_are_written(self, chosen):
        model = TestWriting.model
        before = read_states(model)
        given_states = {name: tuple(part + 1 for part in parts) for name, parts in before.items()}
        write_states(model, given_states, rows=chosen)
        for row in range(BATCH):
            assert_same(read_states(model), given_states if chosen[row] else before, row)
        reset_states(model, np.array(chosen))
        for row in range(BATCH):
            if chosen[row]:
                assert not any(part[row].any() for part in parts_of(read_states(model)))
            else:
                assert_same(read_states(model), before, row)

    model = stacked_cells()

    @pytest.mark.parametrize("make", MODELS)
    def test_a_reset_of_all_rows_is_a_new_start(self, make):
        model = make()
        once = model(steps(3)).numpy()
        reset_states(model)
        np.testing.assert_array_equal(model(steps(3)), once)

    def test_written_states_are_seen_by_a_function_compiled_before(self):
        model = lstm_model()
        compiled = tf.function(lambda x: model(x))
        zero = read_states(model)
        first = compiled(steps(3)).numpy()
        write_states(model, zero)
        np.testing.assert_array_equal(compiled(steps(3)), first)

    def test_tensors_may_be_written_too(self):
        model = lstm_model()
        model(steps(2))
        write_states(model, {"memory": tuple(tf.ones((BATCH, 4)) * value for value in (1, 2))}, tf.constant([True] * 3))
        assert [float(part.mean()) for part in read_states(model)["memory"]] == [1, 2]

    def test_a_layer_s_own_variables_may_be_written_to_another_model(self):
        model, twin = lstm_model(), lstm_model()
        model(steps(2))
        write_states(twin, {"memory": model.layers[0].states})
        assert_same(read_states(twin), read_states(model))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: None, "states is a NoneType, must hold the parts of each layer's state by its name"),
            (lambda s: {"memory": 5}, r"states\['memory'\] is a int, must be a tuple of arrays"),
            (lambda s: {"memory": s["memory"][0]}, r"states\['memory'\] is a ndarray, must be a tuple of arrays"),
            (lambda s: {}, r"states are of layers \[\]"),
            (lambda s: {"other": s["memory"]}, r"states are of layers \['other'\]"),
            (lambda s: {"memory": s["memory"][:1]}, r"states\['memory'\] has 1 parts, the layer has 2"),
            (
                lambda s: {"memory": (s["memory"][0], s["memory"][1][:2])},
                r"\[1\] has shape \(2, 4\), must be \(3, 4\); a st",
            ),
            (
                lambda s: {"memory": (s["memory"][0], s["memory"][1].astype(float))},
                r"\[1\] has dtype float64, must be fl",
            ),
            (lambda s: {"memory": (s["memory"][0], s["memory"][1] * np.nan)}, r"\[1\] must be finite"),
            (lambda s: {"memory": (s["memory"][0], tf.constant(s["memory"][1] * np.inf))}, r"\[1\] must be finite"),
        ],
    )
    def test_a_wrong_state_is_refused_by_name_and_nothing_is_written(self, change, message):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)
        wrong = change({"memory": tuple(part + 1 for part in before["memory"])})
        with pytest.raises(ValueError, match=message):
            write_states(model, wrong)
        assert_same(read_states(model), before)

    @pytest.mark.parametrize(
        ("rows", "found"),
        [
            ([1], r"int64\[1\]"),
            ([1, 0, 0], r"int64\[3\]"),
            ([True, False], r"bool\[2\]"),
            ([[True, False, True]], r"bool\[1, 3\]"),
        ],
    )
    def test_rows_to_change_must_be_bools_of_the_batch(self, rows, found):
        model = lstm_model()
        model(steps(2))
        before = read_states(model)
        for change in (lambda: reset_states(model, rows), lambda: write_states(model, before, rows)):
            with pytest.raises(ValueError, match=rf"rows is {found}, must be bool\[3\]"):
                change()
        assert_same(read_states(model), before)


class TestTakingRows:
    @given(rows=st.lists(st.integers(0, BATCH - 1), min_size=1, max_size=7))
    def test_each_row_is_the_one_named(self, rows):
        states = {"one": (np.arange(BATCH * 4).reshape(BATCH, 4), np.arange(BATCH)), "two": (np.ones((BATCH, 2, 5)),)}
        taken = take_rows(states, rows)
        for part, origin in zip(parts_of(taken), parts_of(states), strict=True):
            assert len(part) == len(rows)
            for new, old in enumerate(rows):
                np.testing.assert_array_equal(part[new], origin[old])

    def test_states_as_nested_lists_will_do(self):
        (part,) = take_rows({"one": ([[1, 2], [3, 4]],)}, [1, 1])["one"]
        assert part.tolist() == [[3, 4], [3, 4]]

    def test_one_row_in_every_row_makes_all_rows_go_on_as_that_one(self):
        model = lstm_model()
        model(steps(4))
        saved = read_states(model)
        same = np.repeat(steps(2, seed=1)[:1], BATCH, axis=0)
        of_row_1 = model(same).numpy()[1]
        write_states(model, take_rows(saved, [1] * BATCH))
        for row in model(same).numpy():  # a matrix product may round its last rows in another way
            np.testing.assert_allclose(row, of_row_1, atol=1e-6)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([0, 3], r"rows=\[0, 3\] must be from 0 to 2, the rows of states\['memory'\]\[0\]"),
            ([-1], r"rows=\[-1\] must be from 0 to 2"),
            ([], r"rows is float64\[0\], must be a list of numbers of rows"),
            (np.empty(0, int), r"rows is int64\[0\]"),
            ([True, False, True], r"rows is bool\[3\]"),
            ([0.0], r"rows is float64\[1\]"),
            (1, r"rows is int64\[\]"),
        ],
    )
    def test_rows_that_are_not_there_are_refused(self, rows, message):
        with pytest.raises(ValueError, match=message):
            take_rows(read_states(lstm_model()), rows)
