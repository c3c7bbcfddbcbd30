"""`StatefulNetwork` means what Keras means by ``stateful=True``, for any batch size, and checks what it is given."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_sequences import CORES, NUM_ACTIONS, random_inputs, random_network, random_state, steps_of

from r2d2.network import RecurrentQNetwork
from r2d2.replay import Inputs
from r2d2.stateful import StatefulNetwork

ROWS = slice(None)


@pytest.fixture(scope="module")
def network() -> RecurrentQNetwork:
    return random_network(4)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class KerasNetwork:
    """The same network around a `keras.layers.LSTM` with ``stateful=True`` that has the same weights."""

    def __init__(self, network: RecurrentQNetwork, batch_size: int) -> None:
        self.network = network
        (layer,) = network.core_layers
        self.layer = keras.layers.LSTM(layer.units, return_sequences=True, stateful=True, use_bias=layer.use_bias)
        self.layer.build((batch_size, None, layer.cell.kernel.shape[0]))
        self.layer.set_weights(layer.get_weights())

    @property
    def state(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.layer.states]

    def __call__(self, inputs: Inputs) -> Any:
        batch, time = inputs.previous_action.shape
        features = self.network.torso(inputs.observation.reshape(batch * time, -1))
        core_inputs = [
            tf.reshape(features, [batch, time, -1]),
            # One row for each action; the one that index -1 finds is all zeros.
            np.eye(NUM_ACTIONS + 1, NUM_ACTIONS, dtype=np.float32)[inputs.previous_action],
            inputs.previous_reward[..., None] * self.network.reward_scale.numpy(),
        ]
        outputs = self.layer(tf.concat(core_inputs, axis=-1))
        advantage, value = self.network.advantage(outputs).numpy(), self.network.value(outputs).numpy()
        return value + advantage - advantage.mean(axis=-1, keepdims=True)


@pytest.mark.parametrize("core", ["lstm", "lstm_left_to_keras"])
class TestIsAStatefulKerasLayer:
    def test_piece_by_piece(self, core: str, rng: np.random.Generator) -> None:
        network = random_network(4, **CORES[core]())
        view, keras_network = StatefulNetwork(network, 3), KerasNetwork(network, 3)
        for time in (3, 1, 1, 5):
            inputs = random_inputs(rng, 3, time)
            np.testing.assert_allclose(view(inputs), keras_network(inputs), atol=1e-5)
            for part, expected in zip(view.state, keras_network.state, strict=True):
                np.testing.assert_allclose(part, expected, atol=1e-5)

    def test_reset_and_restore(self, core: str, rng: np.random.Generator) -> None:
        """In Keras 3 a layer's states are variables to assign to; `reset_states` takes no states (trap 19)."""
        network = random_network(4, **CORES[core]())
        view, keras_network = StatefulNetwork(network, 3), KerasNetwork(network, 3)
        view(random_inputs(rng, 3, 4))
        view.reset()
        inputs = random_inputs(rng, 3, 2)
        np.testing.assert_allclose(view(inputs), keras_network(inputs), atol=1e-5)

        rows = np.array([False, True, False])
        view.reset(rows)
        for variable in keras_network.layer.states:
            variable.assign(np.where(rows[:, None], 0.0, variable.numpy()))
        inputs = random_inputs(rng, 3, 2)
        np.testing.assert_allclose(view(inputs), keras_network(inputs), atol=1e-5)

        state = random_state(rng, network, 3)
        view.restore(state)
        for variable, part in zip(keras_network.layer.states, state, strict=True):
            variable.assign(part)
        inputs = random_inputs(rng, 3, 2)
        np.testing.assert_allclose(view(inputs), keras_network(inputs), atol=1e-5)

    def test_warm_up_is_running_without_looking(self, core: str, rng: np.random.Generator) -> None:
        network = random_network(4, **CORES[core]())
        view, keras_network = StatefulNetwork(network, 3), KerasNetwork(network, 3)
        inputs = random_inputs(rng, 3, 6)
        view.warm_up(inputs)
        keras_network(inputs)
        for part, expected in zip(view.state, keras_network.state, strict=True):
            np.testing.assert_allclose(part, expected, atol=1e-5)


@pytest.mark.parametrize("core", list(CORES))
def test_pieces_give_what_the_whole_gives(core: str, rng: np.random.Generator) -> None:
    network = random_network(4, **CORES[core]())
    inputs = random_inputs(rng, 2, 7)
    whole = StatefulNetwork(network, 2)
    expected = whole(inputs).numpy()
    pieces = StatefulNetwork(network, 2)
    found = [pieces(steps_of(inputs, ROWS, piece)) for piece in (slice(0, 2), slice(2, 3), slice(3, 7))]
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
    for part, expected_part in zip(pieces.state, whole.state, strict=True):
        np.testing.assert_allclose(part, expected_part, atol=1e-5)


