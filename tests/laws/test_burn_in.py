"""Laws 2 and 3: no gradient passes burn-in, and each network warms itself. Law 7 for what a network computes:
padding changes neither state, nor loss, nor gradient, nor priority."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from random_sequences import CORES, as_tensors, random_batch, random_network, randomize, steps_of

from r2d2.burn_in import burn_in
from r2d2.learner import td_errors
from r2d2.losses import sequence_loss, sequence_priorities
from r2d2.network import RecurrentQNetwork
from r2d2.replay import Batch, Inputs
from r2d2.settings import LearnerSettings

SETTINGS = LearnerSettings(n_step=2, target_period=10)
PREFIX_LENGTHS, UNROLL_LENGTHS = [0, 1, 3, 5, 5, 2], [6, 2, 6, 3, 5, 6]
ROWS = slice(None)


class Pair(NamedTuple):
    """An online network, a target network of the same make with quite other weights, and a batch of 6 sequences."""

    online: RecurrentQNetwork
    target: RecurrentQNetwork
    batch: Batch
    online_state: Any
    """The online network's state after each row's prefix, by `warmed_by_steps`."""
    target_state: Any


def warmed_by_steps(network: RecurrentQNetwork, batch: Batch) -> tuple[Any, ...]:
    """The oracle: each row by itself, over its own prefix, one step at a time."""
    one_step = tf.function(network.unroll)
    rows = []
    for row, length in enumerate(np.asarray(batch.prefix_length).tolist()):
        state = tuple(part[row : row + 1] for part in batch.state)
        for t in range(length):
            _, state = one_step(steps_of(batch.prefix, slice(row, row + 1), slice(t, t + 1)), state)
        rows.append(state)
    return tuple(tf.concat(parts, axis=0) for parts in zip(*rows, strict=True))


def make_batch(network: RecurrentQNetwork, prefix_lengths: Any = PREFIX_LENGTHS, **options: Any) -> Batch:
    batch = random_batch(network, 7, prefix_lengths, UNROLL_LENGTHS, train_length=4, n_step=2, **options)
    return as_tensors(batch)


@pytest.fixture(scope="module", params=["lstm", "lstm_left_to_keras", "gru", "rnn_of_stacked_cells"])
def pair(request: pytest.FixtureRequest) -> Pair:
    online = random_network(1, **CORES[request.param]())
    target = online.copy()
    randomize(target, 2)
    batch = make_batch(online)
    return Pair(online, target, batch, warmed_by_steps(online, batch), warmed_by_steps(target, batch))


def td_errors_of(pair: Pair, batch: Batch | None = None) -> np.ndarray:
    return td_errors(pair.online, pair.target, pair.batch if batch is None else batch, SETTINGS).td_error.numpy()


class WarmNetwork:
    """Stands for a network that starts its unrolls from ``state``, whatever is stored and read before."""

    def __init__(self, network: RecurrentQNetwork, state: Any) -> None:
        self.reward_scale, self._network, self._state = network.reward_scale, network, state

    def advance(self, inputs: Inputs, state: Any, lengths: Any) -> Any:
        return state

    def unroll(self, inputs: Inputs, state: Any, with_gradient: bool = True) -> Any:
        return self._network.unroll(inputs, self._state)


def warm(pair: Pair, online_state: Any, target_state: Any) -> Pair:
    networks: Any = WarmNetwork(pair.online, online_state), WarmNetwork(pair.target, target_state)
    return pair._replace(online=networks[0], target=networks[1])


def loss_of(pair: Pair) -> Any:
    errors = td_errors(pair.online, pair.target, pair.batch, SETTINGS)
    return sequence_loss(errors.td_error, errors.mask, pair.batch.importance_weights, None)


def gradients(pair: Pair, *sources: Any) -> list[np.ndarray]:
    """Of the loss with respect to tensors; zeros where nothing is connected."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = loss_of(pair)
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, sources, unconnected_gradients="zero")]


def weights_of(network: RecurrentQNetwork) -> list[Any]:
    return [variable.value for variable in network.trainable_variables]


