"""What an episode played before a sequence's first trained step, as `SequenceReplay.before` gives it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_oracle import PADDING, TERMINATED, Play, read, rows_of

from r2d2.replay import SequenceGeometry, batch
from r2d2.replay.records import UNROLL_LENGTH


@settings(max_examples=60)
@given(
    lengths=st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)),
    spare_rows=st.integers(0, 25),
    num_envs=st.integers(1, 2),
    longest=st.sampled_from([None, 0, 3, 8]),
    seed=st.integers(0, 1000),
)
def test_every_step_from_the_episode_s_start_on_if_that_is_held(
    lengths: tuple[int, int, int, int], spare_rows: int, num_envs: int, longest: int | None, seed: int
) -> None:
    burn_in, train_length, overlap, n_step = lengths
    geometry = SequenceGeometry(burn_in, train_length, overlap % train_length, n_step)
    rows_per_env = geometry.rows_needed + spare_rows
    play = Play(geometry, rows_per_env, num_envs)
    rng = np.random.default_rng(seed)
    for _ in range(50):
        play.step([TERMINATED if rng.random() < 0.08 else None for _ in range(num_envs)])
    keys = play.replay.keys()
    if not len(keys):
        return
    keys = rng.choice(keys, 7)
    inputs, length, held = play.replay.before(keys, longest)
    assert inputs.observation.shape == (7, length.max(), 3)
    zeros = np.zeros((7, length.max()))
    for b, sequence in enumerate(read(play.replay.get(keys))):
        ring = play.oracle.rings[sequence.env]
        episode = ring.episodes[sequence.episode]
        wanted = ring.rows_written - rows_per_env <= episode.first_row
        wanted &= longest is None or sequence.start <= longest
        steps = [play.oracle.row(sequence.env, episode, t) for t in range(sequence.start if wanted else 0)]
        found = rows_of(inputs, zeros, zeros, zeros > 0, zeros > 0, b)
        assert (length[b], held[b]) == (len(steps), wanted)
        assert found[: len(steps)] == [
            row._replace(action=0, reward=0.0, terminated=False, truncated=False) for row in steps
        ]
        assert found[len(steps) :] == [PADDING] * (len(found) - len(steps))


def test_of_the_unrolls_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room for them, and nothing in compiled code would tell."""
    seen = []
    copy = batch.copy_observations

    def watched(ring: Any, row_bytes: int, rows: int, runs: Any, *rest: Any) -> None:
        seen.append(runs[UNROLL_LENGTH].max())
        copy(ring, row_bytes, rows, runs, *rest)

    monkeypatch.setattr(batch, "copy_observations", watched)
    play = Play(SequenceGeometry(2, 4, 2, 1), 20, 1)
    play.episode(9)
    play.replay.before(play.replay.keys())
    assert seen == [0]
