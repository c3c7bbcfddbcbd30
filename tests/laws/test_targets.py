"""Law 12, targets: n-step double-Q with value rescaling matches an independent float64 computation.
Law 11, ends: termination stops the return, truncation bootstraps from the final observation."""

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.targets import n_step_double_q_targets

LAW_BOUND = 1e-6
NUM_ACTIONS = 3


class Unrolls(NamedTuple):
    """The arrays of a batch of sequences: [B, W], [B, W], [B], [B, W, A], [B, W, A]."""

    reward: np.ndarray
    terminated: np.ndarray
    unroll_length: np.ndarray
    online_q: np.ndarray
    target_q: np.ndarray


def computed(unrolls: Unrolls, n_step: int, gamma: float, epsilon: float | None) -> np.ndarray:
    arrays = {name: tf.constant(array) for name, array in unrolls._asdict().items()}
    targets = n_step_double_q_targets(**arrays, n_step=n_step, gamma=gamma, rescaling_epsilon=epsilon)
    assert targets.dtype == tf.float32
    return targets.numpy()


def expected(unrolls: Unrolls, n_step: int, gamma: float, epsilon: float | None) -> np.ndarray:
    """The formula of law 12 in float64, a step at a time, h and its inverse as the literature has them."""

    def h(x: float) -> float:
        return math.copysign(math.sqrt(abs(x) + 1) - 1, x) + epsilon * x if epsilon is not None else x

    def h_inverse(y: float) -> float:
        if epsilon is None:
            return y
        root = (math.sqrt(1 + 4 * epsilon * (abs(y) + 1 + epsilon)) - 1) / (2 * epsilon)
        return math.copysign(root * root - 1, y)

    batch, width = unrolls.reward.shape
    targets = np.zeros((batch, width - 1))
    for k in range(batch):
        final_row = int(unrolls.unroll_length[k]) - 1
        for t in range(final_row):
            n = n_step
            while t + n > final_row:
                n -= 1
            target = 0.0
            for i in range(n):
                target += gamma**i * float(unrolls.reward[k, t + i])
            if not unrolls.terminated[k, t + n - 1]:
                action = int(np.argmax(unrolls.online_q[k, t + n]))
                target += gamma**n * h_inverse(float(unrolls.target_q[k, t + n, action]))
            targets[k, t] = h(target)
    return targets


def assert_within_the_law(actual: np.ndarray, exact: np.ndarray) -> None:
    error = np.abs(actual.astype(np.float64) - exact) / np.maximum(1, np.abs(exact))
    assert np.all(error <= LAW_BOUND), f"largest error {np.max(error):.2e}"


def random_unrolls(
    seed: int,
    unroll_lengths: list[int],
    ends: list[str],
    padding: int = 2,
    garbage: float = math.nan,
    reward_range: tuple[float, float] = (-1, 1),
    q_range: tuple[float, float] = (-2, 2),
) -> Unrolls:
    """A batch whose row k has `unroll_lengths[k]` valid rows and ends as `ends[k]` says.

    Everything that the targets must not read holds `garbage`, or flags drawn at random: rows that are
    padding, and the reward and the end of the last valid row, on which no step of this sequence was taken.
    """
    random = np.random.default_rng(seed)
    batch, width = len(unroll_lengths), max(unroll_lengths) + padding
    reward = random.uniform(*reward_range, (batch, width)).astype(np.float32)
    online_q = random.uniform(*q_range, (batch, width, NUM_ACTIONS)).astype(np.float32)
    target_q = random.uniform(*q_range, (batch, width, NUM_ACTIONS)).astype(np.float32)
    terminated = np.zeros((batch, width), bool)
    for k, (length, end) in enumerate(zip(unroll_lengths, ends, strict=True)):
        terminated[k, length - 2] = end == "terminated"
        terminated[k, length - 1 :] = random.integers(2, size=width - length + 1)
        reward[k, length - 1 :] = garbage
        online_q[k, length:] = target_q[k, length:] = garbage
    return Unrolls(reward, terminated, np.array(unroll_lengths, np.int32), online_q, target_q)


def one_episode(rewards: list[float], values: list[float], *, terminated: bool) -> Unrolls:
    """A whole episode as one sequence; `values` are those of every row, the final observation included."""
    rows = len(values)
    assert len(rewards) == rows - 1
    q = np.tile(np.array(values, np.float32)[None, :, None], (1, 1, NUM_ACTIONS))
    ends = np.zeros((1, rows), bool)
    ends[0, -2] = terminated
    return Unrolls(np.array([[*rewards, 0.0]], np.float32), ends, np.array([rows], np.int32), q, q)


