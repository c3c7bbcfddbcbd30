"""One update is what its formulas say: compared with a slow one that takes each sequence by itself."""

import math
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from random_sequences import CORES, as_tensors, random_batch, random_network, randomize

from r2d2.learner import DivergenceError, Learner
from r2d2.network import RecurrentQNetwork
from r2d2.replay import Batch, Inputs
from r2d2.settings import LearnerSettings

TRAIN_LENGTH, N_STEP = 4, 2
PREFIX_LENGTHS, UNROLL_LENGTHS = [0, 1, 3, 5, 2], [6, 2, 6, 3, 5]


def settings(**changes: Any) -> LearnerSettings:
    return LearnerSettings(**({"n_step": N_STEP, "gamma": 0.9, "learning_rate": 0.01, "target_period": 100} | changes))


def make_batch(network: RecurrentQNetwork, seed: int = 0, *, prefix: Any = None, unroll: Any = None) -> Batch:
    return random_batch(
        network,
        seed,
        PREFIX_LENGTHS if prefix is None else prefix,
        UNROLL_LENGTHS if unroll is None else unroll,
        train_length=TRAIN_LENGTH,
        n_step=N_STEP,
    )


NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": CORES["gru"](),
    "hidden layer, not dueling": {"head_units": 5, "dueling": False},
    "embedding": {"observation_space": spaces.Discrete(300)},
}


@cache
def _compiled_learner(network: str, **changes: Any) -> tuple[Learner, list[np.ndarray]]:
    learner = Learner(random_network(**NETWORKS[network]), settings(**changes))
    return learner, [np.array(variable) for variable in learner.optimizer.variables]


def make_learner(network: str = "lstm", **changes: Any) -> Learner:
    """A learner before its first update, whose target network differs from the online one.

    To save compilation, those made alike are one, put back to the beginning: use one after the other.
    """
    learner, optimizer = _compiled_learner(network, **changes)
    randomize(learner.network, 0)
    randomize(learner.target_network, 9)
    learner.set_reward_scale(0.7)
    for variable, value in zip(learner.optimizer.variables, optimizer, strict=True):
        variable.assign(value)
    learner.updates = 0
    return learner


def weights_of(network: Any) -> list[np.ndarray]:
    return [np.array(variable) for variable in network.weights]


def optimizer_of(learner: Learner) -> list[np.ndarray]:
    return [np.array(variable) for variable in learner.optimizer.variables]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray], rtol: float = 0.0, atol: float = 0.0) -> None:
    for array, expected_array in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, expected_array, rtol=rtol, atol=atol)


