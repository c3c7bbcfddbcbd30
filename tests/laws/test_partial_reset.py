"""Law 5: when one environment of many ends its episode, only its row of the recurrent state is reset."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_sequences import CORES, FEATURES, NUM_ACTIONS, random_inputs, random_network, random_state

from agents.acting import Actor
from r2d2.network import RecurrentQNetwork
from r2d2.stateful import StatefulNetwork

SOME, NONE, ALL = [False, True, False, True], [False] * 4, [True] * 4


@pytest.fixture(scope="module", params=["lstm", "lstm_left_to_keras", "gru", "rnn_of_stacked_cells"])
def network(request: pytest.FixtureRequest) -> RecurrentQNetwork:
    return random_network(5, **CORES[request.param]())


class TestStatefulNetwork:
    @pytest.mark.parametrize("rows", [SOME, NONE, ALL])
    @pytest.mark.parametrize("compiled", [False, True])
    def test_reset_moves_the_rows_asked_for_and_no_others(
        self, network: RecurrentQNetwork, rows: list[bool], compiled: bool
    ) -> None:
        view = StatefulNetwork(network, 4)
        before = random_state(np.random.default_rng(0), network, 4)
        view.restore(before)
        reset = tf.function(view.reset) if compiled else view.reset
        reset(tf.constant(rows) if compiled else np.array(rows))
        for after, old, initial in zip(view.state, before, network.state_example, strict=True):
            for row, chosen in enumerate(rows):
                np.testing.assert_array_equal(after[row], initial if chosen else old[row])

    def test_reset_without_rows_moves_all(self, network: RecurrentQNetwork) -> None:
        view = StatefulNetwork(network, 4)
        view.restore(random_state(np.random.default_rng(0), network, 4))
        view.reset()
        for after, initial in zip(view.state, network.initial_state(4), strict=True):
            np.testing.assert_array_equal(after, initial)

    def test_the_other_rows_go_on_as_if_nothing_had_happened(self, network: RecurrentQNetwork) -> None:
        rng = np.random.default_rng(1)
        first, second = random_inputs(rng, 4, 3), random_inputs(rng, 4, 3)
        undisturbed, disturbed, fresh = (StatefulNetwork(network, 4) for _ in range(3))
        undisturbed(first)
        disturbed(first)
        disturbed.reset(np.array(SOME))
        expected = np.where(np.array(SOME)[:, None, None], fresh(second), undisturbed(second))
        assert np.abs(fresh.state[0] - undisturbed.state[0]).max() > 0.01
        np.testing.assert_allclose(disturbed(second), expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([1, 0, 1, 0], r"int32\[4\]"),
            ([True] * 3, r"bool\[3\]"),
            ([[True]] * 4, r"bool\[4, 1\]"),
            (True, r"bool\[\]"),
        ],
    )
    def test_refuses_anything_but_one_bool_a_row(self, network: RecurrentQNetwork, rows: Any, said: str) -> None:
        view = StatefulNetwork(network, 4)
        before = random_state(np.random.default_rng(0), network, 4)
        view.restore(before)
        with pytest.raises(ValueError, match=rf"rows is {said}, must be bool\[4\]"):
            view.reset(rows)
        for after, old in zip(view.state, before, strict=True):
            np.testing.assert_array_equal(after, old)


class Stream:
    """Random observations, actions and rewards of 4 environments, the same for every actor that follows them."""

    def __init__(self, steps: int) -> None:
        rng = np.random.default_rng(2)
        self.observation = rng.normal(size=(steps, 4, FEATURES)).astype(np.float32)
        self.action = rng.integers(0, NUM_ACTIONS, (steps, 4))
        self.reward = rng.normal(size=(steps, 4)).astype(np.float32)

    def follow(self, actor: Actor, times: range, first: dict[int, list[bool]]) -> tuple[np.ndarray, Any]:
        """Q-values and states before, [time, 4, ...], of an actor told ``first`` at some times."""
        q_values, states = [], []
        for t in times:
            q, state = actor.q_values(self.observation[t], np.array(first.get(t, NONE)))
            actor.took(self.action[t], self.reward[t])
            q_values.append(q)
            states.append(state)
        return np.array(q_values), [np.array(parts) for parts in zip(*states, strict=True)]


class TestActor:
    def test_an_episodes_start_resets_its_own_row(self, network: RecurrentQNetwork) -> None:
        """Rows 1 and 3 start an episode at time 4: from there they are those of an actor that starts there."""
        stream = Stream(8)
        together, states = stream.follow(Actor(network, 4), range(8), {0: ALL, 4: SOME})
        undisturbed, undisturbed_states = stream.follow(Actor(network, 4), range(8), {0: ALL})
        fresh, fresh_states = stream.follow(Actor(network, 4), range(4, 8), {4: ALL})
        np.testing.assert_allclose(together[:, [0, 2]], undisturbed[:, [0, 2]], atol=1e-6)
        np.testing.assert_allclose(together[4:, [1, 3]], fresh[:, [1, 3]], atol=1e-6)
        assert np.abs(fresh - undisturbed[4:]).max() > 0.01
        for part, undisturbed_part, fresh_part in zip(states, undisturbed_states, fresh_states, strict=True):
            np.testing.assert_allclose(part[:, [0, 2]], undisturbed_part[:, [0, 2]], atol=1e-6)
            np.testing.assert_allclose(part[4:, [1, 3]], fresh_part[:, [1, 3]], atol=1e-6)

    def test_hands_out_the_initial_state_where_an_episode_starts(self, network: RecurrentQNetwork) -> None:
        _, states = Stream(5).follow(Actor(network, 4), range(5), {0: ALL, 3: SOME})
        for part, initial in zip(states, network.state_example, strict=True):
            np.testing.assert_array_equal(part[3, [1, 3]], np.broadcast_to(initial, (2, *initial.shape)))
            assert np.all(np.any(part[3, [0, 2]] != initial, axis=-1))
