"""A plain recurrent double-Q agent in PyTorch with stored states: what one would write in an afternoon.

Dense torso, LSTM, dueling head; episodes kept whole with the state of every step; sequences drawn uniformly, burnt in,
trained on n-step double-Q targets. A reference for the speed of a whole agent at the same replay ratio, network and
batch.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.config import Config
from agents.episodes import EpisodeStream
from agents.make_envs import make_envs
from agents.stopwatch import Stopwatch
from r2d2.reward_scale import RewardScale


class Episode(NamedTuple):
    """A finished episode of T steps."""

    inputs: NDArray[np.float32]
    """float32[T + 1, inputs], what the network reads at each step and at the final observation."""
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    hidden: NDArray[np.float32]
    """float32[T, units], before each step was read."""
    cell: NDArray[np.float32]
    terminated: bool


class Network(nn.Module):
    """Torso, LSTM, dueling head."""

    def __init__(self, inputs: int, observed: int, actions: int, torso: int, units: int) -> None:
        super().__init__()
        self.observed = observed
        self.torso = nn.Linear(observed, torso)
        self.lstm = nn.LSTM(torso + inputs - observed, units, batch_first=True)
        self.advantage, self.value = nn.Linear(units, actions), nn.Linear(units, 1)

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Q-values [B, T, actions] of inputs [B, T, inputs], and the state after them."""
        features = torch.relu(self.torso(inputs[..., : self.observed]))
        outputs, after = self.lstm(torch.cat([features, inputs[..., self.observed :]], -1), state)
        advantage = self.advantage(outputs)
        return self.value(outputs) + advantage - advantage.mean(-1, keepdim=True), after