class SlowLearner:
    """The same update from the same weights, one sequence at a time, so that there is no padding anywhere."""

    def __init__(self, learner: Learner) -> None:
        self.settings = learner.settings
        self.network, self.target_network = learner.network.copy(), learner.target_network.copy()
        self.adam = keras.optimizers.Adam(self.settings.learning_rate, epsilon=self.settings.adam_epsilon)
        self.scale = float(learner.network.reward_scale.numpy())

    def update(self, batch: Batch) -> tuple[float, np.ndarray, float, float]:
        """Loss, priorities, gradient norm and mean Q-value; the online network is trained."""
        tensors, variables = as_tensors(batch), self.network.trainable_variables
        with tf.GradientTape() as tape:
            rows = [self._td_errors(tensors, row) for row in range(len(batch.keys))]
            trained_steps = sum(len(td_errors) for td_errors, _ in rows)
            losses = [
                weight * self._step_loss(td_error)
                for weight, (td_errors, _) in zip(batch.importance_weights.tolist(), rows, strict=True)
                for td_error in td_errors
            ]
            loss = tf.add_n(losses) / trained_steps
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, [v.value for v in variables])]
        norm = math.sqrt(sum(float(tf.reduce_sum(tf.square(g))) for g in gradients))
        shrink = min(1.0, self.settings.max_gradient_norm / norm)
        self.adam.apply([g * shrink for g in gradients], variables)
        sizes = [[abs(float(td_error)) for td_error in td_errors] for td_errors, _ in rows]
        eta = self.settings.eta
        priorities = np.array([eta * max(s) + (1 - eta) * sum(s) / len(s) for s in sizes])
        mean_q = sum(float(q) for _, taken in rows for q in taken) / trained_steps
        return float(loss), priorities, norm, mean_q

    def _step_loss(self, td_error: Any) -> Any:
        delta = self.settings.huber_delta
        if delta is not None and abs(float(td_error)) > delta:
            return delta * (abs(td_error) - delta / 2)
        return td_error**2 / 2

    def _td_errors(self, batch: Batch, row: int) -> tuple[list[Any], list[Any]]:
        """TD errors and Q-values of the actions taken, of the trained steps of one sequence."""
        s, u = self.settings, int(batch.unroll_length[row])
        online, target = (self._q_values(network, batch, row) for network in (self.network, self.target_network))
        td_errors, taken = [], []
        for t in range(int(batch.train_length[row])):
            m = min(s.n_step, u - 1 - t)
            goal = sum(s.gamma**i * self.scale * float(batch.reward[row, t + i]) for i in range(m))
            if not bool(batch.terminated[row, t + m - 1]):
                value = float(target[t + m][int(np.argmax(online[t + m]))])
                goal += s.gamma**m * self._h_inverse(value)
            taken.append(online[t][int(batch.action[row, t])])
            td_errors.append(self._h(goal) - taken[-1])
        return td_errors, taken

    def _q_values(self, network: RecurrentQNetwork, batch: Batch, row: int) -> Any:
        def steps(inputs: Inputs, length: Any) -> Inputs:
            return tf.nest.map_structure(lambda leaf: leaf[row : row + 1, : int(length)], inputs)

        state: Any = tuple(part[row : row + 1] for part in batch.state)
        if batch.prefix_length[row]:
            state = network.advance(steps(batch.prefix, batch.prefix_length[row]), state)
        state = tuple(tf.constant(part.numpy()) for part in state)
        return network.unroll(steps(batch.unroll, batch.unroll_length[row]), state)[0][0]

    def _h(self, x: float) -> float:
        e = self.settings.rescaling_epsilon
        return x if e is None else math.copysign(math.sqrt(abs(x) + 1) - 1, x) + e * x

    def _h_inverse(self, y: float) -> float:
        e = self.settings.rescaling_epsilon
        if e is None:
            return y
        return math.copysign(((math.sqrt(1 + 4 * e * (abs(y) + 1 + e)) - 1) / (2 * e)) ** 2 - 1, y)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "paper": ("lstm", {}),
    "huber": ("lstm", {"rescaling_epsilon": None, "huber_delta": 0.3}),
    "one_step": (
        "hidden layer, not dueling",
        {"n_step": 1, "eta": 0.5, "rescaling_epsilon": None, "adam_epsilon": 1e-8},
    ),
    "gru": ("gru", {"gamma": 1.0}),
    "clipped": ("embedding", {"max_gradient_norm": 0.02}),
}


def with_few_values(inputs: Inputs) -> Inputs:
    """Observations of a Discrete space of which few are met, so that the gradients of each have to be added up."""
    return inputs._replace(observation=inputs.previous_action.astype(np.int64) + 1)


