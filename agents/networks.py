"""The parts of the library that a configuration asks for."""

import os
from typing import Any

from gymnasium import spaces

from agents.config import Config
from r2d2.network import RecurrentQNetwork
from r2d2.replay import SequenceReplay
from r2d2.replay.spaces import ActionSpec
from r2d2.replay.storage import StepStorage


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
    """The replay of ``config`` for the spaces and recurrent states of ``network``.

    Raises:
        ValueError: its rows would take more memory than this machine has.
    """
    needed = config.capacity * StepStorage.bytes_per_row(network.observation_spec, ActionSpec(network.action_space))
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise ValueError(
            f"capacity={config.capacity} takes {needed / 1e9:.1f} GB for the steps alone, this machine has "
            f"{present / 1e9:.1f} GB: lower it to at most {int(config.capacity * present / needed * 0.8)}"
        )
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