class TestNoGradientThroughBurnIn:
    """Law 2."""

    def test_nothing_read_in_the_prefix_has_a_gradient(self, pair: Pair) -> None:
        prefix = pair.batch.prefix
        found = gradients(pair, *pair.batch.state, prefix.observation, prefix.previous_reward)
        for gradient in found:
            np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
        assert [g.shape for g in found[-2:]] == [(6, 5, 3), (6, 5)]

    def test_a_stored_state_without_a_prefix_has_none_either(self, pair: Pair) -> None:
        batch = make_batch(pair.online, [0] * 6)
        bare = pair._replace(batch=batch._replace(prefix=steps_of(batch.prefix, ROWS, slice(0, 0))))
        for gradient in gradients(bare, *bare.batch.state):
            np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))

    def test_the_loss_does_depend_on_what_was_read_there(self, pair: Pair) -> None:
        """Or the zeros above would be no news."""
        batch, before = pair.batch, td_errors_of(pair)
        other_prefix = batch._replace(prefix=batch.prefix._replace(observation=batch.prefix.observation + 0.5))
        other_state = batch._replace(state=tuple(part + 0.5 for part in batch.state))
        assert np.abs(td_errors_of(pair, other_prefix) - before).max() > 0.01
        assert np.abs(td_errors_of(pair, other_state) - before).max() > 0.01

    def test_what_is_read_in_the_unroll_has_a_gradient(self, pair: Pair) -> None:
        (gradient,) = gradients(pair, pair.batch.unroll.observation)
        assert np.all(np.any(gradient[:, 0] != 0, axis=-1)), "the first trained step of every sequence counts"

    def test_weights_have_the_gradient_that_a_constant_warm_state_gives(self, pair: Pair) -> None:
        expected = gradients(warm(pair, pair.online_state, pair.target_state), *weights_of(pair.online))
        found = gradients(pair, *weights_of(pair.online))
        for gradient, of_constant in zip(found, expected, strict=True):
            assert np.any(of_constant != 0)
            np.testing.assert_allclose(gradient, of_constant, rtol=1e-4, atol=1e-5)

    def test_the_target_network_gets_no_gradient(self, pair: Pair) -> None:
        for gradient in gradients(pair, *weights_of(pair.target)):
            np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


class TestWarmState:
    @pytest.mark.parametrize("compiled", [False, True])
    def test_is_that_of_each_rows_own_steps(self, pair: Pair, compiled: bool) -> None:
        """Prefixes of 0 to 5 steps in one batch; padding is not run over (trap 7)."""
        batch, run = pair.batch, tf.function(burn_in) if compiled else burn_in
        for network, expected in ((pair.online, pair.online_state), (pair.target, pair.target_state)):
            state = run(network, batch.state, batch.prefix, batch.prefix_length)
            for part, expected_part in zip(state, expected, strict=True):
                np.testing.assert_allclose(part, expected_part, atol=1e-5)

    def test_of_a_row_without_prefix_is_the_stored_state_itself(self, pair: Pair) -> None:
        batch = pair.batch
        state = burn_in(pair.online, batch.state, batch.prefix, batch.prefix_length)
        for part, stored in zip(state, batch.state, strict=True):
            np.testing.assert_array_equal(part[0], stored[0])
            assert np.all(np.any(part[1:] != stored[1:], axis=-1))

    @pytest.mark.parametrize("run_as", ["eager", "graph", "graph of any shape"])
    def test_without_any_prefix_is_the_stored_state_itself(self, pair: Pair, run_as: str) -> None:
        """Trap 8: burn_in = 0."""
        network, batch = pair.online, make_batch(pair.online, [0] * 6)
        assert batch.prefix.previous_action.shape == (6, 0)

        def run(state: Any, prefix: Inputs, lengths: Any) -> Any:
            return burn_in(network, state, prefix, lengths)

        if run_as == "graph":  # of known shape: that there is no step is known when it is traced
            run = tf.function(run)
        elif run_as == "graph of any shape":  # known only when it runs
            lengths = tf.TensorSpec([None], tf.int32)
            run = tf.function(run, input_signature=[network.state_signature, network.inputs_signature, lengths])
        for part, stored in zip(run(batch.state, batch.prefix, batch.prefix_length), batch.state, strict=True):
            np.testing.assert_array_equal(part, stored)

    @pytest.mark.parametrize("cut", [0, 1, 4, 5])
    def test_does_not_depend_on_how_a_prefix_is_split(self, pair: Pair, cut: int) -> None:
        batch, state = pair.batch, pair.batch.state
        for piece in (slice(0, cut), slice(cut, 5)):
            lengths = tf.clip_by_value(batch.prefix_length - piece.start, 0, piece.stop - piece.start)
            state = burn_in(pair.online, state, steps_of(batch.prefix, ROWS, piece), lengths)
        for part, expected in zip(state, pair.online_state, strict=True):
            np.testing.assert_allclose(part, expected, atol=1e-5)

    def test_is_the_same_for_arrays_and_for_tensors(self, pair: Pair) -> None:
        arrays: Batch = tf.nest.map_structure(lambda tensor: tensor.numpy(), pair.batch)
        of_arrays, of_tensors = (
            burn_in(pair.online, batch.state, batch.prefix, batch.prefix_length) for batch in (arrays, pair.batch)
        )
        for part, expected in zip(of_arrays, of_tensors, strict=True):
            np.testing.assert_array_equal(part, expected)


