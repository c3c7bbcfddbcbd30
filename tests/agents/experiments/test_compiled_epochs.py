"""Compiled epochs train a model as one `fit` per epoch does: to the last bit of every weight and state."""

import numpy as np
import pytest

import r2d2
from agents.experiments.epochs import Epochs, in_order, shuffled
from agents.experiments.models import build_model, samples
from agents.experiments.trainer import Trainer, shared_trainer
from envs.alphabet_windows import letter_windows

EPOCHS = 3
SHAPE = (3, 1)


def built(kind="stateful LSTM", *, batch_size=1, jit_compile=False, seed=3):
    return build_model(kind, batch_size=batch_size, shape=SHAPE, classes=26, seed=seed, jit_compile=jit_compile)


def data():
    return samples(letter_windows(3), SHAPE)


def fit(model, order, before_epoch):
    """The way of the articles: `fit` for one epoch, over and over."""
    inputs, targets = data()
    for epoch in order:
        before_epoch(model)
        batch_size = model.input_shape[0]
        model.fit(inputs[epoch], targets[epoch], batch_size=batch_size, epochs=1, shuffle=False, verbose=0)


def assert_equal(one, other):
    """Weights, the optimizer's variables, and states."""
    pairs = [*zip(one.weights, other.weights, strict=True)]
    pairs += zip(one.optimizer.variables, other.optimizer.variables, strict=True)
    if getattr(one.layers[0], "stateful", False):
        pairs += zip(one.layers[0].states, other.layers[0].states, strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


@pytest.mark.parametrize(
    ("kind", "batch_size", "jit_compile"),
    [("stateful LSTM", 1, False), ("stateful LSTM", 1, True), ("LSTM", 23, True), ("dense", 1, True)],
)
def test_they_are_fits_of_one_epoch_bit_for_bit(kind, batch_size, jit_compile):
    fitted, compiled = (built(kind, batch_size=batch_size, jit_compile=jit_compile) for _ in range(2))
    assert fitted.jit_compile == jit_compile
    fit(fitted, in_order(EPOCHS, 23), r2d2.reset_states if kind == "stateful LSTM" else lambda model: None)
    before = compiled.get_weights()
    Epochs(compiled).run(*data(), in_order(EPOCHS, 23))
    assert_equal(compiled, fitted)
    assert all(np.abs(new - old).max() > 1e-3 for new, old in zip(compiled.get_weights(), before, strict=True))


def test_a_shuffled_order_is_that_of_the_samples():
    order = shuffled(EPOCHS, 23, seed=5)
    fitted, compiled = built(), built()
    fit(fitted, order, r2d2.reset_states)
    Epochs(compiled).run(*data(), order)
    assert_equal(compiled, fitted)


def test_every_epoch_may_start_from_given_states():
    fitted, compiled = built(), built()
    random = np.random.default_rng(0)
    parts = tuple(random.uniform(-0.5, 0.5, (1, 16)).astype(np.float32) for _ in "hc")
    fit(fitted, in_order(EPOCHS, 23), lambda model: r2d2.write_states(model, {model.layers[0].name: parts}))
    Epochs(compiled).run(*data(), in_order(EPOCHS, 23), start={compiled.layers[0].name: parts})
    assert_equal(compiled, fitted)


def test_orders_are_permutations_of_their_own_and_known_from_the_seed():
    np.testing.assert_array_equal(in_order(2, 3), [[0, 1, 2], [0, 1, 2]])
    order = shuffled(50, 23, seed=1)
    np.testing.assert_array_equal(np.sort(order, axis=1), in_order(50, 23))
    assert len(np.unique(order, axis=0)) == 50
    np.testing.assert_array_equal(order, shuffled(50, 23, seed=1))
    assert not np.array_equal(order, shuffled(50, 23, seed=2))


def test_what_does_not_fit_is_refused_and_nothing_is_trained():
    model = built(batch_size=4)
    epochs, before = Epochs(model), model.get_weights()
    with pytest.raises(ValueError, match="inputs has 23 samples, must be a multiple of the batch size, 4"):
        epochs.run(*data(), in_order(1, 23))
    inputs, targets = (part[:20] for part in data())
    for wrong in (np.zeros((2, 16), int), np.zeros(20, int)):
        with pytest.raises(ValueError, match=rf"order has shape \({wrong.shape[0]},.*must be \[epochs, 20\]"):
            epochs.run(inputs, targets, wrong)
    name = model.layers[0].name
    with pytest.raises(ValueError, match=rf"start is of layers \['x'\], the model's are \['{name}'\]"):
        epochs.run(inputs, targets, in_order(1, 20), start={"x": ()})
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_trainer_that_begins_again_is_as_good_as_new():
    windows, order = letter_windows(3), in_order(EPOCHS, 23)
    trainer = shared_trainer("stateful LSTM", 1, SHAPE, 26)
    for seed in (8, 7):
        trainer.begin(seed)
        begun = built(jit_compile=True, seed=seed)
        begun.optimizer.build(begun.trainable_variables)
        assert_equal(trainer.model, begun)
        trainer.train(windows, order)
    new = Trainer("stateful LSTM", 1, SHAPE, 26)
    new.begin(7)
    new.train(windows, order)
    assert_equal(trainer.model, new.model)
    trainer.train(windows, order)  # and goes on from there, unless it begins
    assert int(trainer.model.optimizer.iterations) == 2 * order.size


def test_trainers_are_shared_by_models_of_the_same_make_alone():
    one = shared_trainer("dense", 1, SHAPE, 26)
    assert shared_trainer("dense", 1, SHAPE, 26) is one
    assert shared_trainer("dense", 23, SHAPE, 26) is not one
    assert shared_trainer("dense", 1, SHAPE, 27).model.output_shape == (1, 27)