class RecurrentDoubleQ:
    """The agent. Reads of ``config`` what a plain agent has; no priorities, no ladder, no rescaling.

    Args:
        config: its numbers; one recurrent layer.
    """

    def __init__(self, config: Config) -> None:
        self.config = c = config
        self.rng = np.random.default_rng(c.seed)
        torch.manual_seed(c.seed)
        envs = make_envs(c.env_id, c.num_envs, env_kwargs=c.env_kwargs)
        self.stream = EpisodeStream(envs, seed=c.seed)
        self.space = envs.single_observation_space
        assert isinstance(envs.single_action_space, spaces.Discrete)
        self.actions = int(envs.single_action_space.n)
        observed = self.features(self.stream.observation).shape[1]
        inputs = observed + self.actions * c.read_previous_action + c.read_previous_reward
        self.online = Network(inputs, observed, self.actions, c.torso_units, c.core_units[0])
        self.target = Network(inputs, observed, self.actions, c.torso_units, c.core_units[0])
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = torch.optim.Adam(self.online.parameters(), c.learning_rate, eps=c.adam_epsilon, fused=True)
        self.scale = RewardScale(c.num_envs, c.gamma)
        self.state = torch.zeros(2, c.num_envs, c.core_units[0])
        self.previous = np.zeros((c.num_envs, inputs - observed), np.float32)
        self.open: list[list[tuple[Any, ...]]] = [[] for _ in range(c.num_envs)]
        self.episodes: deque[Episode] = deque(maxlen=1000)
        self.watch = Stopwatch()
        self.steps = self.updates = self.trained = 0

    def run(self) -> None:
        """Play and learn for ``total_steps``."""
        c, learning_since = self.config, None
        while self.steps < c.total_steps:
            self.act()
            if self.steps >= c.learning_starts and self.episodes:
                learning_since = self.steps if learning_since is None else learning_since
                while self.trained < c.replay_ratio * (self.steps - learning_since):
                    with self.watch.part("replay"):
                        batch = self.sample()
                    with self.watch.part("learning"):
                        self.learn(*batch)
        self.stream.close()

    def features(self, observation: Any) -> NDArray[np.float32]:
        """Observations as float32[N, observed]; discrete ones one-hot."""
        if isinstance(self.space, spaces.Discrete):
            return np.eye(int(self.space.n), dtype=np.float32)[np.asarray(observation) - int(self.space.start)]
        return np.asarray(observation, np.float32).reshape(len(observation), -1)

    @torch.no_grad()
    def act(self) -> None:
        """One step of every environment."""
        c, first = self.config, self.stream.first
        with self.watch.part("acting"):
            self.state[:, first] = 0.0
            self.previous[first] = 0.0
            inputs = np.concatenate([self.features(self.stream.observation), self.previous], axis=1)
            before = self.state.numpy().copy()
            q_values, after = self.online(torch.from_numpy(inputs)[:, None], (self.state[:1], self.state[1:]))
            self.state = torch.cat(after)
            epsilon = max(c.epsilon_base, 1 - self.steps / max(1, c.epsilon_decay_steps))
            explore = self.rng.random(c.num_envs) < epsilon
            random = self.rng.integers(self.actions, size=c.num_envs)
            action = np.where(explore, random, q_values[:, 0].argmax(-1).numpy())
        with self.watch.part("environment"):
            result = self.stream.step(action)
        ended = result.terminated | result.truncated
        self.scale.add(result.reward, ended, result.active)
        with self.watch.part("replay"):
            if c.read_previous_action:
                self.previous[:, : self.actions] = np.eye(self.actions, dtype=np.float32)[action]
            if c.read_previous_reward:
                self.previous[:, -1] = result.reward
            for env in range(c.num_envs):
                self.open[env].append((inputs[env], action[env], result.reward[env], *before[:, env]))
            for env in np.flatnonzero(ended).tolist():
                final = np.concatenate([self.features(result.final_observation)[env], self.previous[env]])
                read, taken, reward, hidden, cell = (np.asarray(part) for part in zip(*self.open[env], strict=True))
                read = np.concatenate([read, final[None]])
                terminated = bool(result.terminated[env])
                self.episodes.append(Episode(read, taken, reward.astype(np.float32), hidden, cell, terminated))
                self.open[env] = []
        self.steps += int(result.active.sum())

    def sample(self) -> tuple[Any, ...]:
        """A batch of sequences, right-padded, with their returns."""
        c = self.config
        period, rows = c.train_length - c.overlap, c.train_length + c.n_step
        first_units = self.state.shape[-1]
        inputs = np.zeros((c.batch_size, c.burn_in + rows, self.previous.shape[1] + self.online.observed), np.float32)
        state = np.zeros((2, c.batch_size, first_units), np.float32)
        burnt = np.zeros(c.batch_size, np.float32)
        action = np.zeros((c.batch_size, c.train_length), np.int64)
        ahead = np.zeros((c.batch_size, c.train_length), np.int64)
        reward, discount, mask = np.zeros((3, c.batch_size, c.train_length), np.float32)
        for b in range(c.batch_size):
            episode = self.episodes[self.rng.integers(len(self.episodes))]
            length = len(episode.action)
            # The first sequence of an episode starts from zero, the others have their whole burn-in before them.
            start = int(self.rng.integers(-(-length // period))) * period
            prefix = c.burn_in if start >= c.burn_in else 0
            count = min(c.train_length, length - start)
            read = episode.inputs[start - prefix : start + rows]
            inputs[b, c.burn_in - prefix : c.burn_in - prefix + len(read)] = read
            state[:, b] = episode.hidden[start - prefix], episode.cell[start - prefix]
            burnt[b] = prefix > 0
            action[b, :count] = episode.action[start : start + count]
            step = np.arange(start, start + count)
            last = np.minimum(step + c.n_step, length)
            for i in range(c.n_step):
                inside = step + i < length
                reward[b, :count][inside] += c.gamma**i * episode.reward[step[inside] + i]
            ahead[b, :count] = last - start
            discount[b, :count] = c.gamma ** (last - step) * ~((last == length) & episode.terminated)
            mask[b, :count] = 1.0
        arrays = (inputs, state, burnt, action, reward * self.scale.factor, ahead, discount, mask)
        return tuple(torch.from_numpy(np.asarray(a, np.float32) if a.dtype == np.float64 else a) for a in arrays)

    def learn(
        self, inputs: Any, state: Any, burnt: Any, action: Any, reward: Any, ahead: Any, discount: Any, mask: Any
    ) -> None:
        """One update on a batch."""
        c = self.config
        prefix, unroll = inputs[:, : c.burn_in], inputs[:, c.burn_in :]

        def unrolled(network: Network) -> Tensor:
            with torch.no_grad():
                stored = (state[:1].contiguous(), state[1:].contiguous())
                warm = network(prefix, stored)[1] if c.burn_in else stored
                start = [torch.where(burnt[None, :, None] > 0, w, s) for w, s in zip(warm, stored, strict=True)]
            q_values: Tensor = network(unroll, (start[0], start[1]))[0]
            return q_values

        q_values = unrolled(self.online)
        with torch.no_grad():
            values = unrolled(self.target).gather(-1, q_values.argmax(-1, keepdim=True))[..., 0]
            targets = reward + discount * values.gather(1, ahead)
        error = targets - q_values[:, : c.train_length].gather(-1, action[..., None])[..., 0]
        loss = (nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none") * mask).sum() / mask.sum()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), c.max_gradient_norm)
        self.optimizer.step()
        with torch.no_grad():
            for own, other in zip(self.target.parameters(), self.online.parameters(), strict=True):
                own.lerp_(other, c.target_mixing or 1.0)
        self.updates += 1
        self.trained += int(mask.sum())