class TestEachNetworkWarmsItself:
    """Law 3. Trap 5: the target network is burned in with the online weights."""

    def test_td_errors_are_those_of_networks_that_each_read_the_prefix(self, pair: Pair) -> None:
        expected = td_errors_of(warm(pair, pair.online_state, pair.target_state))
        np.testing.assert_allclose(td_errors_of(pair), expected, atol=1e-5)

    def test_the_comparison_would_tell_any_other_state(self, pair: Pair) -> None:
        online, target, stored = pair.online_state, pair.target_state, pair.batch.state
        initial = pair.online.initial_state(6)
        found = td_errors_of(pair)
        for mistaken in ((online, online), (target, target), (online, stored), (stored, target), (online, initial)):
            assert np.abs(found - td_errors_of(warm(pair, *mistaken))).max() > 0.005


class TestPaddingIsInert:
    """Law 7."""

    def test_garbage_in_padded_rows_changes_nothing(self, pair: Pair) -> None:
        dirty = pair._replace(batch=make_batch(pair.online, garbage=1000.0))
        assert np.any(pair.batch.prefix.observation != dirty.batch.prefix.observation)
        assert np.any(pair.batch.unroll.observation != dirty.batch.unroll.observation)
        results = []
        for either in (pair, dirty):
            errors = td_errors(either.online, either.target, either.batch, SETTINGS)
            priorities = sequence_priorities(errors.td_error, errors.mask, 0.9)
            results.append([loss_of(either), priorities, *gradients(either, *weights_of(either.online))])
        for found, expected in zip(results[1], results[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_a_batch_is_its_sequences_one_by_one(self, pair: Pair) -> None:
        """Without neighbours, a sequence has no padding."""
        batch, together = pair.batch, td_errors_of(pair)
        for row, (f, w) in enumerate(zip(PREFIX_LENGTHS, UNROLL_LENGTHS, strict=True)):
            one: Batch = tf.nest.map_structure(lambda leaf, row=row: leaf[row : row + 1], batch)
            alone = one._replace(
                prefix=steps_of(one.prefix, ROWS, slice(0, f)),
                unroll=steps_of(one.unroll, ROWS, slice(0, w)),
                action=one.action[:, :w],
                reward=one.reward[:, :w],
                terminated=one.terminated[:, :w],
                truncated=one.truncated[:, :w],
            )
            errors = td_errors(pair.online, pair.target, alone, SETTINGS)
            trained = min(4, w - 1)
            np.testing.assert_array_equal(errors.mask[0], np.arange(w - 1) < trained)
            np.testing.assert_allclose(errors.td_error[0], together[row, : w - 1], atol=1e-5)
            assert np.all(together[row, :trained] != 0)
            np.testing.assert_array_equal(together[row, trained:], 0.0)
