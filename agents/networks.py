"""The parts of the library that a configuration asks for."""

from typing import Any

from gymnasium import spaces

from agents.config import Config
from r2d2.network import RecurrentQNetwork
from r2d2.replay import SequenceReplay


def make_network(
    config: Config, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> RecurrentQNetwork:
    """The network of ``config`` for environments of these spaces."""
    return RecurrentQNetwork(
        observation_space,
        action_space,
        torso_units=config.torso_units,
        core=config.core,
        core_units=config.core_units,
        head_units=config.head_units,
        dueling=config.dueling,
        read_previous_action=config.read_previous_action,
        read_previous_reward=config.read_previous_reward,
    )


def make_replay(config: Config, network: RecurrentQNetwork, seed: int) -> SequenceReplay:
    """The replay of ``config`` for the spaces and recurrent states of ``network``."""
    return SequenceReplay(
        network.observation_space,
        network.action_space,
        network.state_example,
        config.geometry,
        capacity=config.capacity,
        num_envs=config.num_envs,
        priority_exponent=config.priority_exponent,
        importance_exponent=config.importance_exponent,
        seed=seed,
    )
