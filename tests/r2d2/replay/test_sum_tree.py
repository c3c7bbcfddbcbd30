"""The sum tree against a plain list of weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d2.replay.sum_tree import CHILDREN, SumTree

# Around the sizes at which a level is added.
SIZES = [1, 2, CHILDREN - 1, CHILDREN, CHILDREN + 1, 2 * CHILDREN, CHILDREN**2 - 1, CHILDREN**2, CHILDREN**2 + 1]
HUGE_SIZES = [CHILDREN**3 - 1, CHILDREN**3, CHILDREN**3 + 1]
LAST_BELOW_ONE = float(np.nextafter(1.0, 0.0))
EDGES = [0.0, 5e-324, 2.0**-53, 0.5, 1 - 2.0**-52, LAST_BELOW_ONE]


def tree_of(weights: list[float]) -> SumTree:
    tree = SumTree(len(weights))
    tree.set(np.arange(len(weights)), np.array(weights, np.float64))
    return tree


def leaf_under(weights: list[float], fraction: float) -> int:
    """The naive search: the first leaf at which the running sum exceeds the mass."""
    mass, running = fraction * math.fsum(weights), 0.0
    for index, weight in enumerate(weights):
        running += weight
        if running > mass:
            return index
    raise AssertionError("the fraction must be below 1")


class TestAgainstAList:
    @settings(max_examples=80)
    @given(st.data())
    def test_any_changes_leave_the_weights_their_sum_and_their_draws(self, data: st.DataObject) -> None:
        size = data.draw(st.sampled_from(SIZES))
        tree, weights = SumTree(size), [0.0] * size
        # Whole numbers, so that the naive sums are exact.
        changes = st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, 9)), min_size=1, max_size=20)
        for _ in range(data.draw(st.integers(1, 5))):
            change = data.draw(changes)
            tree.set(np.array([i for i, _ in change]), np.array([float(w) for _, w in change]))
            for i, w in change:
                weights[i] = float(w)
            assert tree.leaves.tolist() == weights
            assert tree.total == sum(weights)
            assert tree.check_consistency() == []
            if tree.total > 0:
                # A fraction in the middle of each unit of mass.
                fractions = (np.arange(int(tree.total)) + 0.5) / tree.total
                assert tree.draw(fractions).tolist() == [leaf_under(weights, f) for f in fractions]

    @pytest.mark.parametrize("size", SIZES + HUGE_SIZES)
    def test_every_leaf_is_drawn_under_its_own_mass(self, size: int) -> None:
        tree = SumTree(size)
        tree.set(np.arange(size), 1.0)
        assert tree.total == size
        np.testing.assert_array_equal(tree.draw((np.arange(size) + 0.5) / size), np.arange(size))

    @pytest.mark.parametrize("size", SIZES + HUGE_SIZES)
    def test_a_single_weight_takes_every_draw(self, size: int) -> None:
        for index in {0, size // 2, size - 1}:
            tree = SumTree(size)
            tree.set(np.array([index]), 0.3)
            assert tree.draw(np.array(EDGES)).tolist() == [index] * len(EDGES)

    def test_of_an_index_given_twice_the_last_weight_stays(self) -> None:
        tree = tree_of([1.0, 1.0])
        tree.set(np.array([0, 1, 0]), np.array([5.0, 6.0, 7.0]))
        assert tree.leaves.tolist() == [7.0, 6.0]
        assert tree.total == 13.0

    def test_of_an_index_given_twice_the_last_weight_stays_in_large_batches_too(self) -> None:
        tree = SumTree(2000)
        indices = np.arange(10_000) % 2000
        tree.set(indices, np.arange(10_000.0))
        np.testing.assert_array_equal(tree.leaves, np.arange(8000, 10_000))
        assert tree.check_consistency() == []


class TestDraws:
    """A weight of zero is never drawn, at no fraction and at no ratio of weights."""

    @settings(max_examples=200)
    @given(
        weights=st.lists(
            st.one_of(st.just(0.0), st.floats(1e-300, 1e300), st.sampled_from([1e-300, 5e-324, 1.0, 1e16, 1e300])),
            min_size=1,
            max_size=100,
        ).filter(lambda weights: max(weights) > 0),
        fractions=st.lists(st.floats(0, LAST_BELOW_ONE), min_size=1, max_size=20),
    )
    def test_hit_positive_weights_only(self, weights: list[float], fractions: list[float]) -> None:
        drawn = tree_of(weights).draw(np.array(fractions + EDGES))
        assert ((drawn >= 0) & (drawn < len(weights))).all()
        assert all(weights[i] > 0 for i in drawn.tolist())

    @settings(max_examples=100)
    @given(
        size=st.sampled_from(SIZES),
        seed=st.integers(0, 2**32 - 1),
        zeros=st.sampled_from([0.1, 0.5, 0.99]),
        spread=st.sampled_from([0, 1, 15, 300]),
    )
    def test_hit_positive_weights_only_in_trees_of_several_levels(
        self, size: int, seed: int, zeros: float, spread: int
    ) -> None:
        rng = np.random.default_rng(seed)
        weights = np.where(rng.random(size) < zeros, 0.0, 10.0 ** rng.uniform(-spread, spread, size))
        if not weights.any():
            weights[rng.integers(size)] = 1.0
        drawn = tree_of(weights.tolist()).draw(np.concatenate([rng.random(200), EDGES]))
        assert (weights[drawn] > 0).all()

    def test_go_to_the_last_positive_weight_at_the_end(self) -> None:
        # 0.1 ten times adds up to less than 1.0, and the blocks after it are empty.
        weights = [0.1] * 10 + [0.0] * (3 * CHILDREN)
        assert tree_of(weights).draw(np.array([LAST_BELOW_ONE])).tolist() == [9]

    def test_go_to_the_first_positive_weight_at_zero(self) -> None:
        weights = [0.0] * (2 * CHILDREN + 3) + [1e-300, 5.0]
        assert tree_of(weights).draw(np.array([0.0])).tolist() == [2 * CHILDREN + 3]

    def test_do_not_fall_off_the_end_when_rounding_takes_a_fraction_to_one(self) -> None:
        """(63 + the last float below 1) / 64 is 1: the top stratum of a batch can ask for all of the mass."""
        assert (63 + LAST_BELOW_ONE) / 64 == 1.0
        assert tree_of([0.0, 2.0, 3.0, 0.0]).draw(np.array([1.0])).tolist() == [2]

    def test_of_many_fractions_are_those_of_each_alone(self) -> None:
        rng = np.random.default_rng(0)
        tree = tree_of(rng.exponential(size=3000).tolist())
        fractions = rng.random(100)
        together = tree.draw(fractions)
        assert together.tolist() == [int(tree.draw(fractions[i : i + 1])[0]) for i in range(100)]

    def test_share_the_mass_in_proportion(self) -> None:
        weights = np.random.default_rng(1).exponential(size=1500)
        drawn = tree_of(weights.tolist()).draw((np.arange(300_000) + 0.5) / 300_000)
        np.testing.assert_allclose(
            np.bincount(drawn, minlength=1500) / 300_000, weights / weights.sum(), atol=1.5 / 300_000
        )


class TestSums:
    def test_are_those_of_a_fresh_tree_after_any_number_of_changes(self) -> None:
        rng = np.random.default_rng(0)
        tree = SumTree(CHILDREN**2 + 5)
        for batch in (1, 2, 7, 64, 500) * 20:
            tree.set(rng.integers(tree.size, size=batch), 10.0 ** rng.uniform(-18, 18, batch))
        fresh = tree_of(tree.leaves.tolist())
        assert tree.total == fresh.total
        assert tree.check_consistency() == []
        tree.set(np.arange(tree.size), 0.0)
        assert tree.total == 0.0

    def test_forget_a_large_weight_without_a_trace(self) -> None:
        tree = tree_of([1.0, 1.0, 1.0])
        tree.set(np.array([1]), 1e20)
        tree.set(np.array([1]), 1.0)
        assert tree.total == 3.0

    def test_names_what_is_wrong(self) -> None:
        tree = SumTree(3 * CHILDREN)
        tree.set(np.arange(tree.size), 1.0)
        tree._levels[1][0, 2] += 1e-9
        assert tree.check_consistency() == ["node 2 of the sum tree's level 1 is not its children's sum"]

    @pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
    def test_names_a_weight_that_is_none(self, weight: float) -> None:
        tree = tree_of([1.0, 1.0])
        tree.set(np.array([1]), weight)
        assert tree.check_consistency() == ["the sum tree holds a weight that is negative or not finite"]

    def test_names_weight_beyond_the_last_leaf(self) -> None:
        tree = SumTree(3)
        tree._levels[0][0, 3] = 1.0
        assert tree.check_consistency() == ["the sum tree holds weight beyond its last leaf"]


class TestSize:
    @pytest.mark.parametrize(("old", "new"), [(1, 2), (32, 33), (1024, 1025), (1025, 1024), (100, 7), (7, 7)])
    def test_resizing_keeps_the_weights_as_far_as_they_go(self, old: int, new: int) -> None:
        weights = [float(i + 1) for i in range(old)]
        tree = tree_of(weights).resized(new)
        assert tree.size == new
        assert tree.leaves.tolist() == (weights + [0.0] * new)[:new]
        assert tree.check_consistency() == []

    def test_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="size=0 must be at least 1"):
            SumTree(0)
