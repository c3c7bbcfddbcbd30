"""A model for another batch size computes what the given model computes, row by row, and leaves that model alone."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from r2d2.keras_states import read_states, reset_states, take_rows, write_states
from r2d2.rebatching import rebatch_copying_weights, rebatch_sharing_weights

BATCH, TIME, FEATURES = 3, 4, 2
REBATCH = {"sharing": rebatch_sharing_weights, "copying": rebatch_copying_weights}
both = pytest.mark.parametrize("rebatch", REBATCH.values(), ids=REBATCH)


def sequential(*parts, shape=(None, FEATURES)):
    return keras.Sequential([keras.Input(batch_shape=(BATCH, *shape)), *parts])


def lstm_model():
    return sequential(layers.LSTM(4, stateful=True, return_sequences=True, name="memory"), layers.Dense(2))


def backward_layer_of_its_own():
    backward = layers.GRU(4, stateful=True, return_sequences=True, go_backwards=True)
    forward = layers.LSTM(4, stateful=True, return_sequences=True)
    return sequential(layers.Bidirectional(forward, backward_layer=backward), layers.Dense(2))


def dropout_and_normalisation():
    standard = layers.Normalization()
    standard.adapt(np.arange(20, dtype=np.float32).reshape(10, 2))  # its result is kept beside its variables
    return sequential(
        standard,
        layers.BatchNormalization(),
        layers.LSTM(4, stateful=True, return_sequences=True, dropout=0.3, recurrent_dropout=0.3),
        layers.Dropout(0.5),
        layers.LayerNormalization(),
        layers.LSTM(3),
    )


def functions_and_tables():
    table = layers.IntegerLookup()
    table.adapt([4, 4, 2, 3])
    numbers = keras.Input(batch_shape=(BATCH, None), dtype="int64")
    x = layers.Embedding(6, 3)(table(numbers))
    x = layers.LSTM(4, stateful=True, return_sequences=True)(layers.Lambda(lambda x: x * FEATURES)(x))
    return keras.Model(numbers, ops.concatenate([x[:, -1] + 1, ops.mean(x, axis=1)], axis=-1))


def two_inputs_and_three_outputs():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES), name="steps")
    context = keras.Input(shape=(4,), name="context")  # of any batch size
    shared = layers.Dense(4)
    x, hidden = layers.GRU(4, stateful=True, return_sequences=True, return_state=True)(steps)
    y = layers.SimpleRNN(4, return_sequences=True)(x, initial_state=shared(context))
    return keras.Model({"steps": steps, "context": context}, [layers.Dense(2)(hidden), {"y": shared(y), "x": x}])


def applied_twice():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    memory = layers.LSTM(FEATURES, stateful=True, return_sequences=True)
    inner = keras.Sequential([layers.Dense(FEATURES), memory])
    return keras.Model(steps, [memory(steps), inner(memory(steps)), inner(steps)])


def functional_in_sequential():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    residual = layers.add([steps, layers.LSTM(FEATURES, stateful=True, return_sequences=True)(steps)])
    stateless = keras.Sequential([keras.Input((None, FEATURES)), layers.Dense(3), layers.Activation("tanh")])
    return sequential(keras.Model(steps, residual), stateless, layers.GRU(3, stateful=True))


def one_cell_in_two_layers():
    cell = layers.LSTMCell(FEATURES)
    first = layers.RNN(cell, stateful=True, return_sequences=True, name="first")
    return sequential(first, layers.RNN(cell, stateful=True, return_sequences=True, name="second"))


class Stack(keras.Sequential):
    """Others have their own train_step."""


def built_by_a_call():
    model = Stack([layers.LSTM(4, stateful=True, return_sequences=True), layers.Dense(2)])
    model(np.zeros((BATCH, TIME, FEATURES), np.float32))
    return model


def frozen_in_part():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    inner = keras.Model(steps, layers.LSTM(4, stateful=True)(steps), trainable=False)  # its layer alone is not frozen
    middle = keras.Sequential([keras.Input((4,)), layers.Dense(3)], trainable=False)  # the same
    model = sequential(inner, middle, layers.Dense(3), layers.Dense(2))
    model.layers[2].trainable = False
    return model


class Averaging(layers.Layer):
    """A cell of a class that Keras has not been told of."""

    def __init__(self, units, **arguments):
        super().__init__(**arguments)
        self.units = self.state_size = units
        self.dense = layers.Dense(units)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs, states):
        new = (states[0] + self.dense(inputs)) / 2
        return new, [new]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Twofold(keras.Model):
    """A class with a way of its own to read its graph."""

    def call(self, inputs, **arguments):
        return 2 * super().call(inputs, **arguments)


def classes_of_ones_own():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    x = layers.RNN(Averaging(4), stateful=True, return_sequences=True)(steps)
    return Twofold(steps, layers.RNN([Averaging(3), layers.GRUCell(2)], stateful=True)(x))


def recurrent(layer, **arguments):
    return lambda: sequential(layer(4, stateful=True, **arguments))


def convolutional(layer, rank):
    return lambda: sequential(
        layer(2, 2, stateful=True, return_sequences=True), layer(1, 2, stateful=True), shape=(TIME, *[4] * rank, 2)
    )


MODELS = {
    "LSTM": lstm_model,
    "GRU": recurrent(layers.GRU, reset_after=False),
    "SimpleRNN": recurrent(layers.SimpleRNN, go_backwards=True),
    "RNN(cell)": lambda: sequential(layers.RNN(layers.GRUCell(4), stateful=True)),
    "RNN([cells])": lambda: sequential(layers.RNN([layers.LSTMCell(4), layers.SimpleRNNCell(3)], stateful=True)),
    "Bidirectional(LSTM)": lambda: sequential(layers.Bidirectional(layers.LSTM(3, stateful=True), "sum")),
    "Bidirectional(RNN([cells]))": lambda: sequential(
        layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], stateful=True))
    ),
    "Bidirectional with a backward layer": backward_layer_of_its_own,
    "ConvLSTM1D": convolutional(layers.ConvLSTM1D, 1),
    "ConvLSTM2D": convolutional(layers.ConvLSTM2D, 2),
    "ConvLSTM3D": convolutional(layers.ConvLSTM3D, 3),
    "TimeDistributed": lambda: sequential(
        layers.TimeDistributed(layers.LSTM(3, stateful=True)),
        layers.TimeDistributed(layers.Dense(2)),
        layers.SimpleRNN(2, stateful=True),
        shape=(3, TIME, FEATURES),
    ),
    "Masking": lambda: sequential(layers.Masking(), layers.GRU(4, stateful=True)),
    "Embedding": lambda: sequential(
        layers.Embedding(5, 3, mask_zero=True), layers.LSTM(4, stateful=True), shape=(TIME,)
    ),
    "dropout and normalisation": dropout_and_normalisation,
    "functions and tables": functions_and_tables,
    "several inputs and outputs": two_inputs_and_three_outputs,
    "applied twice": applied_twice,
    "functional in sequential": functional_in_sequential,
    "one cell in two layers": one_cell_in_two_layers,
    "built by a call": built_by_a_call,
    "half precision": recurrent(layers.LSTM, dtype="mixed_float16"),
    "frozen in part": frozen_in_part,
    "classes of one's own": classes_of_ones_own,
}
kinds = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def some(shape, dtype, random):
    whole = random.integers(0, 5, size=shape)
    return whole.astype(dtype) if "int" in dtype else (whole / 5).astype(dtype)  # zeros among them, to be masked


def steps_of():
    return some((BATCH, TIME, FEATURES), "float32", np.random.default_rng(0))


def inputs_of(model, batch=BATCH, seed=0):
    random = np.random.default_rng(seed)
    tensors = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(
        lambda tensor: some((batch, *(size or TIME for size in tensor.shape[1:])), tensor.dtype, random), tensors
    )


def change_weights(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([np.abs(w + random.normal(size=w.shape) / 4).astype(w.dtype) for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # as adapt() does


def assert_equal_rows(actual, expected, rows):
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, np.asarray(b)[rows], rtol=1e-5, atol=1e-3 if a.dtype == "float16" else 1e-6)


def walk(model):
    return model._flatten_layers()


def at(leaves, rows):
    return tf.nest.map_structure(lambda leaf: leaf[rows], leaves)


@kinds
@both
def test_each_row_is_the_row_of_the_given_model(rebatch, make):
    model, rows = make(), [2, 0, 2, 1, 0]
    change_weights(model)
    new = rebatch(model, len(rows))
    assert [(type(a), a.name, a.trainable) for a in walk(new)] == [(type(a), a.name, a.trainable) for a in walk(model)]
    assert not any(part.any() for parts in read_states(new).values() for part in parts)
    for call in range(2):
        inputs = inputs_of(model, seed=call)
        expected = model(inputs)
        assert_equal_rows(new(at(inputs, rows)), expected, rows)
        states, theirs = read_states(new), take_rows(read_states(model), rows)
        assert list(states) == list(theirs)
        assert_equal_rows(states, theirs, slice(None))


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.integers(0, BATCH - 1), min_size=1, max_size=9), times=st.lists(st.integers(1, 3), max_size=3))
def test_any_batch_size_any_calls(rows, times):
    model = two_inputs_and_three_outputs()
    models = [rebatch(model, len(rows)) for rebatch in REBATCH.values()]
    for call, time in enumerate(times):
        inputs = inputs_of(model, seed=call)
        inputs["steps"] = inputs["steps"][:, :time]
        expected = model(inputs)
        for new in models:
            assert_equal_rows(new(at(inputs, rows)), expected, rows)
    for new in models:
        assert_equal_rows(read_states(new), take_rows(read_states(model), rows), slice(None))


@both
def test_of_the_shapes_only_the_batch_size_changes(rebatch):
    steps, table = keras.Input(batch_shape=(BATCH, 7, FEATURES)), keras.Input(batch_shape=(1, BATCH))
    model = keras.Model([steps, table, keras.Input((3,))], layers.LSTM(3, stateful=True)(steps) + table)
    new = rebatch(model, 5)
    assert new.input_shape == [(5, 7, FEATURES), (1, BATCH), (None, 3)]
    assert new.output_shape == (5, 3)


@kinds
def test_sharing_means_the_same_variables(make):
    model = make()
    new = rebatch_sharing_weights(model, 2)
    for name in ("weights", "trainable_weights", "non_trainable_weights"):
        assert [id(weight) for weight in getattr(new, name)] == [id(weight) for weight in getattr(model, name)]
    assert {id(variable) for variable in new.variables} == {id(variable) for variable in model.variables}


@kinds
def test_copying_means_equal_variables_of_its_own(make):
    model = make()
    change_weights(model)
    new = rebatch_copying_weights(model, 2)
    for a, b in zip(new.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("trainable_weights", "non_trainable_weights"):
        assert [weight.path for weight in getattr(new, name)] == [weight.path for weight in getattr(model, name)]
    assert not {id(variable) for variable in new.variables} & {id(variable) for variable in model.variables}


@pytest.mark.parametrize("trained", [0, 1])
def test_training_either_of_two_that_share_trains_both(trained):
    model = functional_in_sequential()
    pair, inputs = [model, rebatch_sharing_weights(model, 1)], inputs_of(model)
    compiled = [tf.function(each) for each in pair]
    before = [compiled[0](inputs).numpy(), compiled[1](inputs[:1]).numpy()]
    pair[trained].compile(keras.optimizers.SGD(1.0), "mse")
    rows = [BATCH, 1][trained]
    pair[trained].train_on_batch(inputs[:rows], np.ones((rows, 3)))
    oracle = rebatch_copying_weights(model, BATCH)
    expected = oracle(inputs).numpy()
    for each, function, old, rows in zip(pair, compiled, before, [BATCH, 1], strict=True):
        reset_states(each)
        new = function(inputs[:rows]).numpy()
        assert_equal_rows(new, expected, slice(rows))
        assert np.abs(new - old).max() > 1e-3
        assert function.experimental_get_tracing_count() == 1


@both
@pytest.mark.parametrize("make", [lstm_model, backward_layer_of_its_own, applied_twice])
def test_gradients_are_those_of_the_given_model(rebatch, make):
    model, rows = make(), [1, 1, 0, 1]
    new, inputs = rebatch(model, len(rows)), inputs_of(model)
    times = np.bincount(rows, minlength=BATCH).astype(np.float32)  # row 1 counts three times, row 2 not at all
    with tf.GradientTape(persistent=True) as tape:
        theirs = sum(tf.tensordot(times, y**2, 1) for y in tf.nest.flatten(model(inputs)))
        own = sum(tf.reduce_sum(y**2, 0) for y in tf.nest.flatten(new(inputs[rows])))
    expected = tape.gradient(theirs, model.trainable_variables)
    for a, b in zip(tape.gradient(own, new.trainable_variables), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert np.abs(b).max() > 0


@kinds
@both
def test_the_given_model_stays_as_it_is(rebatch, make):
    model = make()
    model.compile("adam", lambda y, predicted: predicted)  # that no config tells
    inputs = inputs_of(model)
    model(inputs)

    def kept():
        return [
            model.get_config(),
            [(id(layer), layer.name, layer.trainable) for layer in walk(model)],
            [(id(variable), variable.numpy().tolist(), variable.trainable) for variable in model.variables],
            [id(part) for layer in walk(model) for part in tf.nest.flatten(getattr(layer, "states", None))],
            id(model.optimizer),
        ]

    before, states = kept(), read_states(model)
    new = rebatch(model, 5)
    assert kept() == before
    assert not new.compiled
    assert getattr(new, "optimizer", None) is None
    new(at(inputs, [0] * 5))
    assert_equal_rows(read_states(model), states, slice(None))


@both
def test_functions_compiled_before_stay_valid(rebatch):
    model = applied_twice()
    compiled, inputs = tf.function(model), inputs_of(model)
    once = compiled(inputs)
    model.predict_on_batch(inputs)
    predict = model.predict_function
    rebatch(model, 1)(inputs[:1])
    reset_states(model)
    assert_equal_rows(compiled(inputs), once, slice(None))
    assert compiled.experimental_get_tracing_count() == 1
    assert model.predict_function is predict


@both
def test_the_same_batch_size_gives_a_second_set_of_states(rebatch):
    model = lstm_model()
    new = rebatch(rebatch(model, 7), BATCH)
    model(inputs_of(model))
    assert not any(part.any() for part in read_states(new)["memory"])
    write_states(new, read_states(model))
    np.testing.assert_array_equal(new(inputs_of(model, seed=1)), model(inputs_of(model, seed=1)))


def test_weights_loaded_or_set_in_one_are_shared_and_a_copy_loads_them(tmp_path):
    model = backward_layer_of_its_own()
    shared, copied = rebatch_sharing_weights(model, 5), rebatch_copying_weights(model, 5)
    copied.set_weights([weight + 1 for weight in model.get_weights()])
    assert all((a + 1 == b).all() for a, b in zip(model.get_weights(), copied.get_weights(), strict=True))
    copied.save_weights(tmp_path / "a.weights.h5")
    shared.load_weights(tmp_path / "a.weights.h5")
    for a, b in zip(model.get_weights(), copied.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    copied.set_weights([weight * 0 for weight in copied.get_weights()])
    model.save_weights(tmp_path / "b.weights.h5")
    copied.load_weights(tmp_path / "b.weights.h5")
    shared.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = inputs_of(shared, 5)
    for other in (shared, copied):
        reset_states(loaded)
        np.testing.assert_array_equal(other(inputs), loaded(inputs))


class Inside(layers.Layer):
    """A class with stateful layers in its own code, and no build() of its own, as most are written."""

    def __init__(self, units, **arguments):
        super().__init__(**arguments)
        self.memory = layers.LSTM(units, stateful=True)
        self.head = keras.Sequential([layers.Dense(3), layers.Dense(2)])

    def call(self, inputs):
        return self.head(self.memory(inputs))


class Model(keras.Model):
    """The same as a model: Keras records no input shape of its own for it."""

    def __init__(self, units, scale=1.0):
        super().__init__()
        self.inside, self.scale, self.mean = Inside(units), scale, keras.metrics.Mean()

    def call(self, inputs):
        return self.inside(inputs) * self.scale

    def get_config(self):
        return {"units": self.inside.memory.units, "scale": self.scale}


class Built(Model):
    """... with a build() of its own."""

    def build(self, shape):
        self.inside.memory.build(shape)
        self.inside.head.build((shape[0], self.inside.memory.units))


class Bare(Model):
    """... with no arguments but Keras's own, so that it needs no config."""

    def __init__(self, name=None, **arguments):
        keras.Model.__init__(self, name=name, **arguments)
        self.inside, self.scale = Inside(4), 1.0

    get_config = keras.Model.get_config