class TestByEye:
    """Arithmetic that a reader can check without running it."""

    def test_truncation_loses_nothing(self) -> None:
        # 1 a step for ever is worth 1 / (1 - 0.99) = 100: a time limit must not change that.
        episode = one_episode([1.0] * 6, [100.0] * 7, terminated=False)
        np.testing.assert_allclose(computed(episode, 5, 0.99, None), [[100] * 6], rtol=1e-6)

    def test_termination_stops_the_return(self) -> None:
        episode = one_episode([1.0] * 6, [100.0] * 7, terminated=True)
        np.testing.assert_allclose(
            computed(episode, 5, 0.99, None),
            [
                [
                    100,  # five steps on, the episode has not ended yet
                    1 + 0.99 + 0.99**2 + 0.99**3 + 0.99**4,
                    1 + 0.99 + 0.99**2 + 0.99**3,  # 3.94
                    1 + 0.99 + 0.99**2,
                    1 + 0.99,
                    1,
                ]
            ],
            rtol=1e-6,
        )

    def test_n_is_shortened_at_a_truncated_end(self) -> None:
        episode = one_episode([1.0, 2.0, 4.0, 8.0], [7.0, 7.0, 100.0, 200.0, 400.0], terminated=False)
        np.testing.assert_allclose(
            computed(episode, 3, 0.5, None),
            [
                [
                    1 + 0.5 * 2 + 0.5**2 * 4 + 0.5**3 * 200,
                    2 + 0.5 * 4 + 0.5**2 * 8 + 0.5**3 * 400,
                    4 + 0.5 * 8 + 0.5**2 * 400,
                    8 + 0.5 * 400,
                ]
            ],
        )

    def test_rewards_stop_short_of_the_row_that_is_bootstrapped_from(self) -> None:
        episode = one_episode([1.0, 10.0, 100.0], [0.0, 0.0, 1000.0, 0.0], terminated=False)
        np.testing.assert_array_equal(computed(episode, 2, 1.0, None)[0, 0], 1 + 10 + 1000)

    def test_online_network_chooses_and_target_network_values(self) -> None:
        unrolls = Unrolls(
            reward=np.array([[1.0, 0.0]], np.float32),
            terminated=np.array([[False, False]]),
            unroll_length=np.array([2], np.int32),
            online_q=np.array([[[9.0, 0.0, 0.0], [0.0, 5.0, 0.0]]], np.float32),  # on row 1: action 1
            target_q=np.array([[[-9.0, -9.0, -9.0], [1000.0, 10.0, 0.0]]], np.float32),  # not its best
        )
        np.testing.assert_array_equal(computed(unrolls, 1, 0.5, None), [[1 + 0.5 * 10]])

    def test_values_are_unscaled_before_the_sum_and_rescaled_after(self) -> None:
        # With epsilon = 0: h^-1(1) = (1 + 1)^2 - 1 = 3, and h(5 + 3) = sqrt(8 + 1) - 1 = 2.
        episode = one_episode([5.0], [0.0, 1.0], terminated=False)
        np.testing.assert_allclose(computed(episode, 1, 1.0, 0.0), [[2]], rtol=1e-6)
        np.testing.assert_allclose(computed(episode, 1, 1.0, None), [[6]], rtol=1e-6)

    def test_rows_without_a_step_are_exactly_zero(self) -> None:
        unrolls = random_unrolls(0, [6, 3, 2, 1], ["truncated", "terminated", "truncated", "truncated"])
        targets = computed(unrolls, 2, 0.9, 1e-3)
        assert targets.shape == (4, 7)
        assert [np.flatnonzero(row).tolist() for row in targets] == [[0, 1, 2, 3, 4], [0, 1], [0], []]


batches = st.lists(
    st.tuples(st.integers(2, 12), st.sampled_from(["terminated", "truncated", "unfinished"])),
    min_size=1,
    max_size=5,
)
epsilons = st.sampled_from([None, 1e-3, 1e-2])
garbages = st.sampled_from([math.nan, math.inf, -math.inf, 3e38, -1e9])