@pytest.mark.parametrize(("network", "changes"), CASES.values(), ids=CASES.keys())
def test_three_updates_are_those_of_the_slow_learner(network: str, changes: dict[str, Any]) -> None:
    """Loss, priorities, reported numbers, and weights, from three batches one after the other."""
    learner = make_learner(network, **changes)
    slow = SlowLearner(learner)
    target_before = weights_of(learner.target_network)
    for seed in range(3):
        batch = make_batch(learner.network, seed)
        if network == "embedding":
            batch = batch._replace(prefix=with_few_values(batch.prefix), unroll=with_few_values(batch.unroll))
        update = learner.update(batch)
        loss, priorities, norm, mean_q = slow.update(batch)
        np.testing.assert_allclose(update.loss, loss, rtol=1e-4)
        np.testing.assert_allclose(update.priorities, priorities, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(update.gradient_norm, norm, rtol=1e-4)
        np.testing.assert_allclose(update.mean_q, mean_q, rtol=1e-4, atol=1e-5)
        assert update.priorities.dtype == np.float32
        assert norm > learner.settings.max_gradient_norm or network != "embedding"
    # Adam divides by the size of the gradient: where that is near zero, so is the number of digits left.
    rate = learner.settings.learning_rate
    assert_same(weights_of(learner.network), weights_of(slow.network), atol=3e-3 * rate, rtol=1e-6)
    assert_same(weights_of(learner.target_network), target_before)
    assert learner.updates == 3
    assert int(learner.optimizer.iterations.numpy()) == 3


class TestOneTrace:
    @pytest.mark.parametrize(
        ("prefix", "unroll"),
        [
            ([0], [2]),  # one sequence of one step, without burn-in
            ([0, 0, 0], [6, 2, 5]),  # no prefix at all
            ([9], [6]),
            ([1, 0], [2, 2]),  # the shortest unrolls
            ([3] * 17, [6] * 17),
        ],
        ids=str,
    )
    def test_serves_batches_of_any_size_and_length(self, prefix: list[int], unroll: list[int]) -> None:
        learner = make_learner()
        slow = SlowLearner(learner)
        batch = make_batch(learner.network, prefix=prefix, unroll=unroll)
        update, (loss, priorities, norm, _) = learner.update(batch), slow.update(batch)
        np.testing.assert_allclose(update.loss, loss, rtol=1e-4)
        np.testing.assert_allclose(update.priorities, priorities, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(update.gradient_norm, norm, rtol=1e-4)
        assert learner.traces == 1

    def test_is_made_at_the_first_update(self) -> None:
        assert Learner(random_network(), settings()).traces == 0

    def test_a_shape_is_no_part_of_the_numbers(self) -> None:
        """More padding changes nothing: the batch's longest rows decide how much there is."""
        learner = make_learner()
        batch = make_batch(learner.network, prefix=[1, 2], unroll=[4, 3])

        def longer(array: np.ndarray, fill: Any = 0) -> np.ndarray:
            width = [(0, 0), (0, 3)] + [(0, 0)] * (array.ndim - 2)
            return np.pad(array, width, constant_values=fill)

        def padded(inputs: Inputs) -> Inputs:
            return Inputs(longer(inputs[0]), longer(inputs[1], -1), longer(inputs[2]))

        more = {name: longer(getattr(batch, name)) for name in ("action", "reward", "terminated", "truncated")}
        padded_batch = batch._replace(prefix=padded(batch.prefix), unroll=padded(batch.unroll), **more)
        update, expected = learner.update(batch), weights_of(learner.network)
        padded_update = make_learner().update(padded_batch)
        np.testing.assert_allclose(padded_update.loss, update.loss, rtol=1e-5)
        np.testing.assert_allclose(padded_update.priorities, update.priorities, rtol=1e-5)
        np.testing.assert_allclose(padded_update.mean_q, update.mean_q, rtol=1e-5)
        assert_same(weights_of(learner.network), expected, atol=1e-5)


class TestImportanceWeights:
    def test_multiply_the_loss_of_their_sequence(self) -> None:
        """Weights 1, 0.5 and 0: the loss is that sum of the sequences' own, per trained step of all."""
        batch = make_batch(make_learner().network, prefix=[0, 1, 2], unroll=[6, 4, 2])
        alone = [
            make_learner().update(batch._replace(importance_weights=weights)).loss
            for weights in np.eye(3, dtype=np.float32)
        ]
        update = make_learner().update(batch._replace(importance_weights=np.array([1.0, 0.5, 0.0], np.float32)))
        np.testing.assert_allclose(update.loss, alone[0] + 0.5 * alone[1], rtol=1e-5)
        assert min(alone) > 1e-4

    def test_are_no_part_of_the_priorities(self) -> None:
        batch = make_batch(make_learner().network)
        expected = make_learner().update(batch).priorities
        lighter = batch._replace(importance_weights=batch.importance_weights * np.float32(0.1))
        np.testing.assert_allclose(make_learner().update(lighter).priorities, expected, rtol=1e-5)

    def test_a_sequence_of_weight_zero_is_not_learned_from(self) -> None:
        learner = make_learner()
        weights = np.array([1.0, 0.0], np.float32)
        batch = make_batch(learner.network, prefix=[0, 1], unroll=[6, 6])._replace(importance_weights=weights)
        learner.update(batch)
        expected = weights_of(learner.network)
        other_reward = batch.reward + np.array([[0.0], [5.0]], np.float32)
        make_learner().update(batch._replace(reward=other_reward))
        assert_same(weights_of(learner.network), expected, atol=1e-7)


class TestTargetNetwork:
    def test_starts_equal_and_separate(self) -> None:
        learner = Learner(random_network(), settings())
        assert_same(weights_of(learner.target_network), weights_of(learner.network))
        assert all(a is not b for a, b in zip(learner.target_network.weights, learner.network.weights, strict=True))

    def test_by_period_is_copied_after_every_second_update(self) -> None:
        learner = make_learner(**BY_PERIOD)
        expected, batch = weights_of(learner.target_network), make_batch(learner.network)
        for update in (1, 2, 3, 4, 5):
            learner.update(batch)
            if update in (2, 4):
                expected = weights_of(learner.network)
            else:
                assert np.any(weights_of(learner.network)[1] != expected[1])
            assert_same(weights_of(learner.target_network), expected)

    def test_by_mixing_moves_a_share_of_the_way_to_the_new_weights(self) -> None:
        learner = make_learner(**BY_MIXING)
        batch = make_batch(learner.network)
        for _ in range(2):
            before = weights_of(learner.target_network)
            learner.update(batch)
            expected = [0.75 * old + 0.25 * new for old, new in zip(before, weights_of(learner.network), strict=True)]
            assert_same(weights_of(learner.target_network), expected, atol=1e-6)


BY_PERIOD: dict[str, Any] = {"rescaling_epsilon": None, "target_period": 2}
BY_MIXING: dict[str, Any] = {"rescaling_epsilon": None, "target_period": None, "target_mixing": 0.25}


class TestScaleOfRewards:
    @pytest.mark.parametrize("factor", [100.0, 0.01])
    def test_rewards_times_c_with_a_scale_over_c_give_the_same_update(self, factor: float) -> None:
        """Also where rewards are read: in the previous reward."""

        def times(inputs: Inputs) -> Inputs:
            return inputs._replace(previous_reward=inputs.previous_reward * np.float32(factor))

        learner = make_learner()
        batch = make_batch(learner.network)
        update, expected = learner.update(batch), [np.array(v) for v in learner.network.trainable_variables]

        learner = make_learner()
        learner.set_reward_scale(0.7 / factor)
        larger_update = learner.update(
            batch._replace(
                prefix=times(batch.prefix), unroll=times(batch.unroll), reward=batch.reward * np.float32(factor)
            )
        )
        np.testing.assert_allclose(larger_update.loss, update.loss, rtol=1e-4)
        np.testing.assert_allclose(larger_update.priorities, update.priorities, rtol=1e-4)
        np.testing.assert_allclose(larger_update.gradient_norm, update.gradient_norm, rtol=1e-4)
        assert_same([np.array(v) for v in learner.network.trainable_variables], expected, atol=1e-5)

    def test_is_that_of_both_networks_and_counts_at_once(self) -> None:
        learner = make_learner()
        batch, losses = make_batch(learner.network), []
        for scale in (1.0, 3.0):
            learner = make_learner()
            learner.set_reward_scale(scale)
            assert learner.network.reward_scale.numpy() == learner.target_network.reward_scale.numpy() == scale
            losses.append(learner.update(batch).loss)
        assert abs(losses[1] - losses[0]) > 1e-3


class TestDivergence:
    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
    @pytest.mark.parametrize("target", [BY_PERIOD, BY_MIXING], ids=["period", "mixing"])
    def test_leaves_everything_as_it_was_and_names_update_and_keys(self, value: float, target: dict[str, Any]) -> None:
        learner = make_learner(**target)
        batch = make_batch(learner.network)
        learner.update(batch)
        before = [*weights_of(learner.network), *weights_of(learner.target_network), *optimizer_of(learner)]
        bad = batch._replace(reward=batch.reward.copy())
        bad.reward[2, 1] = value
        with pytest.raises(DivergenceError, match=r"update 2 diverged: .* keys \[100, 101, 102, 103, 104\]") as caught:
            learner.update(bad)
        assert (caught.value.update, caught.value.keys.tolist()) == (2, [100, 101, 102, 103, 104])
        after = [*weights_of(learner.network), *weights_of(learner.target_network), *optimizer_of(learner)]
        assert_same(after, before)
        assert learner.updates == 1

    def test_does_not_keep_the_learner_from_going_on(self) -> None:
        learner = make_learner(**BY_PERIOD)
        batch = make_batch(learner.network)
        learner.update(batch)
        learner.update(batch)
        expected, expected_target = weights_of(learner.network), weights_of(learner.target_network)
        learner = make_learner(**BY_PERIOD)
        learner.update(batch)
        with pytest.raises(DivergenceError):
            learner.update(batch._replace(reward=np.full_like(batch.reward, np.nan)))
        learner.update(batch)
        assert_same(weights_of(learner.network), expected)
        assert_same(weights_of(learner.target_network), expected_target)