class TestViews:
    def test_start_in_the_initial_state(self, network: RecurrentQNetwork) -> None:
        for part, initial in zip(StatefulNetwork(network, 3).state, network.state_example, strict=True):
            np.testing.assert_array_equal(part, np.broadcast_to(initial, (3, *initial.shape)))

    def test_of_several_batch_sizes_share_weights_and_no_state(
        self, network: RecurrentQNetwork, rng: np.random.Generator
    ) -> None:
        """What ``stateful=True`` cannot: one set of weights, batches of 3, of 1, and of 3 again (trap 20)."""
        one, other, single = StatefulNetwork(network, 3), StatefulNetwork(network, 3), StatefulNetwork(network, 1)
        inputs = random_inputs(rng, 3, 4)
        q_values = one(inputs)
        assert not np.any(other.state[0])
        assert not np.any(single.state[0])
        np.testing.assert_allclose(single(steps_of(inputs, slice(1, 2), ROWS)), q_values[1:2], atol=1e-6)
        np.testing.assert_allclose(other(inputs), q_values, atol=1e-6)

    def test_new_weights_count_from_the_next_call_on(self, rng: np.random.Generator) -> None:
        network = random_network(4)
        view, inputs = StatefulNetwork(network, 2), random_inputs(rng, 2, 3)
        before = view(inputs).numpy()
        state = view.state
        for variable in network.trainable_variables:
            variable.assign(variable * 0.5)
        for part, kept in zip(view.state, state, strict=True):
            np.testing.assert_array_equal(part, kept)
        view.reset()
        fresh = StatefulNetwork(network, 2)(inputs).numpy()
        assert np.abs(fresh - before).max() > 0.01
        np.testing.assert_array_equal(view(inputs), fresh)

    def test_hand_out_copies_of_their_state(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        view = StatefulNetwork(network, 2)
        view(random_inputs(rng, 2, 1))
        before, tensors = view.state, view.state_tensors()
        kept = [part.copy() for part in before]
        view(random_inputs(rng, 2, 1))
        for part, tensor, expected, now in zip(before, tensors, kept, view.state, strict=True):
            np.testing.assert_array_equal(part, expected)
            np.testing.assert_array_equal(tensor, expected)
            assert np.any(now != expected)
        view.state[0][:] = 9.0
        assert np.all(view.state[0] != 9.0)

    def test_keep_nothing_of_the_state_they_restore(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        view, state = StatefulNetwork(network, 2), random_state(rng, network, 2)
        expected = [part.copy() for part in state]
        view.restore(state)
        for part in state:
            part[:] = 9.0
        for part, expected_part in zip(view.state, expected, strict=True):
            np.testing.assert_array_equal(part, expected_part)

    def test_do_not_count_as_weights(self, network: RecurrentQNetwork) -> None:
        before = len(network.weights)
        StatefulNetwork(network, 2)
        assert len(network.weights) == before


def test_works_inside_a_tf_function(network: RecurrentQNetwork, rng: np.random.Generator) -> None:
    """One graph: restore, warm up, reset a row, run, hand out the state."""
    eager, compiled = StatefulNetwork(network, 3), StatefulNetwork(network, 3)
    state, prefix, inputs = random_state(rng, network, 3), random_inputs(rng, 3, 4), random_inputs(rng, 3, 2)
    lengths, rows = np.array([4, 0, 2], np.int32), np.array([False, False, True])

    def run(view: StatefulNetwork, state: Any, prefix: Any, lengths: Any, rows: Any, inputs: Any) -> Any:
        view.restore(state)
        view.warm_up(prefix, lengths)
        view.reset(rows)
        q_values = view(inputs)
        return q_values, view.state_tensors()

    arguments = tf.nest.map_structure(tf.constant, (state, prefix, lengths, rows, inputs))
    expected = run(eager, *arguments)
    graph = tf.function(lambda *given: run(compiled, *given))
    for _ in range(2):
        found = graph(*arguments)
        for part, expected_part in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(part, expected_part, atol=1e-6)
    for part, expected_part in zip(compiled.state, eager.state, strict=True):
        np.testing.assert_allclose(part, expected_part, atol=1e-6)


class TestWarmUp:
    def test_moves_each_row_over_its_own_steps(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        prefix, state = random_inputs(rng, 3, 5), random_state(rng, network, 3)
        view = StatefulNetwork(network, 3)
        view.restore(state)
        view.warm_up(prefix, [5, 0, 2])
        for row, length in enumerate([5, 0, 2]):
            alone = StatefulNetwork(network, 1)
            alone.restore(tuple(part[row : row + 1] for part in state))
            if length:
                alone(steps_of(prefix, slice(row, row + 1), slice(0, length)))
            for part, expected in zip(view.state, alone.state, strict=True):
                np.testing.assert_allclose(part[row], expected[0], atol=1e-6)

    def test_over_no_steps_moves_nothing(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        view, state = StatefulNetwork(network, 3), random_state(rng, network, 3)
        view.restore(state)
        view.warm_up(random_inputs(rng, 3, 0))
        view.warm_up(random_inputs(rng, 3, 0), [0, 0, 0])
        for part, expected in zip(view.state, state, strict=True):
            np.testing.assert_array_equal(part, expected)

    def test_passes_no_gradient(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        view = StatefulNetwork(network, 2)
        prefix = tf.nest.map_structure(tf.constant, random_inputs(rng, 2, 3))
        with tf.GradientTape() as tape:
            tape.watch(prefix.observation)
            view.warm_up(prefix)
            total = tf.reduce_sum(view(random_inputs(rng, 2, 1)))
        assert tape.gradient(total, prefix.observation) is None

    @pytest.mark.parametrize("lengths", [[3, 4, 5], [-1, 0, 1], [1, 2], [[1], [2], [3]], 2])
    def test_refuses_lengths_that_do_not_fit(
        self, network: RecurrentQNetwork, rng: np.random.Generator, lengths: Any
    ) -> None:
        view, state = StatefulNetwork(network, 3), random_state(rng, network, 3)
        view.restore(state)
        with pytest.raises(ValueError, match=r"lengths=.* must be 3 numbers from 0 to 4"):
            view.warm_up(random_inputs(rng, 3, 4), lengths)
        for part, expected in zip(view.state, state, strict=True):
            np.testing.assert_array_equal(part, expected)


def zeros(*shapes: tuple[int, ...], dtype: Any = np.float32) -> list[np.ndarray]:
    return [np.zeros(shape, dtype) for shape in shapes]


class TestRefuses:
    @pytest.mark.parametrize(
        ("state", "said"),
        [
            (zeros((2, 6)), "state has 1 parts, this network's has 2"),
            (zeros((2, 6), (2, 6), (2, 6)), "state has 3 parts, this network's has 2"),
            ((), "state has 0 parts"),
            (zeros((2, 6), (2, 5)), r"state\[1\] has shape \(2, 5\), must be \(2, 6\)"),
            (zeros((3, 6), (3, 6)), r"state\[0\] has shape \(3, 6\), must be \(2, 6\)"),
            (zeros((1, 6), (1, 6)), r"state\[0\] has shape \(1, 6\), must be \(2, 6\)"),
            (zeros((6,), (6,)), r"state\[0\] has shape \(6,\), must be \(2, 6\)"),
            ((0.0, 0.0), r"state\[0\] has shape \(\), must be \(2, 6\)"),
            (zeros((2, 6), (2, 6), dtype=np.float64), r"state\[0\] has dtype float64, must be float32"),
            (zeros((2, 6), (2, 6), dtype=np.int32), r"state\[0\] has dtype int32, must be float32"),
            ((np.ones((2, 6), np.float32), np.full((2, 6), np.nan, np.float32)), r"state\[1\] must be finite"),
            ((np.ones((2, 6), np.float32), tf.fill([2, 6], -np.inf)), r"state\[1\] must be finite"),
        ],
        ids=str,
    )
    def test_a_state_that_is_not_this_networks_and_changes_nothing(
        self, network: RecurrentQNetwork, rng: np.random.Generator, state: Any, said: str
    ) -> None:
        view, before = StatefulNetwork(network, 2), random_state(rng, network, 2)
        view.restore(before)
        with pytest.raises(ValueError, match=said):
            view.restore(state)
        for part, expected in zip(view.state, before, strict=True):
            np.testing.assert_array_equal(part, expected)

    def test_another_batch_size(self, network: RecurrentQNetwork, rng: np.random.Generator) -> None:
        view = StatefulNetwork(network, 2)
        with pytest.raises(ValueError, match="batch size 3, this view has batch_size=2; make another"):
            view(random_inputs(rng, 3, 1))
        with pytest.raises(ValueError, match="batch size 1, this view has batch_size=2"):
            view.warm_up(random_inputs(rng, 1, 1))
        assert not np.any(view.state[0])

    def test_a_view_of_no_rows(self, network: RecurrentQNetwork) -> None:
        with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
            StatefulNetwork(network, 0)
