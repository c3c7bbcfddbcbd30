"""The training loop: what it counts, when it updates, evaluates and stops, and what it leaves behind."""

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TransformReward

import envs  # noqa: F401  registers the T-maze
from agents.config import Config
from agents.evaluation import evaluate_run
from agents.presets import preset
from agents.training import Trainer, train
from r2d2.learner import DivergenceError
from r2d2.weights import load_weights


class Walk(gymnasium.Env):
    """Episodes of 3 to 12 steps, ended by termination or truncation in turn; the reward is the step's number."""

    observation_space = spaces.Dict({"where": spaces.Box(-9, 9, (2,), np.float32), "what": spaces.Discrete(3, start=1)})
    action_space = spaces.MultiDiscrete([2, 2])

    def __init__(self, factor=1.0):
        self._factor = factor
        self._episode = 0

    def _observe(self):
        return {"where": self.np_random.uniform(-1, 1, 2).astype(np.float32), "what": self._step % 3 + 1}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._episode += 1
        self._step, self._length = 0, int(self.np_random.integers(3, 13))
        return self._observe(), {}

    def step(self, action):
        self._step += 1
        ended, terminates = self._step >= self._length, self._episode % 2 == 0
        return self._observe(), self._factor * self._step, ended and terminates, ended and not terminates, {}


def scaled_maze(factor):
    return TransformReward(gymnasium.make("r2d2/TMaze-v0", corridor_length=2), lambda reward: factor * reward)


gymnasium.register("tests/Walk-v0", entry_point=Walk)
for exponent in (-6, 0, 6):
    gymnasium.register(f"tests/Maze{exponent + 6}-v0", entry_point=partial(scaled_maze, 2.0**exponent))

SMALL = {
    "num_envs": 3,
    "total_steps": 600,
    "learning_starts": 60,
    "epsilon_decay_steps": 100,
    "train_length": 5,
    "burn_in": 3,
    "overlap": 2,
    "batch_size": 7,
    "replay_ratio": 4.0,
    "core_units": (8,),
    "torso_units": 8,
    "capacity": 900,
    "evaluation_period": 300,
    "evaluation_episodes": 4,
    "final_evaluation_episodes": 6,
    "report_period": 200,
}


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.reports, self.evaluations, self.summaries, self.progress, self.starts = [], [], [], [], []

    def started(self, *what):
        self.starts.append(what)

    def progressed(self, env_steps):
        self.progress.append(env_steps)

    def reported(self, report):
        self.reports.append(report)

    def evaluated(self, evaluation):
        self.evaluations.append(evaluation)

    def finished(self, summary):
        self.summaries.append(summary)


def run(**changes):
    recorder = Recorder()
    trainer = Trainer(preset("memory", **{"env_id": "tests/Walk-v0", **SMALL, **changes}), None, [recorder])
    return trainer, recorder, trainer.run()


def losses(**changes):
    """The loss of every update of a run."""
    trainer = Trainer(preset("memory", **{**SMALL, **changes}))
    seen, update = [], trainer.learner.update
    trainer.learner.update = lambda batch: seen.append(update(batch)) or seen[-1]
    trainer.run()
    return [one.loss for one in seen]


@pytest.fixture(scope="module")
def finished():
    return run()


def test_a_whole_run_traces_the_update_once_with_batches_of_every_length(finished):
    trainer, _, summary = finished
    assert summary.updates > 50
    assert trainer.learner.traces == 1


def test_steps_are_counted_in_environments_and_the_replay_is_consistent(finished):
    trainer, recorder, summary = finished
    assert summary.env_steps == recorder.progress[-1] == 600
    assert np.diff(recorder.progress).tolist() == [3] * 199
    assert trainer.replay.num_steps == 600
    assert trainer.replay.check_consistency() == []


def test_trained_steps_per_environment_step_are_the_replay_ratio(finished):
    _, recorder, _ = finished
    # One update of 7 sequences trains at most 35 steps: the ratio is kept to within one update.
    learning_steps = 600 - 60
    assert recorder.reports[-1].replay_ratio == pytest.approx(4.0, abs=35 / learning_steps + 0.03)


def test_nothing_is_learned_before_learning_starts(finished):
    _, early, summary = run(total_steps=60, learning_starts=61, evaluation_period=60)
    assert summary.updates == 0
    assert early.evaluations[-1].updates == 0


def test_reports_and_evaluations_come_at_their_periods(finished):
    _, recorder, _ = finished
    assert [report.env_steps for report in recorder.reports] == [201, 402, 600]
    assert [evaluation.env_steps for evaluation in recorder.evaluations] == [300, 600]


def test_staleness_is_measured_and_finite(finished):
    _, recorder, _ = finished
    assert recorder.reports[-1].staleness is not None
    assert 0 <= recorder.reports[-1].staleness < 10


def test_a_run_without_a_threshold_is_neither_solved_nor_not(finished):
    assert finished[2].solved is None


def test_a_run_stops_when_solved_and_not_if_told_to_go_on():
    stopped = run(solved_return=0.5, total_steps=900)[2]  # every episode returns at least 1 + 2 + 3
    assert (stopped.stopped_because, stopped.solved, stopped.env_steps) == ("solved", True, 300)
    went_on = run(solved_return=0.5, total_steps=900, stop_when_solved=False)[2]
    assert (went_on.stopped_because, went_on.solved_at_env_steps, went_on.env_steps) == ("total_steps", 300, 900)


