"""`r2d2.RecurrentQNetwork` with the weights of `agents.benchmarks.recurrent_work`."""

from typing import Any

import numpy as np
from gymnasium import spaces

from agents.benchmarks.recurrent_work import ACTIONS, FEATURES, Weights
from agents.presets import preset
from agents.threads import set_threads
from r2d2.network import RecurrentQNetwork


def network(units: int) -> RecurrentQNetwork:
    """Torso, LSTM and dueling head of ``units``; threads as `agents.training` would set them for this network."""
    set_threads(preset("memory", torso_units=units, core_units=(units,)))
    return RecurrentQNetwork(
        spaces.Box(-np.inf, np.inf, (FEATURES,)),
        spaces.Discrete(ACTIONS),
        torso_units=units,
        core_units=(units,),
        read_previous_action=False,
        read_previous_reward=False,
    )


def set_weights(network: RecurrentQNetwork, weights: Weights) -> None:
    """Give ``network`` these weights."""
    for variable, value in zip(variables(network), (array for own in weights for array in own), strict=True):
        variable.assign(value)


def variables(network: RecurrentQNetwork) -> list[Any]:
    """The trained variables in the order of `Weights`."""
    parts: tuple[Any, ...] = (network.torso, network.core_layers[0], network.advantage, network.value)
    return [variable for part in parts for variable in part.trainable_variables]
