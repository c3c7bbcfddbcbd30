"""What a run reports is what happened: every figure against one that was counted beside the loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_loop_wiring import CONFIG, Diary, Episode

from agents import training
from agents.evaluation import EvaluationResult, Evaluator
from agents.reports import Evaluation, Report, Summary
from agents.training import SMALLEST_RESCALING, Trainer
from r2d2.learner import Learner, Update
from r2d2.replay import Batch
from r2d2.staleness import Staleness

REPORTING = replace(
    CONFIG,
    normalize_rewards=True,
    total_steps=180,
    report_period=45,
    evaluation_period=60,
    evaluation_episodes=2,
    final_evaluation_episodes=3,
    sequence_start="zero",
    capacity=150,
)
RETURNS = {1: (0.1, 2), 2: (0.2, 3), 3: (0.9, 2), 4: (0.8, 3), 5: (0.3, 2)}
"""Mean and number of episodes of each evaluation: the second confirms the first, the fourth the third."""


class Record:
    """An observer, and what it saw of the trainer when a report came."""

    def __init__(self) -> None:
        self.reports: list[tuple[Report, dict[str, Any]]] = []
        self.evaluations: list[Evaluation] = []
        self.summary: Summary | None = None
        self.updates: list[Update] = []
        self.stale: list[tuple[Batch, Staleness]] = []
        self.seeds: list[int] = []
        self.trainer: Any = None

    def started(self, *given: Any) -> None: ...
    def progressed(self, env_steps: int) -> None: ...

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    def finished(self, summary: Summary) -> None:
        self.summary = summary

    def reported(self, report: Report) -> None:
        trainer = self.trainer
        seen = {
            "updates": len(self.updates),
            "episodes": [episode for episode in played() if any(episode.steps[-1][2:])],
            "steps": sum(len(episode.steps) for episode in played()),
            "sequences": len(trainer.replay),
            "held": trainer.replay.num_steps,
            "reward_scale": float(trainer.network.reward_scale),
            "deviation": deviation_of_returns(),
            "epsilon": float(np.mean(trainer._epsilon())),
        }
        self.reports.append((report, seen))


def played() -> list[Episode]:
    """Episodes that the trainer's environments have begun, evaluations not counted."""
    return [episode for (row, _), episode in Diary.written.items() if row < CONFIG.num_envs and episode.steps]


def deviation_of_returns() -> float:
    """Of the discounted returns of all steps, those of each episode counted from its start."""
    returns = []
    for episode in played():
        so_far = 0.0
        for _, reward, _, _ in episode.steps:
            so_far = REPORTING.gamma * so_far + reward
            returns.append(so_far)
    return float(np.std(returns))


@pytest.fixture(scope="module")
def record() -> Record:
    record = Record()
    update, measure = Learner.update, training.staleness

    def updated(self: Learner, batch: Batch) -> Update:
        record.updates.append(update(self, batch))
        return record.updates[-1]

    def measured(network: Any, batch: Batch, *given: Any) -> Staleness:
        record.stale.append((batch, measure(network, batch, *given)))
        return record.stale[-1][1]

    def evaluated(self: Evaluator, episodes: int, seed: int, *given: Any) -> EvaluationResult:
        record.seeds.append(seed)
        mean, expected = RETURNS[len(record.seeds)]
        assert episodes == expected
        return EvaluationResult(mean + np.arange(episodes) - (episodes - 1) / 2, np.ones(episodes, int), 0)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Learner, "update", updated)
        monkeypatch.setattr(training, "staleness", measured)
        monkeypatch.setattr(Evaluator, "evaluate", evaluated)
        monkeypatch.setattr(Diary, "written", {})
        monkeypatch.setattr(Diary, "made", 0)
        record.trainer = Trainer(REPORTING, None, [record])
        record.trainer.replay.dropped_updates = 7  # one thread drops none
        # Ten steps a second, whatever the machine.
        monkeypatch.setattr(record.trainer, "_training_seconds", lambda: record.trainer.env_steps / 10)
        record.trainer.run()
    return record


