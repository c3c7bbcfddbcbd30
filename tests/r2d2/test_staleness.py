"""Delta-Q against a loop that reads every step by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_sequences import CORES, as_tensors, random_batch, random_network, randomize, steps_of

from r2d2.network import RecurrentQNetwork
from r2d2.replay import Batch
from r2d2.staleness import staleness

PREFIX_LENGTHS, UNROLL_LENGTHS = [0, 1, 3, 5, 5, 2], [6, 2, 6, 3, 5, 6]
PLAYED_LENGTHS = [0, 4, 3, 5, 2, 1]


class Case:
    """A network, a batch of 6 sequences, and the steps that were played before them."""

    def __init__(self, core: str) -> None:
        self.network = random_network(1, **CORES[core]())
        self.batch = self.made(7, PREFIX_LENGTHS)
        self.played = self.made(8, PLAYED_LENGTHS).prefix

    def made(self, seed: int, prefix_lengths: list[int]) -> Batch:
        return as_tensors(random_batch(self.network, seed, prefix_lengths, UNROLL_LENGTHS, train_length=4, n_step=2))

    def delta_q(self, **changes: Any) -> Any:
        batch = self.batch._replace(**changes)
        return staleness(self.network, batch, self.played, np.array(PLAYED_LENGTHS, np.int32))


def after(network: RecurrentQNetwork, steps: Any, row: int, length: int, state: Any) -> Any:
    for t in range(length):
        _, state = network.unroll(steps_of(steps, slice(row, row + 1), slice(t, t + 1)), state)
    return state


def q_values_at(network: RecurrentQNetwork, batch: Batch, row: int, step: int, state: Any) -> np.ndarray:
    state = after(network, batch.unroll, row, step, state)
    q_values, _ = network.unroll(steps_of(batch.unroll, slice(row, row + 1), slice(step, step + 1)), state)
    return q_values.numpy()[0, 0].astype(np.float64)


@pytest.mark.parametrize("core", ["lstm", "gru"])
def test_as_step_by_step(core: str) -> None:
    case = Case(core)
    network, batch = case.network, case.batch
    found = case.delta_q()
    for row in range(6):
        stored = tuple(part[row : row + 1] for part in batch.state)
        replayed = after(network, batch.prefix, row, PREFIX_LENGTHS[row], stored)
        today = after(network, case.played, row, PLAYED_LENGTHS[row], network.initial_state(1))
        for step, delta in ((0, found.first[row]), (int(batch.train_length[row]) - 1, found.last[row])):
            q_hat, q = (q_values_at(network, batch, row, step, state) for state in (replayed, today))
            expected = np.sqrt(((q_hat - q) ** 2).sum()) / np.abs(q_hat).max()
            assert delta == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert (found.first > 1e-3).all()
    assert (found.first != found.last).any()


def test_a_state_that_todays_weights_reach_is_not_stale_and_becomes_so_with_other_weights() -> None:
    case = Case("lstm")
    reached = [
        after(case.network, case.played, row, length, case.network.initial_state(1))
        for row, length in enumerate(PLAYED_LENGTHS)
    ]
    state = tuple(tf.concat(parts, axis=0) for parts in zip(*reached, strict=True))
    exact = {"state": state, "prefix_length": np.zeros(6, np.int32)}
    np.testing.assert_allclose(case.delta_q(**exact).first, 0.0, atol=1e-5)
    randomize(case.network, 2)
    assert (case.delta_q(**exact).first[np.array(PLAYED_LENGTHS) > 0] > 1e-3).all()
