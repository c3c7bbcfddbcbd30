"""Recurrent replay with stored states and burn-in (R2D2, Kapturowski et al., ICLR 2019).

Public names load on first use: ``import r2d2`` is light, and what is in `r2d2.replay` never needs TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2d2.burn_in_check import BurnInError, BurnInReport, check_burn_in
    from r2d2.burn_in_subjects import SupportsBurnIn
    from r2d2.keras_files import load_with_states, save_with_states
    from r2d2.keras_states import (
        copy_states,
        keep_states,
        read_states,
        reset_states,
        take_rows,
        warm_up,
        write_states,
    )
    from r2d2.learner import DivergenceError, Learner, Update
    from r2d2.losses import sequence_loss, sequence_priorities
    from r2d2.network import RecurrentQNetwork
    from r2d2.rebatching import rebatch_copying_weights, rebatch_sharing_weights
    from r2d2.replay import Batch, Inputs, SequenceGeometry, SequenceReplay
    from r2d2.rescaling import rescale, unscale
    from r2d2.reward_scale import RewardScale
    from r2d2.settings import LearnerSettings
    from r2d2.state_callbacks import StatesBeforeBatch, StatesBeforeEpoch
    from r2d2.stateful import StatefulNetwork
    from r2d2.targets import n_step_double_q_targets
    from r2d2.weights import load_weights, save_weights

_HOME = {
    "Batch": "replay",
    "BurnInError": "burn_in_check",
    "BurnInReport": "burn_in_check",
    "DivergenceError": "learner",
    "Inputs": "replay",
    "Learner": "learner",
    "LearnerSettings": "settings",
    "RecurrentQNetwork": "network",
    "RewardScale": "reward_scale",
    "SequenceGeometry": "replay",
    "SequenceReplay": "replay",
    "StatefulNetwork": "stateful",
    "StatesBeforeBatch": "state_callbacks",
    "StatesBeforeEpoch": "state_callbacks",
    "SupportsBurnIn": "burn_in_subjects",
    "Update": "learner",
    "check_burn_in": "burn_in_check",
    "copy_states": "keras_states",
    "keep_states": "keras_states",
    "load_weights": "weights",
    "load_with_states": "keras_files",
    "n_step_double_q_targets": "targets",
    "read_states": "keras_states",
    "rebatch_copying_weights": "rebatching",
    "rebatch_sharing_weights": "rebatching",
    "rescale": "rescaling",
    "reset_states": "keras_states",
    "save_weights": "weights",
    "save_with_states": "keras_files",
    "sequence_loss": "losses",
    "sequence_priorities": "losses",
    "take_rows": "keras_states",
    "unscale": "rescaling",
    "warm_up": "keras_states",
    "write_states": "keras_states",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'r2d2' has no attribute {name!r}")
    return getattr(importlib.import_module(f"r2d2.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