def test_reports(record: Record) -> None:
    assert [report.env_steps for report, _ in record.reports] == [45, 90, 135, 180]
    before = 0
    for report, seen in record.reports:
        done = record.updates[before : seen["updates"]]
        assert (report.updates, report.env_steps) == (seen["updates"], seen["steps"])
        for name in ("loss", "gradient_norm", "mean_q"):
            values = [getattr(update, name) for update in done]
            assert getattr(report, name) == (pytest.approx(np.mean(values)) if done else None)
        episodes = seen["episodes"]
        assert report.episodes == len(episodes) <= 100
        assert report.return_mean == pytest.approx(np.mean([sum(step[1] for step in e.steps) for e in episodes]))
        assert report.length_mean == pytest.approx(np.mean([len(e.steps) for e in episodes]))
        assert report.reward_scale == pytest.approx(seen["reward_scale"])
        assert report.reward_scale == pytest.approx(1 / seen["deviation"], rel=1.5 * SMALLEST_RESCALING)
        assert report.epsilon == pytest.approx(seen["epsilon"])
        assert report.env_steps_per_second == pytest.approx(10)
        assert report.updates_per_second == pytest.approx(len(done) / 4.5)
        kept = report.replay_sequences, report.replay_steps, report.dropped_priority_updates
        assert kept == (seen["sequences"], seen["held"], 7)
        before = seen["updates"]
    assert before == len(record.updates) > 10


def test_staleness_is_that_of_what_is_trained_from_at_the_first_trained_step(record: Record) -> None:
    reported = [report.staleness for report, _ in record.reports if report.staleness is not None]
    assert len(reported) == len(record.stale) > 1
    for value, (batch, measured) in zip(reported, record.stale, strict=True):
        assert all(not np.any(leaf) for leaf in batch.state), "sequences start from zeros in this run"
        assert measured.first.min() <= value <= measured.first.max()
    means = [float(np.mean(measured.last)) for _, measured in record.stale]
    assert max(reported) > 0
    assert reported != pytest.approx(means), "those at the last trained step are others"


def test_evaluations_are_of_fresh_episodes_and_the_best_is_summed_up(record: Record) -> None:
    assert len(set(record.seeds)) == len(record.seeds) == len(RETURNS)
    assert [(e.env_steps, e.return_mean, e.episodes, e.best) for e in record.evaluations] == [
        (60, pytest.approx(0.2), 3, True),
        (120, pytest.approx(0.8), 3, True),
        (180, pytest.approx(0.3), 2, False),
    ]
    summary = record.summary
    assert summary is not None
    assert (summary.env_id, summary.seed, summary.stopped_because) == (REPORTING.env_id, REPORTING.seed, "total_steps")
    assert (summary.env_steps, summary.updates) == (180, len(record.updates))
    assert (summary.evaluation_return_mean, summary.last_return_mean) == (pytest.approx(0.8), pytest.approx(0.3))
    assert (summary.evaluation_return_std, summary.evaluation_episodes) == (pytest.approx(np.std([-1, 0, 1])), 3)
    assert (summary.training_seconds, summary.env_steps_per_second) == (18, 10)
    assert summary.updates_per_second == pytest.approx(len(record.updates) / 18)
    assert (summary.solved, summary.solved_at_env_steps, summary.solved_at_training_seconds) == (None, None, None)


def test_training_takes_no_evaluation_and_no_compilation() -> None:
    trainer = Trainer(CONFIG)
    parts = {"evaluation": 5.0, "compilation": 7.0, "learning": 90.0}
    trainer.watch.seconds = lambda: 102.0
    trainer.watch.of = parts.__getitem__
    assert trainer._training_seconds() == 90.0
    trainer._stream.close()
