"""The training loop: act, store, learn, and now and then evaluate and report."""

import random
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agents.acting import Actor, epsilon_greedy, epsilon_ladder
from agents.config import Config
from agents.env_failures import EnvironmentFailure
from agents.episodes import EpisodeStream, StepResult
from agents.evaluation import Evaluator
from agents.interrupt import Interrupt
from agents.make_envs import make_envs
from agents.networks import make_network, make_replay
from agents.reports import Evaluation, Observer, Report, Summary
from agents.stopwatch import Stopwatch
from r2d2.learner import DivergenceError, Learner, Update
from r2d2.network import count_parameters
from r2d2.replay import Batch
from r2d2.replay.spaces import ActionSpec, OutsideSpaceError
from r2d2.reward_scale import RewardScale
from r2d2.staleness import staleness
from r2d2.weights import save_weights

STALENESS_SEQUENCES = 16
"""Sequences whose staleness a report measures."""
STALENESS_STEPS = 1000
"""Steps before a sequence that measuring its staleness may play; sequences later in an episode are left out."""
SMALLEST_RESCALING = 1e-3
"""Relative change of the rewards' factor that is worth telling the networks."""


def train(config: Config, run_dir: Path | None = None, observers: Sequence[Observer] = ()) -> Summary:
    """Train an agent as ``config`` says.

    Args:
        config: the whole configuration.
        run_dir: where ``checkpoints/best.npz`` and ``last.npz`` (weights) go; None keeps nothing.
        observers: told how it goes.

    Raises:
        ValueError: the environment cannot be made, or its spaces are not supported.
        EnvironmentFailure: an environment failed, or gave what is not in its space; the last weights have been saved.
        DivergenceError: the loss is not finite any more; the last weights have been saved.
    """
    return Trainer(config, run_dir, observers).run()


