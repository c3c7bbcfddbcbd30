"""The recurrent Q-network: a pure function with weights, ``(inputs, state) -> (q_values, new state)``."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from r2d2.cores import Core, State, make_core
from r2d2.replay import trees
from r2d2.replay.batch import Inputs
from r2d2.replay.spaces import ActionSpec, ObservationSpec
from r2d2.torsos import Torso


class RecurrentQNetwork(keras.Model):
    """Q-values of every action at every step: torso, recurrent core, head (R2D2, section 2.3 and appendix).

    The core reads the torso's features and, unless switched off, the previous action (one-hot, all zero for
    "none") and the previous reward times `reward_scale`. The head is dueling (Wang et al. 2016, equation 9) unless
    switched off. The network keeps no recurrent state: `StatefulNetwork` is the view that does.

    Args:
        observation_space: of one environment.
        action_space: Discrete or MultiDiscrete, of one environment.
        torso_units: width of the torso's dense layers.
        core: "lstm", "gru", or Keras recurrent layers (one or a list) made with ``return_sequences=True`` and
            ``return_state=True``.
        core_units: width of each recurrent layer, one number a layer; unused if ``core`` is given as layers.
        head_units: width of a hidden layer in front of values and of advantages each; 0 for none.
        dueling: whether the head is split into value and advantages.
        read_previous_action: whether the core reads the previous action.
        read_previous_reward: whether the core reads the previous reward.

    Raises:
        TypeError: a space is not supported.
        ValueError: ``core`` is no recurrent core, or its layers are made otherwise.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        torso_units: int = 64,
        core: str | Any = "lstm",
        core_units: Sequence[int] = (64,),
        head_units: int = 0,
        dueling: bool = True,
        read_previous_action: bool = True,
        read_previous_reward: bool = True,
    ) -> None:
        super().__init__(name="recurrent_q_network")
        self.observation_space = observation_space
        self.action_space = action_space
        self.observation_spec = ObservationSpec(observation_space)
        self.num_actions = ActionSpec(action_space).count
        self.read_previous_action = read_previous_action
        self.read_previous_reward = read_previous_reward
        self._options: dict[str, Any] = {
            "torso_units": torso_units,
            "head_units": head_units,
            "dueling": dueling,
            "read_previous_action": read_previous_action,
            "read_previous_reward": read_previous_reward,
        }
        if isinstance(core, str):
            layers = make_core(core, core_units)
        else:
            layers = list(core) if isinstance(core, list | tuple) else [core]
        self.torso = Torso(observation_space, torso_units)
        self.core = Core(layers)
        self.core_layers = layers  # where Keras finds their weights
        self.hidden = [keras.layers.Dense(head_units, activation="relu") for _ in range(1 + dueling) if head_units]
        self.advantage = keras.layers.Dense(self.num_actions, name="advantage")
        self.value = keras.layers.Dense(1, name="value") if dueling else None
        self.reward_scale = self.add_weight(name="reward_scale", shape=(), initializer="ones", trainable=False)
        """Factor of rewards, in the input here and in the learner's targets: part of the network, not of the data."""
        self._create_weights()

    def call(self, inputs: Inputs, state: State) -> tuple[Any, State]:
        """See `unroll`."""
        return self.unroll(inputs, state)

    def unroll(
        self, inputs: Inputs, state: State, lengths: Any = None, with_gradient: bool = True
    ) -> tuple[Any, State]:
        """Q-values of all steps and the state after them.

        Args:
            inputs: ``[batch, time, ...]``, right-padded if ``lengths`` are given.
            state: recurrent state before the first step.
            lengths: int32[batch], steps of each row, 0 to time; default: all.
            with_gradient: False for none through the core, which is faster.

        Returns:
            Q-values float32[batch, time, num_actions] (beyond a row's length: anything), and each row's state after
            its last step.
        """
        outputs, new_state = self.core.unroll(self._core_inputs(inputs), state, lengths, with_gradient)
        return self._head(outputs), new_state

    def advance(self, inputs: Inputs, state: State, lengths: Any = None) -> State:
        """The state after all steps, without the Q-values and without a gradient; see `unroll`."""
        return self.core.unroll(self._core_inputs(inputs), state, lengths, with_gradient=False)[1]

    def initial_state(self, batch_size: Any) -> State:
        """The state before an episode's first step, for ``batch_size`` rows."""
        return self.core.initial_state(batch_size)

    @property
    def state_example(self) -> tuple[Any, ...]:
        """The initial state of one row as NumPy arrays, for `r2d2.replay.SequenceReplay`."""
        return tuple(np.asarray(part[0]) for part in self.initial_state(1))

    @property
    def inputs_signature(self) -> Inputs:
        """Tensor specifications of inputs of any batch size and any number of steps."""
        parts = [tf.TensorSpec([None, None, *leaf.shape], leaf.dtype) for leaf in self.observation_spec.leaves]
        return Inputs(
            self.observation_spec.build(parts),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
        )

    @property
    def state_signature(self) -> tuple[Any, ...]:
        """Tensor specifications of states of any batch size."""
        return tuple(tf.TensorSpec([None, *part.shape], part.dtype) for part in self.state_example)

    def copy(self) -> "RecurrentQNetwork":
        """A network of the same make with weights of its own that start equal."""
        layers = [type(layer).from_config(layer.get_config()) for layer in self.core_layers]
        twin = RecurrentQNetwork(self.observation_space, self.action_space, core=layers, **self._options)
        twin.set_weights(self.get_weights())
        return twin

    def _core_inputs(self, inputs: Inputs) -> Any:
        batch, time = tf.unstack(tf.shape(inputs.previous_action))
        parts = trees.leaves_like(self.observation_spec.tree, inputs.observation, "observation")
        merged = [
            tf.reshape(part, tf.concat([[batch * time], list(leaf.shape)], axis=0) if leaf.shape else [-1])
            for part, leaf in zip(parts, self.observation_spec.leaves, strict=True)
        ]
        features = self.torso(self.observation_spec.build(merged))
        joined = [tf.reshape(features, [batch, time, features.shape[-1]])]
        if self.read_previous_action:  # -1, "none", gives zeros
            joined.append(tf.one_hot(inputs.previous_action, self.num_actions))
        if self.read_previous_reward:
            joined.append(inputs.previous_reward[..., None] * self.reward_scale)
        return joined[0] if len(joined) == 1 else tf.concat(joined, axis=-1)

    def _head(self, outputs: Any) -> Any:
        hidden = [layer(outputs) for layer in self.hidden] or [outputs]
        advantage = self.advantage(hidden[-1])
        if self.value is None:
            return advantage
        return self.value(hidden[0]) + advantage - tf.reduce_mean(advantage, axis=-1, keepdims=True)

    def _create_weights(self) -> None:
        parts = [tf.zeros([1, 1, *leaf.shape], leaf.dtype) for leaf in self.observation_spec.leaves]
        example = Inputs(self.observation_spec.build(parts), tf.zeros([1, 1], tf.int32), tf.zeros([1, 1]))
        self.core.build(int(self._core_inputs(example).shape[-1]))
        self(example, self.initial_state(1))


def count_parameters(network: RecurrentQNetwork) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)