class TestAgainstFloat64:
    """Every target within 1e-6 of the float64 computation, relative to max(1, |target|)."""

    @settings(max_examples=100, deadline=None)
    @given(
        batch=batches,
        n_step=st.integers(1, 6),
        gamma=st.one_of(st.sampled_from([0.0, 0.997, 1.0]), st.floats(0, 1)),
        epsilon=epsilons,
        padding=st.integers(0, 3),
        garbage=garbages,
        seed=st.integers(0, 2**32 - 1),
    )
    def test_any_batch(
        self,
        batch: list[tuple[int, str]],
        n_step: int,
        gamma: float,
        epsilon: float | None,
        padding: int,
        garbage: float,
        seed: int,
    ) -> None:
        lengths, ends = [length for length, _ in batch], [end for _, end in batch]
        unrolls = random_unrolls(seed, lengths, ends, padding, garbage)
        assert_within_the_law(computed(unrolls, n_step, gamma, epsilon), expected(unrolls, n_step, gamma, epsilon))

    @pytest.mark.parametrize("epsilon", [None, 1e-3])
    def test_scores_of_a_million(self, epsilon: float | None) -> None:
        """Rewards up to 1e4 and values up to 1e6: the law is relative there."""
        q_range = (0.0, 1e6) if epsilon is None else (0.0, 1.9e3)  # h(1e6) is about 2000
        lengths, ends = [85, 85, 40, 7], ["unfinished", "terminated", "truncated", "terminated"]
        unrolls = random_unrolls(0, lengths, ends, reward_range=(0.0, 1e4), q_range=q_range)
        exact = expected(unrolls, 5, 0.997, epsilon)
        assert np.max(exact) > (5e5 if epsilon is None else 1e3)
        assert_within_the_law(computed(unrolls, 5, 0.997, epsilon), exact)

    def test_equal_q_values_are_broken_in_favour_of_the_first_action(self) -> None:
        unrolls = random_unrolls(0, [8], ["truncated"], padding=0)
        tied = unrolls._replace(online_q=np.zeros_like(unrolls.online_q))
        assert_within_the_law(computed(tied, 3, 0.9, 1e-3), expected(tied, 3, 0.9, 1e-3))


# rlax shortens n at the end of its arrays as we do at the end of an episode, and takes its discounts
# step by step: an episode's own slice with discount 0 where it terminated is the same computation.
RLAX_PROGRAM = """
import json, sys
import numpy as np, rlax

def targets(case):
    reward, online_q, target_q = (np.array(case[name]) for name in ("reward", "online_q", "target_q"))
    steps, num_actions = online_q.shape
    return rlax.transformed_n_step_q_learning(
        q_tm1=np.zeros((steps, num_actions)),  # the TD error from 0 is the target itself
        a_tm1=np.zeros(steps, int),
        target_q_t=target_q,
        a_t=online_q.argmax(axis=-1),
        r_t=reward,
        discount_t=case["gamma"] * (1.0 - np.array(case["terminated"])),
        n=case["n_step"],
        tx_pair=rlax.SIGNED_HYPERBOLIC_PAIR if case["rescaled"] else rlax.IDENTITY_PAIR,
    )

json.dump([np.asarray(targets(case)).tolist() for case in json.load(sys.stdin)], sys.stdout)
"""


@pytest.mark.skipif(importlib.util.find_spec("rlax") is None, reason="rlax is not installed")
def test_targets_agree_with_rlax() -> None:
    gamma, steps = 0.97, 7
    cases, actual = [], []
    for n_step, rescaled in itertools.product([1, 3, 5, 9], [True, False]):
        unrolls = random_unrolls(n_step, [steps + 1] * 3, ["terminated", "truncated", "unfinished"])
        actual.extend(computed(unrolls, n_step, gamma, 1e-3 if rescaled else None)[:, :steps])
        cases += [
            {
                "reward": unrolls.reward[k, :steps].tolist(),
                "terminated": unrolls.terminated[k, :steps].tolist(),
                "online_q": unrolls.online_q[k, 1 : steps + 1].tolist(),
                "target_q": unrolls.target_q[k, 1 : steps + 1].tolist(),
                "n_step": n_step,
                "gamma": gamma,
                "rescaled": rescaled,
            }
            for k in range(3)
        ]
    # A process of its own: rlax cannot be imported after TensorFlow unless the Keras 2 package is there.
    answer = subprocess.run(
        [sys.executable, "-c", RLAX_PROGRAM],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"},
    )
    assert answer.returncode == 0, answer.stderr
    assert_within_the_law(np.array(actual), np.array(json.loads(answer.stdout)))


