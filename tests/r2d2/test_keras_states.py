"""States of a Keras model's stateful layers can be read, written, reset, copied and kept, by row, and warmed up."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from r2d2.keras_states import copy_states, keep_states, read_states, reset_states, take_rows, warm_up, write_states

BATCH, FEATURES = 3, 2


def model_of(*parts, batch=BATCH):
    return keras.Sequential([keras.Input(batch_shape=(batch, None, FEATURES)), *parts, layers.Dense(2)])


def lstm_model(batch=BATCH, name="memory"):
    return model_of(layers.LSTM(4, stateful=True, return_sequences=True, name=name), batch=batch)


def functional_model(batch=BATCH):
    steps = keras.Input(batch_shape=(batch, None, FEATURES))
    one = layers.GRU(3, stateful=True, return_sequences=True, name="left")(steps)
    other = layers.SimpleRNN(4, stateful=True, return_sequences=True, name="right")(steps)
    return keras.Model(steps, layers.Dense(2)(layers.Concatenate()([one, other])))


def nested_model(batch=BATCH):
    return model_of(
        keras.Sequential([layers.LSTM(4, stateful=True, return_sequences=True, name="memory")]),
        layers.LSTM(5, stateful=True, return_sequences=True, name="memory"),
        batch=batch,
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.cores = [layers.GRU(3, stateful=True, return_sequences=True) for _ in range(2)]
        self.named = {"head": keras.Sequential([layers.LSTM(4, stateful=True, return_sequences=True)])}

    def call(self, steps):
        for core in self.cores:
            steps = core(steps)
        return self.named["head"](steps)


def subclassed_model(batch=BATCH):
    model = Subclassed()
    model(np.zeros((batch, 1, FEATURES), np.float32))
    reset_states(model)
    return model


def stacked_cells(batch=BATCH):
    cells = [layers.LSTMCell(4), layers.GRUCell(5), layers.SimpleRNNCell(3)]
    return model_of(layers.RNN(cells, stateful=True, return_sequences=True), batch=batch)


def one_cell(batch=BATCH):
    return model_of(layers.RNN(layers.GRUCell(5), stateful=True, return_sequences=True), batch=batch)


def bidirectional(batch=BATCH):
    return model_of(
        layers.Bidirectional(layers.LSTM(3, stateful=True, return_sequences=True)),
        batch=batch,
    )


def conv_lstm(batch=BATCH):
    return model_of(
        layers.Reshape((-1, FEATURES, 1)),
        layers.ConvLSTM1D(2, 1, stateful=True, return_sequences=True),
        layers.TimeDistributed(layers.Flatten()),
        batch=batch,
    )


CAUSAL = [lstm_model, functional_model, nested_model, subclassed_model, stacked_cells, one_cell, conv_lstm]
MODELS = [*CAUSAL, bidirectional]


def steps(number, seed=0, batch=BATCH):
    return np.random.default_rng(seed).normal(size=(batch, number, FEATURES)).astype(np.float32)


def parts_of(states):
    return [part for parts in states.values() for part in parts]


def assert_same(states, others, rows=slice(None)):
    assert list(states) == list(others)
    for part, other in zip(parts_of(states), parts_of(others), strict=True):
        np.testing.assert_array_equal(part[rows], other[rows])


def assert_close(states, others):
    for part, other in zip(parts_of(states), parts_of(others), strict=True):
        np.testing.assert_allclose(part, other, atol=1e-6)


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
            (lambda: lstm_model(batch=2), [0, 1, 2], r"has shape \(3, 4\), must be \(2, 4\)"),
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
