"""One step in NumPy is one step of the network."""

import warnings
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.network import RecurrentQNetwork
from r2d2.numpy_step import NumpyStep, can_step
from r2d2.replay import Inputs

ACTIONS = spaces.Discrete(4, start=2)
SPACES = {
    "vector": spaces.Box(-3, 3, (5,)),
    "vector of two axes": spaces.Box(-3, 3, (2, 3)),
    "number": spaces.Box(-3, 3, ()),
    "float64": spaces.Box(-3, 3, (2,), np.float64),
    "whole numbers": spaces.Box(-200, 100, (3,), np.int16),
    "discrete": spaces.Discrete(5, start=-2),
    "multi-discrete": spaces.MultiDiscrete([3, 4], start=[1, -1]),
    "multi-discrete of two axes": spaces.MultiDiscrete([[3, 2], [2, 5]]),
    "multi-binary": spaces.MultiBinary((2, 2)),
    "all": spaces.Dict({"a": spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (2,))]), "b": spaces.MultiBinary(3)}),
}


def spread_out(network: RecurrentQNetwork, seed: int) -> RecurrentQNetwork:
    """All weights random, those that start at zero or one too."""
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in network.get_weights()])
    return network


def samples(space: spaces.Space[Any], n: int, seed: int) -> Any:
    own = batch_space(space, n)
    own.seed(seed)
    return own.sample()


def steps(network: RecurrentQNetwork, n: int, seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    observation = samples(network.observation_space, n, seed)
    state = tuple(rng.normal(size=(n, *part.shape)).astype(np.float32) for part in network.state_example)
    return observation, rng.integers(-1, 4, n).astype(np.int32), rng.normal(size=n).astype(np.float32), state


def by_network(network: RecurrentQNetwork, observation: Any, action: Any, reward: Any, state: Any) -> Any:
    one = tf.nest.map_structure(lambda leaf: tf.convert_to_tensor(leaf)[:, None], Inputs(observation, action, reward))
    q_values, new_state = network.unroll(one, tuple(map(tf.constant, state)))
    return q_values.numpy()[:, 0], [part.numpy() for part in new_state]


def assert_same_step(network: RecurrentQNetwork, run: NumpyStep, given_steps: tuple[Any, ...]) -> None:
    kept = tf.nest.map_structure(np.copy, given_steps)
    q_values, new_state = run(*given_steps)
    expected, expected_state = by_network(network, *given_steps)
    assert q_values.dtype == np.float32
    np.testing.assert_allclose(q_values, expected, rtol=1e-5, atol=2e-6)
    for part, other in zip(new_state, expected_state, strict=True):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, other, rtol=1e-5, atol=2e-6)
    tf.nest.map_structure(np.testing.assert_array_equal, given_steps, kept)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_space_is_read_as_the_torso_reads_it(space: spaces.Space[Any]) -> None:
    network = spread_out(RecurrentQNetwork(space, ACTIONS, torso_units=6, core_units=(5,)), 1)
    assert can_step(network)
    assert_same_step(network, NumpyStep(network), steps(network, 7, 3))


@settings(max_examples=20)
@given(st.data())
def test_any_network_and_number_of_rows(data: st.DataObject) -> None:
    network = spread_out(
        RecurrentQNetwork(
            SPACES["vector"],
            ACTIONS,
            torso_units=data.draw(st.integers(1, 9)),
            core_units=data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)),
            head_units=data.draw(st.sampled_from([0, 3])),
            dueling=data.draw(st.booleans()),
            read_previous_action=data.draw(st.booleans()),
            read_previous_reward=data.draw(st.booleans()),
        ),
        data.draw(st.integers(0, 99)),
    )
    assert_same_step(network, NumpyStep(network), steps(network, data.draw(st.integers(1, 20)), 0))


def test_gates_that_are_wide_open_or_shut_give_no_warning_and_no_nan() -> None:
    network = RecurrentQNetwork(SPACES["vector"], ACTIONS, torso_units=4, core_units=(3,))
    network.set_weights([np.full(w.shape, 300.0 * (-1) ** i, np.float32) for i, w in enumerate(network.get_weights())])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        q_values, state = NumpyStep(network)(*steps(network, 4, 0))
    assert np.isfinite(q_values).all()
    assert all(np.isfinite(part).all() for part in state)


def test_new_weights_count_from_the_refresh_on() -> None:
    network = spread_out(RecurrentQNetwork(SPACES["vector"], ACTIONS, torso_units=4, core_units=(3,)), 1)
    run, given_steps = NumpyStep(network), steps(network, 3, 0)
    before, _ = run(*given_steps)
    spread_out(network, 2)
    np.testing.assert_array_equal(run(*given_steps)[0], before)
    run.refresh()
    assert_same_step(network, run, given_steps)


@pytest.mark.parametrize(
    "network",
    [
        lambda: RecurrentQNetwork(spaces.Box(0, 255, (8, 8, 1), np.uint8), ACTIONS),
        lambda: RecurrentQNetwork(spaces.Discrete(1000), ACTIONS),
        lambda: RecurrentQNetwork(SPACES["vector"], ACTIONS, core="gru"),
        lambda: RecurrentQNetwork(
            SPACES["vector"],
            ACTIONS,
            core=keras.layers.LSTM(4, activation="relu", return_sequences=True, return_state=True),
        ),
        lambda: RecurrentQNetwork(
            SPACES["vector"],
            ACTIONS,
            core=keras.layers.LSTM(4, use_bias=False, return_sequences=True, return_state=True),
        ),
    ],
    ids=["an image", "an embedding", "GRU", "another activation", "no bias"],
)
def test_what_it_cannot_do_is_left_alone(network: Any) -> None:
    assert not can_step(network())


@pytest.mark.parametrize("wrong", ["narrow observation", "wide observation", "narrow state", "wide state", "rows"])
def test_what_does_not_fit_the_weights_is_refused(wrong: str) -> None:
    """The compiled products check no bounds: what fits nowhere must not reach them."""
    network = RecurrentQNetwork(SPACES["vector"], ACTIONS, core_units=(20,))
    observation, action, reward, state = steps(network, 3, 0)
    if "observation" in wrong:
        observation = np.zeros((3, 2 if "narrow" in wrong else 200), np.float32)
    elif "state" in wrong:
        state = tuple(np.zeros((3, 4 if "narrow" in wrong else 200), np.float32) for _ in state)
    else:
        state = tuple(part[:2] for part in state)
    with pytest.raises(ValueError, match=r"another width|rows, depth or columns|dimensions"):
        NumpyStep(network)(observation, action, reward, state)