def test_an_interrupt_ends_the_run_with_what_it_has():
    recorder = Recorder()

    def interrupt(env_steps):
        if env_steps >= 450:
            raise KeyboardInterrupt

    recorder.progressed = interrupt
    summary = train(preset("memory", **{"env_id": "tests/Walk-v0", **SMALL}), None, [recorder])
    assert (summary.stopped_because, summary.env_steps) == ("interrupted", 450)
    assert recorder.summaries == [summary]
    assert recorder.evaluations[-1].env_steps == 300


def test_the_weights_kept_are_those_of_the_best_evaluation(tmp_path):
    config = preset("memory", **{**SMALL, "env_id": "r2d2/TMaze-v0", "total_steps": 900, "stop_when_solved": False})
    recorder = Recorder()
    summary = train(config, tmp_path, [recorder])
    best = max(e.return_mean for e in recorder.evaluations if e.best)
    assert summary.evaluation_return_mean == best
    result = evaluate_run(config, tmp_path / "checkpoints" / "best.npz", episodes=50, seed=1)
    assert result.returns.mean() == pytest.approx(best, abs=0.35)
    assert (tmp_path / "checkpoints" / "last.npz").is_file()


@pytest.mark.parametrize("start", ["stored", "zero"])
def test_sequences_can_start_otherwise(start):
    trainer, _, summary = run(sequence_start=start, total_steps=240)
    assert summary.updates > 0
    assert trainer.replay.geometry.burn_in == (0 if start == "stored" else 3)


def test_zero_starts_train_on_zero_states_and_stored_ones_do_not():
    for start, zero in (("zero", True), ("stored_with_burn_in", False)):
        trainer = Trainer(
            preset("memory", **{**SMALL, "env_id": "tests/Walk-v0", "total_steps": 150, "sequence_start": start})
        )
        seen, update = [], trainer.learner.update
        trainer.learner.update = lambda batch, seen=seen, update=update: seen.append(batch) or update(batch)
        trainer.run()
        assert seen
        assert all(not part.any() for batch in seen for part in batch.state) is zero


def test_rewards_of_another_scale_give_the_same_losses_bit_for_bit():
    # Factors that are powers of two are exact in floating point: what is left is the algorithm's own dependence.
    by_scale = [losses(env_id=f"tests/Maze{number}-v0", total_steps=300) for number in (0, 6, 12)]
    assert len(by_scale[1]) > 20
    assert by_scale[0] == by_scale[1] == by_scale[2]
    raw = [losses(env_id=f"tests/Maze{n}-v0", total_steps=300, normalize_rewards=False) for n in (6, 12)]
    assert raw[0] != raw[1]


def test_environments_in_processes_of_their_own_give_the_same_run():
    assert losses(env_id="r2d2/TMaze-v0", total_steps=150, env_mode="async") == losses(
        env_id="r2d2/TMaze-v0", total_steps=150
    )


def test_a_diverging_run_stops_with_its_keys_and_the_last_good_weights(tmp_path):
    config = preset("memory", **{**SMALL, "env_id": "tests/Walk-v0"})
    trainer = Trainer(config, tmp_path)
    sample = trainer.replay.sample

    def poisoned(batch_size):
        batch = sample(batch_size)
        return batch._replace(reward=np.full_like(batch.reward, np.inf)) if trainer.learner.updates == 5 else batch

    trainer.replay.sample = poisoned
    with pytest.raises(DivergenceError, match=r"update 6 diverged: loss .*keys \[\d+.*last good weights are in .*last"):
        trainer.run()
    load_weights(tmp_path / "checkpoints" / "last.npz", trainer.network)  # refuses what is not finite


def test_spaces_that_cannot_be_served_are_refused_by_name():
    with pytest.raises(TypeError, match=r"action_space=Box.* must be Discrete or MultiDiscrete"):
        train(Config(env_id="Pendulum-v1"))
    with pytest.raises(ValueError, match="env_id='NoSuch-v0' is not registered"):
        train(Config(env_id="NoSuch-v0"))


def test_a_replay_larger_than_the_machine_is_refused_before_it_is_made():
    with pytest.raises(ValueError, match=r"capacity=100000000000000 takes \d+\.\d GB .* lower it to at most \d+"):
        train(Config(capacity=10**14))


@pytest.mark.slow
def test_the_first_command_solves_the_t_maze_which_no_memoryless_agent_can():
    summary = train(preset("memory"))
    assert summary.solved
    assert summary.evaluation_return_mean >= 0.95
    assert summary.env_steps <= 40_000


@pytest.mark.slow
def test_without_stored_states_the_alphabet_is_not_learned_beyond_its_beginning():
    alphabet = {
        "env_id": "r2d2/Alphabet-v0",
        "total_steps": 6_000,
        "train_length": 6,
        "burn_in": 3,
        "overlap": 0,
        "gamma": 0.0,
        "replay_ratio": 24.0,
        "read_previous_action": False,
        "read_previous_reward": False,
        "evaluation_period": 6_000,
    }
    stored, zero = (
        train(preset("memory", sequence_start=start, **alphabet)).evaluation_return_mean
        for start in ("stored_with_burn_in", "zero")
    )
    assert stored > 0.6
    assert zero < 0.45