class Trainer:
    """One run. See `train`."""

    def __init__(self, config: Config, run_dir: Path | None = None, observers: Sequence[Observer] = ()) -> None:
        self.config = config
        self._run_dir = run_dir
        self._observers = observers
        seeds = np.random.SeedSequence(config.seed).spawn(5)
        environment_seed, replay_seed, self._evaluation_seed = (int(s.generate_state(1)[0]) >> 1 for s in seeds[:3])
        self._rng = np.random.default_rng(seeds[3])
        self._staleness_rng = np.random.default_rng(seeds[4])
        # Before TensorFlow starts its threads: environments in processes of their own are forked from this one.
        random.seed(config.seed)  # for environments that draw from the global generators
        np.random.seed(config.seed)  # noqa: NPY002
        envs = make_envs(config.env_id, config.num_envs, mode=config.env_mode, env_kwargs=config.env_kwargs)
        self._stream = EpisodeStream(envs, seed=environment_seed, timeout_seconds=config.env_timeout)
        try:
            keras.utils.set_random_seed(config.seed)
            self.network = make_network(config, envs.single_observation_space, envs.single_action_space)
            self.replay = make_replay(config, self.network, replay_seed)
            self.learner = Learner(self.network, config.learner_settings)
            self._actor = Actor(self.network, config.num_envs)
        except BaseException:
            self._stream.close()
            raise
        self._action_spec = ActionSpec(envs.single_action_space)
        self._ladder = epsilon_ladder(config.num_envs, config.epsilon_base, config.epsilon_spread)
        self._reward_scale = RewardScale(config.num_envs, config.gamma)
        self._kept = self.learner.target_network if config.evaluated_weights == "target" else self.network
        self._evaluator = Evaluator(self._kept, config.env_id, config.env_kwargs)
        self._solved_return = config.solved_return
        if self._solved_return is None:
            self._solved_return = None if envs.spec is None else envs.spec.reward_threshold

        self._interrupt = Interrupt()
        self.watch = Stopwatch()
        self.env_steps = 0
        self._trained_steps = 0
        self._actor_is_behind = False
        self._learning_since: int | None = None
        self._episodes = 0
        self._returns: deque[float] = deque(maxlen=100)
        self._lengths: deque[int] = deque(maxlen=100)
        self._updates: list[Update] = []
        self._evaluations = 0
        self._best: Evaluation | None = None
        self._last: Evaluation | None = None
        self._solved_at: tuple[int, float] | None = None
        self._reported = (0, 0, 0.0)
        self._factor = 1.0

    def run(self) -> Summary:
        """Train to the end."""
        try:
            for observer in self._observers:
                observer.started(self.config, self._solved_return, count_parameters(self.network), self.replay.nbytes)
        except BaseException:
            self._stream.close()
            raise
        with self._interrupt:
            return self._finish(self._train())

    def _train(self) -> str:
        """The loop; why it ended."""
        config = self.config
        stopped_because = "total_steps"
        next_report, next_evaluation = config.report_period, config.evaluation_period
        try:
            while self.env_steps < config.total_steps:
                self._interrupt.check()
                self._act()
                self._learn()
                for observer in self._observers:
                    observer.progressed(self.env_steps)
                if self.env_steps >= next_report:
                    next_report += config.report_period
                    self._report()
                if self.env_steps >= next_evaluation:
                    next_evaluation += config.evaluation_period
                    self._evaluate()
                    if self._solved_at is not None and config.stop_when_solved:
                        stopped_because = "solved"
                        break
        except KeyboardInterrupt:
            stopped_because = "interrupted"
        except DivergenceError as error:
            if self._run_dir is not None:
                error.args = (f"{error}. The last good weights are in {self._run_dir / 'checkpoints' / 'last.npz'}",)
            raise
        finally:
            self._stream.close()
            self._save("last", self._kept)
        return stopped_because

    def _act(self) -> None:
        """One step of every environment, into the replay."""
        watch, stream = self.watch, self._stream
        observation, first = stream.observation, stream.first
        with watch.part("acting" if self.env_steps else "compilation"):
            if self._actor_is_behind:
                self._actor.refresh()
                self._actor_is_behind = False
            q_values, state = self._actor.q_values(observation, first)
            index = epsilon_greedy(q_values, self._epsilon(), self._rng)
        with watch.part("environment"):
            action = self._action_spec.from_index(index)
            result = stream.step(action)
        with watch.part("replay" if self.env_steps else "compilation"):
            self._store(observation, action, result, state)
        with watch.part("acting"):
            self._actor.took(index, result.reward)
        if self.config.normalize_rewards:
            with watch.part("learning"):
                self._normalize(result)
        self.env_steps += int(result.active.sum())
        self._episodes += len(result.finished.rows)
        self._returns.extend(result.finished.returns.tolist())
        self._lengths.extend(result.finished.lengths.tolist())

    def _store(self, observation: Any, action: Any, result: StepResult, state: Any) -> None:
        """Add a step of every environment to the replay, which looks whether it is fit for it."""
        try:
            self.replay.add(
                observation,
                action,
                result.reward,
                result.terminated,
                result.truncated,
                state,
                final_observation=result.final_observation,
                active=result.active,
            )
        except OutsideSpaceError as error:
            raise EnvironmentFailure(f"environment row {error.env} broke its word: {error}", (error.env,)) from error

    def _normalize(self, result: StepResult) -> None:
        """Count the rewards, and scale all by what they now say if that has changed noticeably."""
        self._reward_scale.add(result.reward, result.terminated | result.truncated, result.active)
        factor = self._reward_scale.factor
        if abs(factor / self._factor - 1.0) > SMALLEST_RESCALING:
            self._factor = factor
            self.learner.set_reward_scale(factor)
            self._actor_is_behind = True

    def _learn(self) -> None:
        """As many updates as the replay ratio asks for."""
        if self._learning_since is None:
            if self.env_steps < self.config.learning_starts or not self.replay.can_sample():
                return
            self._learning_since = self.env_steps
        due = self.config.replay_ratio * (self.env_steps - self._learning_since)
        # A ring of few rows may have lost its last sequence before the next one is complete.
        while self._trained_steps < due and self.replay.can_sample():
            replay, learning = ("replay", "learning") if self.learner.updates else ("compilation", "compilation")
            with self.watch.part(replay):
                batch = self._started(self.replay.sample(self.config.batch_size))
            with self.watch.part(learning):
                update = self.learner.update(batch)
            with self.watch.part(replay):
                self.replay.update_priorities(batch.keys, update.priorities)
            self._trained_steps += int(batch.train_length.sum())
            self._updates.append(update)
            self._actor_is_behind = True
            del batch  # so that the next one may lie where it lay

    def _started(self, batch: Batch) -> Batch:
        """The batch with its sequences starting as the configuration says."""
        if self.config.sequence_start != "zero":
            return batch
        return batch._replace(state=tf.nest.map_structure(np.zeros_like, batch.state))

    def _epsilon(self) -> Any:
        decay = self.config.epsilon_decay_steps
        left = max(0.0, 1.0 - self.env_steps / decay) if decay else 0.0
        return self._ladder + (1.0 - self._ladder) * left

    def _evaluate(self, *, interrupted: bool = False) -> None:
        """Evaluate the weights; confirm them over more episodes if they may be the best so far."""
        config = self.config
        with self.watch.part("evaluation"):
            evaluation = self._measure(config.evaluation_episodes)
            if self._best is None or evaluation.return_mean > self._best.return_mean:
                if config.evaluation_episodes < config.final_evaluation_episodes and not interrupted:
                    evaluation = self._measure(config.final_evaluation_episodes)
                if self._best is None or evaluation.return_mean > self._best.return_mean:
                    evaluation = evaluation._replace(best=True)
                    self._save("best", self._kept)
                    self._best = evaluation
        self._last = evaluation
        solved = self._solved_return is not None and evaluation.return_mean >= self._solved_return
        # Too few episodes may reach the threshold by luck.
        solved = solved and (evaluation.episodes >= config.final_evaluation_episodes or not interrupted)
        if solved and evaluation.best and self._solved_at is None:
            self._solved_at = (self.env_steps, self._training_seconds())
        for observer in self._observers:
            observer.evaluated(evaluation)

    def _measure(self, episodes: int) -> Evaluation:
        self._evaluations += 1
        result = self._evaluator.evaluate(
            episodes, self._evaluation_seed + 1000 * self._evaluations, self._interrupt.check
        )
        mean, std = float(result.returns.mean()), float(result.returns.std())
        return Evaluation(self.env_steps, self.learner.updates, mean, std, len(result.returns), False, result.cut)

    def _report(self) -> None:
        steps, updates, seconds = self._reported
        now = self._training_seconds()
        elapsed = max(now - seconds, 1e-9)
        done = self._updates
        learning_steps = self.env_steps - (self._learning_since or 0)
        report = Report(
            env_steps=self.env_steps,
            updates=self.learner.updates,
            seconds=self.watch.seconds(),
            episodes=self._episodes,
            return_mean=_mean(self._returns),
            length_mean=_mean(self._lengths),
            loss=_mean([u.loss for u in done]),
            gradient_norm=_mean([u.gradient_norm for u in done]),
            mean_q=_mean([u.mean_q for u in done]),
            reward_scale=self._factor,
            epsilon=float(self._epsilon().mean()),
            env_steps_per_second=(self.env_steps - steps) / elapsed,
            updates_per_second=(self.learner.updates - updates) / elapsed,
            replay_ratio=self._trained_steps / max(1, learning_steps) if self._learning_since is not None else 0.0,
            replay_sequences=len(self.replay),
            replay_steps=self.replay.num_steps,
            dropped_priority_updates=self.replay.dropped_updates,
            staleness=self._staleness(),
        )
        self._reported = (self.env_steps, self.learner.updates, now)
        self._updates = []
        for observer in self._observers:
            observer.reported(report)

    def _staleness(self) -> float | None:
        """Mean delta-Q at the first trained step of some sequences whose episodes are still held from their start."""
        keys = self.replay.keys()
        if not len(keys):
            return None
        keys = np.sort(self._staleness_rng.choice(keys, size=min(STALENESS_SEQUENCES, len(keys)), replace=False))
        with self.watch.part("evaluation"):
            played, length, held = self.replay.before(keys, longest=STALENESS_STEPS)
            if not held.any():
                return None
            measured = staleness(self.network, self._started(self.replay.get(keys)), played, length)
        return float(measured.first[held].mean())

    def _finish(self, stopped_because: str) -> Summary:
        """Evaluate what is left to evaluate, and sum up."""
        if self._last is None or (self._last.env_steps != self.env_steps and stopped_because == "total_steps"):
            try:
                self._evaluate(interrupted=stopped_because == "interrupted")
            except KeyboardInterrupt:
                if self._best is None:
                    raise
                stopped_because = "interrupted"  # what was evaluated before stands
        if self.env_steps > self._reported[0]:
            self._report()
        assert self._best is not None
        assert self._last is not None
        training = max(self._training_seconds(), 1e-9)
        summary = Summary(
            env_id=self.config.env_id,
            seed=self.config.seed,
            env_steps=self.env_steps,
            updates=self.learner.updates,
            wall_seconds=self.watch.seconds(),
            training_seconds=training,
            env_steps_per_second=self.env_steps / training,
            updates_per_second=self.learner.updates / training,
            evaluation_return_mean=self._best.return_mean,
            evaluation_return_std=self._best.return_std,
            evaluation_episodes=self._best.episodes,
            last_return_mean=self._last.return_mean,
            solved=None if self._solved_return is None else self._solved_at is not None,
            solved_at_env_steps=self._solved_at[0] if self._solved_at else None,
            solved_at_training_seconds=self._solved_at[1] if self._solved_at else None,
            stopped_because=stopped_because,
            seconds_by_part=self.watch.parts(),
        )
        for observer in self._observers:
            observer.finished(summary)
        return summary

    def _training_seconds(self) -> float:
        return self.watch.seconds() - self.watch.of("evaluation") - self.watch.of("compilation")

    def _save(self, name: str, network: Any) -> None:
        if self._run_dir is not None:
            save_weights(self._run_dir / "checkpoints" / f"{name}.npz", network)


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
