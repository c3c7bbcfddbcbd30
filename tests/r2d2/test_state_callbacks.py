"""States set before each epoch or batch are those that the batch starts from, whatever happened to the model before.

Most models here add up: their state is the sum of all inputs read since it was set, and so is their output.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from r2d2.keras_states import read_states, write_states
from r2d2.state_callbacks import StatesBeforeBatch, StatesBeforeEpoch

BATCH = 2
ONES = np.ones((4, 1, 1), np.float32)  # two batches of one step
LABELS = np.zeros((4, 1), np.float32)


def summing_layer():
    return keras.layers.SimpleRNN(
        1,
        activation=None,
        use_bias=False,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        stateful=True,
        name="sum",
    )


def summing_model(**compile_arguments):
    model = keras.Sequential([keras.Input(batch_shape=(BATCH, None, 1)), summing_layer()])
    model.compile(keras.optimizers.SGD(0.0), "mse", **compile_arguments)
    return model


def sums(model):
    return read_states(model)["sum"][0][:, 0].tolist()


def at(first, second):
    return {"sum": (np.array([[first], [second]], np.float32),)}


def a_hundred_for_each(batch):
    return at(100 * batch, 100 * batch + 50)


class Record(keras.callbacks.Callback):
    """What the batches start from; to be named after the callback that sets it."""

    def __init__(self):
        super().__init__()
        self.training, self.validation = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.training.append(sums(self.model))

    def on_test_batch_begin(self, batch, logs=None):
        self.validation.append(sums(self.model))


def fit(model, callback, epochs=1, **arguments):
    record = Record()
    model.fit(
        ONES,
        LABELS,
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[callback, record],
        **arguments,
    )
    return record


def evaluate(model, callback):
    record = Record()
    model.evaluate(ONES, LABELS, batch_size=BATCH, verbose=0, callbacks=[callback, record])
    return record.validation


def predict(model, callback):
    return model.predict(ONES, batch_size=BATCH, verbose=0, callbacks=[callback])[:, 0].tolist()


def test_without_a_callback_every_batch_goes_on_from_the_last():
    assert fit(summing_model(), Record(), epochs=2).training == [[0, 0], [1, 1], [2, 2], [3, 3]]


class TestBeforeEpoch:
    def test_zero_is_the_default(self):
        model = summing_model()
        write_states(model, at(7, 8))
        assert fit(model, StatesBeforeEpoch(), epochs=2).training == [[0, 0], [1, 1], [0, 0], [1, 1]]

    def test_given_states(self):
        record = fit(summing_model(), StatesBeforeEpoch(at(10, 20)), epochs=2)
        assert record.training == [[10, 20], [11, 21], [10, 20], [11, 21]]

    def test_states_by_the_number_of_the_epoch(self):
        record = fit(summing_model(), StatesBeforeEpoch(a_hundred_for_each), epochs=3)
        assert record.training[::2] == [[0, 50], [100, 150], [200, 250]]

    def test_validation_goes_on_from_where_training_has_ended(self):
        record = fit(summing_model(), StatesBeforeEpoch(at(10, 20)), epochs=2, validation_data=(ONES, LABELS))
        assert record.validation == [[12, 22], [13, 23], [12, 22], [13, 23]]
        assert record.training[2] == [10, 20]

    def test_evaluate_and_predict_start_from_them_too(self):
        model, callback = summing_model(), StatesBeforeEpoch(at(10, 20))
        for _ in range(2):
            assert predict(model, callback) == [11, 21, 12, 22]
            assert evaluate(model, callback) == [[10, 20], [11, 21]]


class TestBeforeBatch:
    def test_training(self):
        record = fit(summing_model(), StatesBeforeBatch(a_hundred_for_each), epochs=2)
        assert record.training == [[0, 50], [100, 150], [0, 50], [100, 150]]

    def test_evaluate_and_predict(self):
        model, callback = summing_model(), StatesBeforeBatch(a_hundred_for_each)
        assert predict(model, callback) == [1, 51, 101, 151]
        assert evaluate(model, callback) == [[0, 50], [100, 150]]

    def test_validation_data_have_states_of_their_own(self):
        callback = StatesBeforeBatch(a_hundred_for_each, validation=lambda batch: at(-batch, -10))
        record = fit(summing_model(), callback, epochs=2, validation_data=(ONES, LABELS))
        assert record.validation == [[0, -10], [-1, -10]] * 2
        assert record.training == [[0, 50], [100, 150]] * 2

    def test_validation_data_without_states_are_refused_rather_than_given_those_of_other_rows(self):
        model, callback = summing_model(), StatesBeforeBatch(a_hundred_for_each)
        with pytest.raises(ValueError, match="validation is missing: say from which states the batches"):
            fit(model, callback, validation_data=(ONES, LABELS))
        assert evaluate(model, callback) == [[0, 50], [100, 150]]  # a failed fit leaves no trace

    @pytest.mark.parametrize("run", [fit, evaluate, predict])
    def test_several_batches_a_call_are_refused_as_keras_would_skip_all_but_the_first(self, run):
        model = summing_model(steps_per_execution=2)
        with pytest.raises(ValueError, match="steps_per_execution=2 must be 1 to set states before every batch"):
            run(model, StatesBeforeBatch(a_hundred_for_each))
        assert sums(model) == [0, 0]

    def test_training_is_that_of_writing_states_and_training_on_each_batch_by_hand(self):
        random = np.random.default_rng(0)
        inputs, labels = (random.normal(size=(6, 3, width)).astype(np.float32) for width in (2, 4))
        states = {
            batch: {"memory": tuple(random.normal(size=(BATCH, 4)).astype(np.float32) for _ in "hc")}
            for batch in range(3)
        }
        models = []
        for _ in range(2):
            keras.utils.set_random_seed(0)
            layer = keras.layers.LSTM(4, stateful=True, return_sequences=True, name="memory")
            models.append(keras.Sequential([keras.Input(batch_shape=(BATCH, 3, 2)), layer]))
            models[-1].compile("adam", "mse")
        callback = StatesBeforeBatch(states.__getitem__)
        models[0].fit(inputs, labels, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
        for batch in (0, 1, 2) * 2:
            write_states(models[1], states[batch])
            rows = slice(BATCH * batch, BATCH * (batch + 1))
            models[1].train_on_batch(inputs[rows], labels[rows])
        for by_callback, by_hand in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
            np.testing.assert_array_equal(by_callback, by_hand)


@pytest.mark.parametrize("callback", [StatesBeforeEpoch, lambda states: StatesBeforeBatch(lambda _: states)])
def test_states_that_do_not_fit_stop_the_run_by_name(callback):
    model = summing_model()
    with pytest.raises(ValueError, match=r"states\['sum'\]\[0\] has shape \(3, 1\), must be \(2, 1\)"):
        fit(model, callback({"sum": (np.zeros((3, 1), np.float32),)}))


def second_build(model):
    model.layers[0].build((BATCH, None, 1))
    assert sums(model) == [0, 0]  # Keras sets them to zero, silently


def second_compile(model):
    model.compile(keras.optimizers.SGD(0.0), "mse")


def functions_compiled_before(model):
    tf.function(lambda inputs: model(inputs))(ONES[:BATCH])
    model.fit(ONES, LABELS, batch_size=BATCH, shuffle=False, verbose=0)
    model.predict(ONES, batch_size=BATCH, verbose=0)
    assert sums(model)[0] >= 5  # each has moved the states on


def weights_set(model):
    model.set_weights(model.get_weights())


def layer_added(model):
    model.add(keras.layers.Identity())
    second_compile(model)


@pytest.mark.parametrize("happens", [second_build, second_compile, functions_compiled_before, weights_set, layer_added])
def test_states_survive_whatever_happens_to_the_model_before(happens):
    model = summing_model()
    for callback, last in ((StatesBeforeBatch(lambda batch: at(10, 20)), 11), (StatesBeforeEpoch(at(10, 20)), 12)):
        happens(model)
        assert fit(model, callback).training[0] == [10, 20]
        assert sums(model)[0] == last


def test_a_model_that_the_first_batch_would_build_has_no_states_to_set_and_is_told_so():
    model = keras.Sequential([summing_layer()])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.raises(ValueError, match="layer 'sum' has no states yet: call the model once, or build it"):
        fit(model, StatesBeforeEpoch())
