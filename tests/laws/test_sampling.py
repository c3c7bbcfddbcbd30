"""Laws 9 and 10: sequences are drawn in proportion to their priorities, and an update never meets another sequence.

Most replays here hold episodes of one step, so that a sequence is an episode and easy to count: the ``n``-th episode
is the one with observation ``n``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.replay import SequenceGeometry, SequenceReplay
from r2d2.replay.records import SLOT_MASK
from r2d2.replay.sum_tree import SumTree

DRAWS = 50_000


def one_step_replay(episodes: int, num_envs: int = 1, **options: Any) -> SequenceReplay:
    """Room for ``episodes`` episodes of one step, two rows each, in every environment."""
    return SequenceReplay(
        spaces.Discrete(10**9),
        spaces.Discrete(2),
        (),
        SequenceGeometry(burn_in=0, train_length=1, overlap=0, n_step=1),
        capacity=2 * max(episodes, 2) * num_envs,
        num_envs=num_envs,
        **options,
    )


def play(replay: SequenceReplay, numbers: list[int], priority: Any = None) -> np.ndarray:
    """One episode of one step in every environment; ``numbers`` are their observations. Returns their keys."""
    yes = np.ones(len(numbers), bool)
    return replay.add(
        numbers, yes * 0, yes * 1.0, yes, ~yes, (), final_observation=np.array(numbers), priority=priority
    )


def fill(priorities: list[float], **options: Any) -> tuple[SequenceReplay, np.ndarray]:
    """A replay of one sequence for each of ``priorities``, and their keys."""
    replay = one_step_replay(len(priorities), **options)
    keys = [int(play(replay, [n], p)[0]) for n, p in enumerate(priorities)]
    return replay, np.array(keys)


def frequencies(replay: SequenceReplay, keys: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """How often each of ``keys`` comes in ``draws`` draws, as fractions; one large batch, so drawn in equal strata."""
    drawn = replay.sample(draws).keys
    assert np.isin(drawn, keys).all()
    return (drawn[:, None] == keys).mean(axis=0)


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected) ** 2 / expected).sum())


def chi_square_bound(degrees: int) -> float:
    """What chi-square exceeds about once in a million times, by the approximation of Wilson and Hilferty (1931)."""
    one_in_a_million = 4.75  # standard deviations of a normal variable
    return degrees * (1 - 2 / (9 * degrees) + one_in_a_million * math.sqrt(2 / (9 * degrees))) ** 3


class TestFrequencies:
    """Law 10: p_i**alpha / sum_j p_j**alpha."""

    @pytest.mark.parametrize(
        ("exponent", "expected"),
        [
            (1.0, [1 / 10, 2 / 10, 3 / 10, 4 / 10]),
            (2.0, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
            (0.5, [1 / 6.1463, 1.4142 / 6.1463, 1.7321 / 6.1463, 2 / 6.1463]),
            (0.0, [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ],
    )
    def test_of_priorities_1_2_3_4(self, exponent: float, expected: list[float]) -> None:
        replay, keys = fill([1, 2, 3, 4], priority_exponent=exponent)
        # Strata of equal mass: a frequency can be wrong by the two strata at the ends of its interval.
        np.testing.assert_allclose(frequencies(replay, keys), expected, atol=2 / DRAWS + 1e-5)

    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    @pytest.mark.parametrize("exponent", [0.6, 0.9, 1.0])
    def test_pass_a_chi_square_test_whatever_the_batch_size(self, batch_size: int, exponent: float) -> None:
        priorities = np.random.default_rng(3).exponential(size=50) + 0.05
        replay, keys = fill(priorities.tolist(), priority_exponent=exponent, seed=batch_size)
        drawn = np.concatenate([replay.sample(batch_size).keys for _ in range(6000 // batch_size)])
        counts = (drawn[:, None] == keys).sum(axis=0)
        probabilities = priorities**exponent / (priorities**exponent).sum()
        assert counts.sum() == len(drawn)
        assert chi_square(counts, probabilities) < chi_square_bound(49)

    def test_the_chi_square_test_would_notice_another_exponent(self) -> None:
        priorities = np.random.default_rng(3).exponential(size=50) + 0.05
        replay, keys = fill(priorities.tolist(), priority_exponent=0.9)
        drawn = np.concatenate([replay.sample(32).keys for _ in range(190)])
        wrong = priorities**0.6 / (priorities**0.6).sum()
        assert chi_square((drawn[:, None] == keys).sum(axis=0), wrong) > chi_square_bound(49)

    @settings(max_examples=40)
    @given(
        priorities=st.lists(st.floats(0, 1e6), min_size=1, max_size=80).filter(lambda p: max(p) > 0),
        exponent=st.sampled_from([0.3, 0.9, 1.0, 1.7]),
    )
    def test_of_any_priorities(self, priorities: list[float], exponent: float) -> None:
        replay, keys = fill(priorities, priority_exponent=exponent)
        weights = np.array(priorities) ** exponent
        if weights.sum() > 0:
            np.testing.assert_allclose(frequencies(replay, keys, 5000), weights / weights.sum(), atol=2 / 5000 + 1e-12)

    def test_after_updates_are_those_of_the_new_priorities(self) -> None:
        replay, keys = fill([1, 1, 1, 1], priority_exponent=1)
        replay.update_priorities(keys[[2, 0]], [5.0, 3.0])
        np.testing.assert_allclose(frequencies(replay, keys), [0.3, 0.1, 0.5, 0.1], atol=2 / DRAWS)

    def test_of_a_key_updated_twice_in_one_call_follow_its_last_priority(self) -> None:
        replay, keys = fill([1, 1], priority_exponent=1)
        replay.update_priorities(keys[[0, 0, 0]], [7.0, 9.0, 3.0])
        np.testing.assert_allclose(frequencies(replay, keys), [0.75, 0.25], atol=2 / DRAWS)

    def test_after_overwriting_are_those_of_the_sequences_held(self) -> None:
        replay = one_step_replay(episodes=30, priority_exponent=0.9)
        priorities: dict[int, float] = {}
        rng = np.random.default_rng(0)
        for n in range(500):
            priority = float(rng.exponential())
            priorities[int(play(replay, [n], priority)[0])] = priority
        assert len(replay) == 30
        keys = replay.keys()
        assert keys.tolist() == list(priorities)[-30:]
        weights = np.array([priorities[key] ** 0.9 for key in keys.tolist()])
        np.testing.assert_allclose(frequencies(replay, keys), weights / weights.sum(), atol=2 / DRAWS)

    def test_after_overwriting_while_the_table_grows_and_sequences_have_many_lengths(self) -> None:
        replay = SequenceReplay(
            spaces.Discrete(10**9),
            spaces.Discrete(2),
            (),
            SequenceGeometry(burn_in=2, train_length=40, overlap=20, n_step=2),
            capacity=3 * 300,
            num_envs=3,
            priority_exponent=1,
        )
        rng = np.random.default_rng(1)
        priorities: dict[int, float] = {}
        for _ in range(1500):
            priority, ends = rng.exponential(size=3), rng.random(3) < 0.2
            keys = replay.add([1] * 3, [0] * 3, [0.0] * 3, ends, ~(ends | True), (), final_observation=[2] * 3,
                              priority=priority)  # fmt: skip
            for key in keys.tolist():
                env = int(replay.table.entries[key & SLOT_MASK, 0])
                priorities[key] = float(priority[env])
        keys = replay.keys()
        assert len(keys) > 100
        weights = np.array([priorities[key] for key in keys.tolist()])
        np.testing.assert_allclose(frequencies(replay, keys), weights / weights.sum(), atol=2 / DRAWS)

    def test_of_zero_priorities_are_zero(self) -> None:
        replay, keys = fill([0, 2, 0, 0, 3, 0], priority_exponent=0.9)
        found = frequencies(replay, keys)
        assert found[[0, 2, 3, 5]].tolist() == [0, 0, 0, 0]
        replay.update_priorities(keys, [1.0, 0.0, 1.0, 0.0, 0.0, 2.0])
        total = 1 + 1 + 2**0.9
        np.testing.assert_allclose(
            frequencies(replay, keys), [1 / total, 0, 1 / total, 0, 0, 2**0.9 / total], atol=2 / DRAWS
        )

    def test_if_all_priorities_are_zero_there_is_nothing_to_sample_until_one_is_not(self) -> None:
        replay, keys = fill([0, 0])
        assert not replay.can_sample()
        with pytest.raises(RuntimeError, match="all priorities are zero"):
            replay.sample(1)
        replay.update_priorities(keys[:1], [1e-12])
        assert replay.can_sample()
        assert set(replay.sample(100).keys.tolist()) == {int(keys[0])}

    def test_after_a_million_updates_show_no_drift(self) -> None:
        replay, keys = fill([1.0] * 1500, priority_exponent=0.9)
        rng = np.random.default_rng(0)
        for _ in range(1000):
            chosen = rng.integers(1500, size=1000)
            # Over 24 orders of magnitude: what a running sum forgets of the small ones stays forgotten.
            replay.update_priorities(keys[chosen], 10.0 ** rng.uniform(-12, 12, size=1000))
        last = rng.uniform(0.1, 1, size=1500)
        replay.update_priorities(keys, last)

        tree = replay.table.tree
        assert tree.check_consistency() == []
        fresh = SumTree(tree.size)
        fresh.set(np.arange(tree.size), tree.leaves)
        assert tree.total == fresh.total
        assert tree.total == pytest.approx(math.fsum(last**0.9), rel=1e-12)
        points = rng.random(10_000)
        np.testing.assert_array_equal(tree.draw(points), fresh.draw(points))
        np.testing.assert_allclose(frequencies(replay, keys), last**0.9 / (last**0.9).sum(), atol=2 / DRAWS)

    def test_draws_are_determined_by_the_seed(self) -> None:
        first, second, other = (fill([1, 2, 3, 4, 5], seed=seed)[0] for seed in (7, 7, 8))
        drawn = [[replay.sample(16).keys.tolist() for _ in range(4)] for replay in (first, second, other)]
        assert drawn[0] == drawn[1]
        assert drawn[0] != drawn[2]


class TestKeys:
    """Law 9: an update for a sequence that has been overwritten is dropped and counted."""

    def test_an_update_never_lands_on_the_sequence_that_took_the_place(self) -> None:
        replay, old = fill([1, 1, 1, 1], priority_exponent=1)
        new = np.array([play(replay, [100 + n], 1.0)[0] for n in range(2)])
        assert replay.update_priorities(old, [1000.0, 1000.0, 2.0, 4.0]) == 2
        assert replay.dropped_updates == 2
        held = np.concatenate([old[2:], new])
        np.testing.assert_allclose(frequencies(replay, held), [2 / 8, 4 / 8, 1 / 8, 1 / 8], atol=2 / DRAWS)

    def test_dropped_updates_do_not_raise_the_maximum_priority(self) -> None:
        replay, old = fill([1, 1], priority_exponent=1)
        kept = play(replay, [2])
        # The first of the three is gone.
        assert replay.update_priorities(np.append(old, kept), [1000.0, 2.0, 3.0]) == 1
        new = play(replay, [3])
        np.testing.assert_allclose(frequencies(replay, np.concatenate([kept, new])), [0.5, 0.5], atol=2 / DRAWS)

    def test_keys_are_never_used_again(self) -> None:
        replay = one_step_replay(episodes=3)
        keys = [int(play(replay, [n])[0]) for n in range(200)]
        assert len(set(keys)) == 200
        assert replay.keys().tolist() == keys[-3:]

    def test_dropped_updates_add_up(self) -> None:
        replay = one_step_replay(episodes=4)
        keys = np.array([play(replay, [n])[0] for n in range(10)])
        assert [replay.update_priorities(keys[: n + 1], np.ones(n + 1)) for n in range(10)] == [
            1, 2, 3, 4, 5, 6, 6, 6, 6, 6
        ]  # fmt: skip
        assert replay.dropped_updates == 1 + 2 + 3 + 4 + 5 + 6 * 5

    def test_keys_never_given_are_dropped_too(self) -> None:
        replay, keys = fill([1, 1])
        never_given = np.array([-1, 2**62, int(keys[1]) + 2**32, int(keys[1]) + 1000])
        assert replay.update_priorities(never_given, np.ones(4)) == 4
        assert replay.update_priorities(keys, np.ones(2)) == 0

    def test_no_keys_are_no_updates(self) -> None:
        replay, _ = fill([1, 1])
        assert replay.update_priorities(np.zeros(0, np.int64), []) == 0

    def test_a_sequence_overwritten_between_sampling_and_update_is_dropped(self) -> None:
        replay = one_step_replay(episodes=8, priority_exponent=1)
        for n in range(8):
            play(replay, [n])
        batch = replay.sample(200)
        for n in range(8, 13):
            play(replay, [n])
        stale = ~np.isin(batch.keys, replay.keys())
        assert replay.update_priorities(batch.keys, np.full(200, 9.0)) == stale.sum() > 0
        # Episodes 5, 6, 7 are left of those sampled.
        keys = replay.keys()
        assert replay.get(keys).unroll.observation[:, 0].tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
        np.testing.assert_allclose(frequencies(replay, keys), [9 / 32] * 3 + [1 / 32] * 5, atol=2 / DRAWS)

    def test_looking_up_an_overwritten_sequence_says_so(self) -> None:
        replay, keys = fill([1, 1])
        play(replay, [2])
        with pytest.raises(KeyError, match=f"{keys[0]}.*overwritten"):
            replay.get(keys)


class TestImportanceWeights:
    """(N P(i)) ** -beta over the largest of the batch (Schaul et al. 2016, section 3.4)."""

    def test_by_hand(self) -> None:
        replay, keys = fill([1, 4, 5], priority_exponent=1, importance_exponent=0.5)
        batch = replay.sample(100)
        # N = 3 and P = 0.1, 0.4, 0.5: weights (3 P) ** -0.5 are largest for the first.
        # Over the largest they are (P / 0.1) ** -0.5 = 1, 1/2, 1/sqrt(5).
        expected = {int(keys[0]): 1.0, int(keys[1]): 0.5, int(keys[2]): 1 / math.sqrt(5)}
        assert set(batch.keys.tolist()) == set(expected)
        np.testing.assert_allclose(batch.importance_weights, [expected[k] for k in batch.keys.tolist()], rtol=1e-6)

    def test_the_largest_is_of_the_batch_not_of_the_buffer(self) -> None:
        replay, keys = fill([1e-9, 4, 1], priority_exponent=1, importance_exponent=1)
        batch = replay.sample(50)
        expected = {int(keys[1]): 0.25, int(keys[2]): 1.0}
        assert set(batch.keys.tolist()) == set(expected)
        np.testing.assert_allclose(batch.importance_weights, [expected[k] for k in batch.keys.tolist()], rtol=1e-6)

    @settings(max_examples=60)
    @given(
        priorities=st.lists(st.floats(0.001, 1000), min_size=1, max_size=40),
        alpha=st.sampled_from([0.0, 0.6, 0.9, 1.0]),
        beta=st.sampled_from([0.0, 0.4, 0.6, 1.0]),
        batch_size=st.integers(1, 20),
    )
    def test_against_the_formula(self, priorities: list[float], alpha: float, beta: float, batch_size: int) -> None:
        replay, keys = fill(priorities, priority_exponent=alpha, importance_exponent=beta)
        batch = replay.sample(batch_size)
        total = sum(p**alpha for p in priorities)
        probability = {int(key): p**alpha / total for key, p in zip(keys, priorities, strict=True)}
        raw = [(len(priorities) * probability[key]) ** -beta for key in batch.keys.tolist()]
        assert batch.importance_weights.dtype == np.float32
        np.testing.assert_allclose(batch.importance_weights, np.array(raw) / max(raw), rtol=1e-5)

    def test_exponent_zero_switches_them_off(self) -> None:
        replay, _ = fill([0.1, 5, 300], importance_exponent=0)
        assert replay.sample(50).importance_weights.tolist() == [1.0] * 50

    def test_sequences_looked_up_have_weight_one(self) -> None:
        replay, keys = fill([0.1, 5, 300])
        assert replay.get(keys).importance_weights.tolist() == [1.0] * 3

    def test_sequences_looked_up_have_weight_one_when_none_can_be_drawn(self) -> None:
        replay, keys = fill([0.0, 0.0])
        assert not replay.can_sample()
        assert replay.get(keys).importance_weights.tolist() == [1.0, 1.0]

    def test_a_weight_that_is_nothing_beside_the_others_is_not_infinitely_important(self) -> None:
        replay, _ = fill([1e-300, 1e280], priority_exponent=1, importance_exponent=0.6)
        replay.rng = type("Lowest", (), {"random": lambda self, n: np.zeros(n)})()
        weights = replay.sample(4).importance_weights
        assert np.isfinite(weights).all()
        assert weights.max() == 1


class TestNewSequences:
    """They enter with the largest priority that was ever given, or with the caller's."""

    def test_the_maximum_is_remembered_after_its_priority_is_gone(self) -> None:
        replay = one_step_replay(episodes=3, priority_exponent=1)
        old = play(replay, [0])
        replay.update_priorities(old, [8.0])
        replay.update_priorities(old, [2.0])
        keys = np.concatenate([old, play(replay, [1])])
        np.testing.assert_allclose(frequencies(replay, keys), [0.2, 0.8], atol=2 / DRAWS)

    def test_the_maximum_of_one_update_is_that_of_all_its_priorities(self) -> None:
        replay = one_step_replay(episodes=4, priority_exponent=1)
        old = np.concatenate([play(replay, [n]) for n in range(3)])
        replay.update_priorities(old, [1.0, 6.0, 3.0])
        keys = np.concatenate([old, play(replay, [3])])
        np.testing.assert_allclose(frequencies(replay, keys), [1 / 16, 6 / 16, 3 / 16, 6 / 16], atol=2 / DRAWS)

    def test_the_caller_s_priority_where_nothing_is_completed_is_no_maximum(self) -> None:
        replay = one_step_replay(episodes=3, num_envs=2, priority_exponent=1)
        no = np.zeros(2, bool)
        # Environment 1 goes on, so nothing of it is complete: its priority is no sequence's.
        first = replay.add(
            [0, 1], [0, 0], [0.0, 0.0], ~no & [True, False], no, (), final_observation=[0, 0], priority=[2.0, 500.0]
        )
        keys = np.concatenate([first, play(replay, [2, 3])])
        np.testing.assert_allclose(frequencies(replay, keys), [0.25] * 4, atol=2 / DRAWS)

    def test_of_an_episode_ended_by_hand_enter_with_the_maximum_too(self) -> None:
        replay = one_step_replay(episodes=3, priority_exponent=2)
        old = play(replay, [0])
        replay.update_priorities(old, [3.0])
        replay.add([1], [0], [0.0], [False], [False], ())
        keys = np.concatenate([old, replay.end_episodes([True], [2])])
        np.testing.assert_allclose(frequencies(replay, keys), [0.5, 0.5], atol=2 / DRAWS)

    def test_enter_with_the_maximum_priority(self) -> None:
        replay = one_step_replay(episodes=3, priority_exponent=1)
        keys = np.concatenate([play(replay, [0]), play(replay, [1])])
        replay.update_priorities(keys, [3.0, 6.0])
        keys = np.concatenate([keys, play(replay, [2])])
        np.testing.assert_allclose(frequencies(replay, keys), [3 / 15, 6 / 15, 6 / 15], atol=2 / DRAWS)

    def test_all_alike_before_any_priority_is_known(self) -> None:
        replay = one_step_replay(episodes=4, priority_exponent=1)
        keys = np.concatenate([play(replay, [n]) for n in range(4)])
        np.testing.assert_allclose(frequencies(replay, keys), [0.25] * 4, atol=2 / DRAWS)

    def test_the_maximum_priority_may_be_small(self) -> None:
        """What is learned must not depend on the scale of the rewards, so neither may the draws."""
        replay = one_step_replay(episodes=3, priority_exponent=1)
        keys = np.concatenate([play(replay, [0]), play(replay, [1])])
        replay.update_priorities(keys, [0.001, 0.003])
        keys = np.concatenate([keys, play(replay, [2])])
        np.testing.assert_allclose(frequencies(replay, keys), [1 / 7, 3 / 7, 3 / 7], atol=2 / DRAWS)

    def test_a_maximum_of_zero_shuts_no_new_sequence_out(self) -> None:
        replay = one_step_replay(episodes=3, priority_exponent=1)
        old = play(replay, [0])
        replay.update_priorities(old, [0.0])
        new = play(replay, [1])
        assert set(replay.sample(10).keys.tolist()) == {int(new[0])}

    def test_the_maximum_is_remembered_after_its_sequence_is_gone(self) -> None:
        replay = one_step_replay(episodes=2, priority_exponent=1)
        replay.update_priorities(play(replay, [0]), [8.0])
        keys = np.concatenate([play(replay, [1], 2.0), play(replay, [2])])
        np.testing.assert_allclose(frequencies(replay, keys), [0.2, 0.8], atol=2 / DRAWS)

    def test_a_priority_that_the_caller_gives_counts_for_the_maximum(self) -> None:
        replay = one_step_replay(episodes=3, priority_exponent=1)
        keys = np.concatenate([play(replay, [0], 2.0), play(replay, [1], 4.0), play(replay, [2])])
        np.testing.assert_allclose(frequencies(replay, keys), [0.2, 0.4, 0.4], atol=2 / DRAWS)

    def test_enter_with_the_caller_s_priority_for_all(self) -> None:
        replay = one_step_replay(episodes=2, num_envs=2, priority_exponent=1)
        keys = np.concatenate([play(replay, [0, 1], 1.0), play(replay, [2, 3], 3.0)])
        np.testing.assert_allclose(frequencies(replay, keys), [1 / 8, 1 / 8, 3 / 8, 3 / 8], atol=2 / DRAWS)

    def test_enter_with_the_caller_s_priority_of_their_environment(self) -> None:
        replay = one_step_replay(episodes=2, num_envs=3, priority_exponent=1)
        keys = play(replay, [0, 1, 2], [1.0, 4.0, 5.0])
        observed = replay.get(keys).unroll.observation[:, 0].tolist()
        expected = {0: 0.1, 1: 0.4, 2: 0.5}
        np.testing.assert_allclose(frequencies(replay, keys), [expected[n] for n in observed], atol=2 / DRAWS)

    def test_the_caller_s_priority_is_for_the_sequences_completed_by_that_step_only(self) -> None:
        replay = SequenceReplay(
            spaces.Discrete(10),
            spaces.Discrete(2),
            (),
            SequenceGeometry(burn_in=0, train_length=1, overlap=0, n_step=1),
            capacity=20,
            priority_exponent=1,
        )
        keys = [
            replay.add([t], [0], [0.0], [False], [False], (), priority=priority)
            for t, priority in enumerate([500.0, 1.0, 3.0])
        ]
        # The first step completes nothing: its priority is no sequence's.
        assert [len(k) for k in keys] == [0, 1, 1]
        np.testing.assert_allclose(frequencies(replay, np.concatenate(keys)), [0.25, 0.75], atol=2 / DRAWS)
