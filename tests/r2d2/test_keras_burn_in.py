"""States of a Keras model can be copied, kept, and burnt in, also in traced functions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from stateful_models import (
    BATCH,
    CAUSAL,
    FEATURES,
    MODELS,
    assert_close,
    assert_same,
    bidirectional,
    lstm_model,
    model_of,
    nested_model,
    parts_of,
    stacked_cells,
    steps,
)

from r2d2.keras_states import copy_states, keep_states, read_states, reset_states, take_rows, warm_up, write_states


class TestCopying:
    @pytest.mark.parametrize("make", MODELS)
    def test_a_model_of_the_same_make_goes_on_as_the_source_would(self, make):
        source, target = make(), make()  # Keras gives the second one's layers other names
        target.set_weights(source.get_weights())
        source(steps(4))
        copy_states(source, target)
        np.testing.assert_array_equal(target(steps(2, seed=1)), source(steps(2, seed=1)))

    @settings(max_examples=10)
    @given(rows=st.lists(st.integers(0, BATCH - 1), min_size=1, max_size=5))
    def test_rows_are_selected_and_repeated_for_another_batch_size(self, rows):
        source, target = lstm_model(), lstm_model(batch=len(rows), name="other")
        target.set_weights(source.get_weights())
        source(steps(4))
        before = read_states(source)
        copy_states(source, target, rows)
        assert_same(read_states(source), before)
        whole = source(steps(2, seed=1)).numpy()
        np.testing.assert_allclose(target(steps(2, seed=1)[rows]), whole[rows], atol=1e-6)

    @pytest.mark.parametrize(
        ("target", "rows", "message"),
        [
            (lambda: lstm_model(batch=2), None, "has batch size 3, target layer 'memory' 2: say with rows="),
            (lambda: lstm_model(batch=2), [0, 1, 2], "rows names 3 rows, target layer 'memory' has batch size 2"),
            (lambda: lstm_model(batch=2), [0, 3], r"rows=\[0, 3\] must be from 0 to 2"),
            (nested_model, None, r"source has stateful layers \['memory'\], target \['memory', 'memory:2'\]"),
            (
                lambda: model_of(layers.GRU(4, stateful=True, name="gru")),
                None,
                r"source layer 'memory' has states of shape \[\(4,\), \(4,\)\] per row, target layer 'gru' \[\(4,\)\]",
            ),
        ],
    )
    def test_layers_that_do_not_match_are_refused_and_nothing_is_copied(self, target, rows, message):
        source, target = lstm_model(), target()
        source(steps(3))
        with pytest.raises(ValueError, match=message):
            copy_states(source, target, rows)
        assert not any(part.any() for part in parts_of(read_states(target)))


class Parts(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, steps):
        for part in self.parts:
            steps = part(steps)
        return steps


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("other", ["nested", "nested twice", "subclassed", "bidirectional"])
def test_states_find_their_layer_however_the_models_are_nested(other, named):
    def memories(make=layers.LSTM):
        names = ("first", "second", "third") if named else (None,) * 3
        return [make(FEATURES, stateful=True, return_sequences=True, name=name) for name in names]

    def both_ways(units, stateful, return_sequences, name):
        layer = layers.LSTM(units, stateful=stateful, return_sequences=return_sequences)
        return layers.Bidirectional(layer, name=name, merge_mode="sum")

    def nested():
        one, *others = memories()
        inner = keras.Sequential(others)
        return keras.Sequential([keras.Input(batch_shape=(BATCH, None, FEATURES)), one, inner])

    def nested_twice():
        one, two, three = memories()
        inner = keras.Sequential([keras.Sequential([one, two]), three])
        return keras.Sequential([keras.Input(batch_shape=(BATCH, None, FEATURES)), inner])

    def flat(make=layers.LSTM):
        return keras.Sequential([keras.Input(batch_shape=(BATCH, None, FEATURES)), *memories(make)])

    def subclassed():
        one, *others = memories()
        model = Parts([one, keras.Sequential(others)])
        model(steps(1))
        reset_states(model)
        return model

    targets = {"nested": nested, "nested twice": nested_twice, "subclassed": subclassed}
    source = flat(both_ways) if other == "bidirectional" else flat()
    target = flat(both_ways) if other == "bidirectional" else targets[other]()
    target.set_weights(source.get_weights())
    source(steps(4))
    copy_states(source, target)
    np.testing.assert_array_equal(target(steps(2, seed=1)), source(steps(2, seed=1)))


class TestKeeping:
    def test_states_are_afterwards_as_they_were(self):
        model = stacked_cells()
        model(steps(3))
        before = read_states(model)
        with keep_states(model):
            first = model(steps(2, seed=1)).numpy()
            assert not np.array_equal(parts_of(read_states(model))[0], parts_of(before)[0])
        assert_same(read_states(model), before)
        np.testing.assert_array_equal(model(steps(2, seed=1)), first)

    def test_also_after_an_error(self):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)

        def fail_inside():
            with keep_states(model):
                model(steps(2))
                raise KeyError

        with pytest.raises(KeyError):
            fail_inside()
        assert_same(read_states(model), before)

    def test_predict_inside_it_leaves_no_trace(self):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)
        with keep_states(model):
            model.predict(steps(2), batch_size=BATCH, verbose=0)
        assert_same(read_states(model), before)


class TestInsideATracedFunction:
    def test_restore_burn_in_and_train_in_one_function(self):
        model, stored, played = lstm_model(), {"memory": (tf.ones((BATCH, 4)), tf.ones((BATCH, 4)) / 2)}, steps(6)

        def gradients(states, sequence):
            write_states(model, states)
            warm_up(model, sequence[:, :2])
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(sequence[:, 2:]) ** 2)
            return tape.gradient(loss, model.trainable_variables)

        eager = gradients(stored, tf.constant(played))
        after = read_states(model)
        traced = tf.function(gradients)
        for _ in range(2):
            for a, b in zip(traced(stored, tf.constant(played)), eager, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert_close(read_states(model), after)

    def test_reading_gives_the_values_at_that_point(self):
        model = lstm_model()

        @tf.function
        def read_around(sequence):
            before = read_states(model)
            model(sequence)
            return before, read_states(model)

        model(steps(2))
        outside = read_states(model)
        before, after = read_around(steps(3, seed=1))
        assert_same({"memory": before["memory"]}, outside)
        assert_same({"memory": after["memory"]}, read_states(model))

    def test_copying_keeping_and_resetting_by_row(self):
        model, twin = lstm_model(), lstm_model(name="twin")

        @tf.function
        def work(sequence, rows):
            with keep_states(model):
                model(sequence)
            copy_states(model, twin, [2, 0, 0])
            reset_states(model, rows)

        model(steps(3))
        before = read_states(model)
        work(steps(2, seed=1), tf.constant([False, True, False]))
        assert_same(read_states(model), before, [0, 2])
        assert not any(part[1].any() for part in parts_of(read_states(model)))
        assert_same({"memory": read_states(twin)["twin"]}, take_rows(before, [2, 0, 0]))

    def test_a_state_that_is_not_finite_is_refused_when_the_function_runs(self):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)
        write = tf.function(lambda hidden, cell: write_states(model, {"memory": (hidden, cell)}))
        good, bad = tf.ones((BATCH, 4)), tf.fill((BATCH, 4), np.float32("nan"))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"states\['memory'\]\[1\] must be finite"):
            write(good, bad)
        assert_same(read_states(model), before)
        write(good, good)
        assert float(read_states(model)["memory"][0].mean()) == 1

    def test_with_jit_compile_a_state_that_is_not_finite_changes_nothing(self):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)
        write = tf.function(lambda hidden, cell: write_states(model, {"memory": (hidden, cell)}), jit_compile=True)
        good, bad = tf.ones((BATCH, 4)), tf.fill((BATCH, 4), np.float32("nan"))
        write(good, bad)
        assert_same(read_states(model), before)
        write(good, good)
        assert float(read_states(model)["memory"][0].mean()) == 1

    @pytest.mark.parametrize("make", CAUSAL)
    @pytest.mark.parametrize("lengths", [[4, 0, 2], [0, 0, 0], [5, 5, 5]])
    def test_burn_in_with_lengths_and_time_that_only_the_run_knows(self, make, lengths):
        model, prefix, moved = make(), steps(5, seed=2), steps(2)
        model(moved)
        start = read_states(model)
        warm_up(model, prefix, lengths)
        expected = read_states(model)
        as_tensors = tf.function(
            lambda sequence, ends: warm_up(model, sequence, ends),
            input_signature=[tf.TensorSpec([BATCH, None, FEATURES]), tf.TensorSpec([BATCH], tf.int32)],
        )
        as_numbers = tf.function(
            lambda sequence: warm_up(model, sequence, lengths),
            input_signature=[tf.TensorSpec([BATCH, None, FEATURES])],
        )
        for run in (lambda: as_tensors(prefix, lengths), lambda: as_numbers(prefix)):
            write_states(model, start)
            run()
            assert_close(read_states(model), expected)

    def test_burn_in_over_a_time_that_only_the_run_knows(self):
        model, prefix = lstm_model(), steps(4)
        run = tf.function(
            lambda sequence: warm_up(model, sequence), input_signature=[tf.TensorSpec([BATCH, None, FEATURES])]
        )
        run(prefix[:, :0])
        assert not any(part.any() for part in parts_of(read_states(model)))
        run(prefix)
        once = read_states(model)
        reset_states(model)
        warm_up(model, prefix)
        assert_close(read_states(model), once)

    @pytest.mark.parametrize("ends", [tf.constant([1.0, 2.0, 0.0]), tf.constant([1, 2])])
    def test_lengths_of_another_form_are_refused_when_traced(self, ends):
        model = lstm_model()
        with pytest.raises(ValueError, match=r"lengths is .*, must be 3 whole numbers"):
            tf.function(lambda lengths: warm_up(model, steps(3), lengths))(ends)


class TestBurnIn:
    @settings(max_examples=15)
    @given(cuts=st.sets(st.integers(1, 5), max_size=4), make=st.sampled_from(CAUSAL))
    def test_in_pieces_or_at_once_it_leads_to_the_same_state(self, cuts, make):
        model, prefix = make(), steps(6)
        warm_up(model, prefix)
        at_once = read_states(model)
        reset_states(model)
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 6], strict=True):
            warm_up(model, prefix[:, start:end])
        assert_close(read_states(model), at_once)

    @settings(max_examples=15)
    @given(lengths=st.lists(st.integers(0, 5), min_size=BATCH, max_size=BATCH), make=st.sampled_from(CAUSAL))
    def test_each_row_moves_on_over_its_own_steps_only(self, lengths, make):
        model, prefix = make(), steps(5, seed=2)
        for row, length in enumerate(lengths):
            prefix[row, length:] = np.nan  # padding of the worst kind
        model(steps(2))
        start = read_states(model)
        warm_up(model, prefix, lengths)
        found = read_states(model)
        for row, length in enumerate(lengths):
            write_states(model, start)
            if length:
                model(np.repeat(prefix[row : row + 1, :length], BATCH, axis=0))
            for part, alone in zip(parts_of(found), parts_of(read_states(model)), strict=True):
                np.testing.assert_allclose(part[row], alone[row], atol=1e-6)

    @pytest.mark.parametrize("lengths", [None, [0, 0, 0]])
    def test_no_steps_change_nothing(self, lengths):
        model = lstm_model()
        model(steps(3))
        before = read_states(model)
        warm_up(model, steps(0), lengths)
        assert_same(read_states(model), before)

    def test_the_gradient_stops_at_the_end_of_the_prefix(self):
        model, prefix, remainder = lstm_model(), tf.constant(steps(4)), tf.constant(steps(3, seed=1))
        stored = tuple(tf.ones((BATCH, 4)) for _ in range(2))
        with tf.GradientTape() as tape:
            tape.watch([prefix, remainder, *stored])
            write_states(model, {"memory": stored})
            warm_up(model, prefix)
            loss = tf.reduce_sum(model(remainder) ** 2)
        warm = tape.gradient(loss, [prefix, *stored, remainder, *model.trainable_variables])
        assert warm[:3] == [None, None, None]
        assert np.abs(warm[3]).max() > 0

        write_states(model, {"memory": stored})
        model(prefix)
        with tf.GradientTape() as tape:  # the same states, handed over as they are
            loss = tf.reduce_sum(model(remainder) ** 2)
        for a, b in zip(warm[4:], tape.gradient(loss, model.trainable_variables), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_dropout_is_off(self):
        model, prefix = model_of(layers.Dropout(0.5), layers.LSTM(4, stateful=True)), steps(5)
        warm_up(model, prefix)
        once = read_states(model)
        reset_states(model)
        warm_up(model, prefix)
        assert_same(read_states(model), once)

    @pytest.mark.parametrize("lengths", [[1, 2], [0, 1, 6], [-1, 0, 0], [1.0, 2.0, 3.0], 2])
    def test_lengths_must_be_whole_numbers_of_steps(self, lengths):
        model = lstm_model()
        with pytest.raises(ValueError, match=r"must be 3 whole numbers from 0 to 5"):
            warm_up(model, steps(5), lengths)
        assert not any(part.any() for part in parts_of(read_states(model)))

    def test_a_layer_that_reads_backwards_takes_only_equal_lengths(self):
        model = bidirectional()
        with pytest.raises(ValueError, match=r"lengths=\[1, 2, 3\] must be all the same: a layer of this model reads"):
            warm_up(model, steps(3), [1, 2, 3])
        warm_up(model, steps(3), [2, 2, 2])
        found = read_states(model)
        reset_states(model)
        model(steps(3)[:, :2])
        assert_same(read_states(model), found)