@settings(max_examples=50, deadline=None)
@given(
    episode_length=st.integers(1, 25),
    train_length=st.integers(1, 8),
    n_step=st.integers(1, 6),
    terminated=st.booleans(),
    data=st.data(),
)
def test_a_trained_step_has_one_target_whichever_sequence_it_is_in(
    episode_length: int, train_length: int, n_step: int, terminated: bool, data: st.DataObject
) -> None:
    """Cut into sequences, an episode's trained steps keep the targets they have in the whole episode."""
    overlap = data.draw(st.integers(0, train_length - 1), "overlap")
    end = "terminated" if terminated else "truncated"
    episode = random_unrolls(episode_length, [episode_length + 1], [end], padding=0)
    whole = computed(episode, n_step, 0.9, 1e-3)

    starts = range(0, max(1, episode_length - overlap), train_length - overlap)
    windows = [(start, min(start + train_length + n_step, episode_length + 1)) for start in starts]
    width = max(stop - start for start, stop in windows)

    def rows(array: np.ndarray) -> np.ndarray:
        """The windows of one array; what fills up a shorter one must not matter."""
        return np.stack([np.resize(array[0, i:j], (width, *array.shape[2:])) for i, j in windows])

    batch = Unrolls(
        reward=rows(episode.reward),
        terminated=rows(episode.terminated),
        unroll_length=np.array([stop - start for start, stop in windows], np.int32),
        online_q=rows(episode.online_q),
        target_q=rows(episode.target_q),
    )
    cut = computed(batch, n_step, 0.9, 1e-3)
    seen = set()
    for targets, start in zip(cut, starts, strict=True):
        trained = min(train_length, episode_length - start)
        np.testing.assert_allclose(targets[:trained], whole[0, start : start + trained], rtol=1e-6, atol=1e-6)
        seen.update(range(start, start + trained))
    assert seen == set(range(episode_length))


def test_no_gradient_flows_through_targets() -> None:
    unrolls = random_unrolls(0, [6, 4], ["terminated", "truncated"], garbage=0.0)
    online_q, target_q = tf.Variable(unrolls.online_q), tf.Variable(unrolls.target_q)
    with tf.GradientTape() as tape:
        targets = n_step_double_q_targets(
            reward=tf.constant(unrolls.reward),
            terminated=tf.constant(unrolls.terminated),
            unroll_length=tf.constant(unrolls.unroll_length),
            online_q=online_q,
            target_q=target_q,
            n_step=3,
            gamma=0.9,
            rescaling_epsilon=1e-3,
        )
        loss = tf.reduce_sum(targets)
    assert tape.gradient(loss, [online_q, target_q]) == [None, None]


@pytest.mark.parametrize("epsilon", [None, 1e-3])
def test_inside_a_graph_with_unknown_dimensions(epsilon: float | None) -> None:
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([None, None], tf.bool),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None, None], tf.float32),
            tf.TensorSpec([None, None, None], tf.float32),
        ]
    )
    def in_graph(*arrays: tf.Tensor) -> tf.Tensor:
        traces.append(arrays)
        named = dict(zip(Unrolls._fields, arrays, strict=True))
        return n_step_double_q_targets(**named, n_step=4, gamma=0.97, rescaling_epsilon=epsilon)

    for lengths in ([2], [9, 3, 5], [30, 6]):
        for end in ("terminated", "truncated"):
            unrolls = random_unrolls(len(lengths), lengths, [end] * len(lengths))
            eager = computed(unrolls, 4, 0.97, epsilon)
            # Not bit for bit: the graph's optimizer may fold two operations into one.
            np.testing.assert_allclose(in_graph(*unrolls), eager, rtol=1e-6, atol=1e-6)
    assert len(traces) == 1


class TestRefusals:
    """A wrong argument is named, with what it was and what is allowed."""

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"n_step": 0}, "n_step=0 must be at least 1"),
            ({"gamma": 1.01}, r"gamma=1.01 must lie in \[0, 1\]"),
            ({"gamma": math.nan}, "gamma=nan must"),
            ({"rescaling_epsilon": -1e-3}, "rescaling_epsilon=-0.001 must be None or at least 0"),
            ({"reward": np.zeros(3, np.float32)}, r"reward must be \[batch, time\]"),
            ({"terminated": np.zeros((1, 3, 1), bool)}, r"terminated must be \[batch, time\]"),
            ({"unroll_length": np.ones((1, 1), np.int32)}, r"unroll_length must be \[batch\]"),
            ({"online_q": np.zeros((1, 3), np.float32)}, r"online_q must be \[batch, time, action\]"),
            ({"target_q": np.zeros((1, 3), np.float32)}, r"target_q must be \[batch, time, action\]"),
        ],
    )
    def test_message(self, changed: dict[str, object], message: str) -> None:
        arguments = random_unrolls(0, [3], ["truncated"], padding=0)._asdict()
        arguments |= {"n_step": 1, "gamma": 0.9, "rescaling_epsilon": None} | changed
        with pytest.raises(ValueError, match=message):
            n_step_double_q_targets(**arguments)