class Head(layers.Layer):
    """A stateless layer that Keras builds by a symbolic call."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def inside_a_functional_model():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    return keras.Model(steps, Head()(called(Inside(4))(steps)))


def called(model):
    model(np.zeros((BATCH, TIME, FEATURES), np.float32))
    return model


def built(model):
    model.build((BATCH, None, FEATURES))
    return model


OWN_CLASSES = {
    "called": lambda: called(Model(4, scale=2.0)),
    "built": lambda: built(Built(4, scale=2.0)),
    "without arguments": lambda: called(Bare()),
    "inside a functional model": inside_a_functional_model,
}


@pytest.mark.parametrize("make", OWN_CLASSES.values(), ids=OWN_CLASSES)
def test_classes_that_hold_stateful_layers_are_copied_and_refused_for_sharing(make, tmp_path):
    model, rows = make(), [2, 2, 0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns of classes whose parts it cannot build
        new, inputs = rebatch_copying_weights(model, len(rows)), steps_of()
    new.save_weights(tmp_path / "before_any_call.weights.h5")
    assert [weight.path for weight in new.weights] == [weight.path for weight in model.weights]
    for call in range(2):
        expected = model(inputs + call)
        assert_equal_rows(new((inputs + call)[rows]), expected, rows)
    write_states(new, take_rows(read_states(model), rows))  # the same names
    with pytest.raises(ValueError, match=r"a class of its own with stateful layers inside: use rebatch_copying"):
        rebatch_sharing_weights(model, 2)


def test_a_sequential_model_that_reads_a_structure():
    class Joined(layers.Layer):
        def call(self, inputs):
            return inputs["a"] + inputs["b"]

    model, inputs = keras.Sequential([Joined(), layers.LSTM(4, stateful=True)]), {"a": steps_of(), "b": steps_of()}
    model(inputs)
    new = rebatch_sharing_weights(model, 1)
    reset_states(model)
    assert_equal_rows(new(at(inputs, [2])), model(inputs), [2])


@both
def test_a_single_layer(rebatch):
    layer = layers.Bidirectional(layers.LSTM(4, stateful=True))
    layer.forward_layer.use_cudnn = layer.backward_layer.use_cudnn = False
    layer.build((BATCH, None, FEATURES))
    new = rebatch(layer, 5)
    assert new.forward_layer.use_cudnn is False
    assert new.backward_layer.use_cudnn is False
    inputs = steps_of()
    assert_equal_rows(new(inputs[[0, 1, 2, 1, 0]]), layer(inputs), [0, 1, 2, 1, 0])


class Untold(Model):
    """A class whose arguments no config tells."""

    get_config = keras.Model.get_config


class OwnGraph(keras.Model):
    """A class that makes its graph itself."""

    def __init__(self):
        steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
        super().__init__(steps, layers.LSTM(4, stateful=True)(steps))

    def get_config(self):
        return {}


class UntoldGraph(keras.Model):
    """The same with an argument that no config tells."""

    def __init__(self, units=3):
        steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
        super().__init__(steps, layers.LSTM(units, stateful=True)(steps))


class OwnLayers(keras.Sequential):
    """A class that names its layers itself."""

    def __init__(self):
        super().__init__([keras.Input(batch_shape=(BATCH, None, FEATURES)), layers.LSTM(4, stateful=True)])

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


class Fixed(Model):
    """A class that fixes the batch size itself."""

    def __init__(self, units, scale=1.0):
        super().__init__(units, scale)
        self.inside.memory.build((BATCH, None, FEATURES))


def two_batch_sizes():
    inputs = [keras.Input(batch_shape=(batch, None, 2)) for batch in (2, 3)]
    return keras.Model(inputs, [layers.LSTM(4, stateful=True)(each) for each in inputs])


def fixed_in_the_graph():
    steps = keras.Input(batch_shape=(BATCH, None, FEATURES))
    return keras.Model(steps, ops.reshape(layers.LSTM(4, stateful=True)(steps), (BATCH, 2, 2)))


def of_an_unknown_function():
    def half(x):
        return x / 2

    return sequential(layers.LSTM(4, stateful=True, activation=half, name="memory"))


@both
@pytest.mark.parametrize(
    ("make", "batch_size", "message"),
    [
        (lstm_model, 0, "batch_size=0 must be a whole number, at least 1"),
        (lstm_model, True, "batch_size=True must be"),
        (lstm_model, 2.0, r"batch_size=2\.0 must be"),
        (lambda: "model", 2, "model is a str, must be a built Keras model or layer"),
        (lambda: keras.Sequential([layers.LSTM(4, stateful=True)]), 2, "has no states yet: call the model once"),
        (lambda: sequential(layers.LSTM(4)), 2, "has no layer with stateful=True"),
        (two_batch_sizes, 2, r"has layers of several batch sizes, \[2, 3\]; it must be one"),
        (fixed_in_the_graph, 2, "cannot be built for batch_size=2: .*total size of the tensor must be unchanged"),
        (of_an_unknown_function, 2, r"layer 'memory' \(LSTM\) cannot be built from its config: .*register_keras_ser"),
    ],
)
def test_what_cannot_be_is_refused_by_name(rebatch, make, batch_size, message):
    model = make()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        rebatch(model, batch_size)


FIXED = "layer 'lstm.*' keeps batch size 3 in a model for batch_size=2: a class fixes it by itself"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: called(Untold(4)),
            r"is a Untold, a class without a get_config\(\) of its own: .* its arguments \['scale', 'units'\]",
        ),
        (lambda: UntoldGraph(4), r"is a UntoldGraph, a class without a get_config\(\) of its own: .* \['units'\]"),
        (lambda: called(Fixed(4)), FIXED),
        (OwnGraph, FIXED),
        (OwnLayers, FIXED),
    ],
)
def test_a_class_that_cannot_be_copied_is_told_why(make, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        rebatch_copying_weights(model, 2)
    with pytest.raises(ValueError, match="a class of its own"):
        rebatch_sharing_weights(model, 2)


def test_sharing_writes_to_no_variable():
    class ReadOnly(layers.LSTMCell):
        def load_own_variables(self, store):
            raise AssertionError

    assert rebatch_sharing_weights(sequential(layers.RNN(ReadOnly(4), stateful=True)), 2)


def test_a_model_that_would_lie_is_not_handed_out():
    class Scaled(layers.LSTM):
        def build(self, shape):
            super().build(shape)
            self.scale = self.add_weight(shape=())

    class Forgetful(layers.Dense):
        def load_own_variables(self, store):
            pass

    class Tabled(layers.Dense):
        def save_assets(self, path):
            pass

    with pytest.raises(RuntimeError, match=r"not all weights of model .* can be shared"):
        rebatch_sharing_weights(sequential(Scaled(4, stateful=True)), 2)
    for kind in (Forgetful, Tabled):
        with pytest.raises(RuntimeError, match=r"the weights of model .* cannot be copied"):
            rebatch_copying_weights(sequential(layers.LSTM(4, stateful=True), kind(2)), 2)
    cell, steps = layers.GRUCell(3), keras.Input(batch_shape=(BATCH, None, FEATURES))
    twice = keras.Model(steps, layers.RNN([cell, cell], stateful=True)(steps))
    assert len(rebatch_sharing_weights(twice, 2).weights) == 3
    with pytest.raises(RuntimeError, match=r"built from its config .* not described by its get_config"):
        rebatch_copying_weights(twice, 2)
