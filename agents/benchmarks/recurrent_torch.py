"""The network of `agents.benchmarks.recurrent_work` in PyTorch: a peer for learning and for acting."""

import torch
from torch import Tensor, nn

from agents.benchmarks.recurrent_work import ACTIONS, FEATURES, Weights
from r2d2.replay.two_threads import available_cores


class TorchNetwork(nn.Module):
    """Linear torso, `nn.LSTM`, dueling head.

    Args:
        weights: what it starts with.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        units = len(weights.torso[1])
        self.torso = nn.Linear(FEATURES, units)
        self.lstm = nn.LSTM(units, units, batch_first=True)
        self.advantage = nn.Linear(units, ACTIONS)
        self.value = nn.Linear(units, 1)
        kernel, recurrent, bias = weights.lstm
        with torch.no_grad():
            for layer, own in (
                (self.torso, weights.torso),
                (self.advantage, weights.advantage),
                (self.value, weights.value),
            ):
                layer.weight.copy_(torch.from_numpy(own[0].T))
                layer.bias.copy_(torch.from_numpy(own[1]))
            self.lstm.weight_ih_l0.copy_(torch.from_numpy(kernel.T))
            self.lstm.weight_hh_l0.copy_(torch.from_numpy(recurrent.T))
            self.lstm.bias_ih_l0.copy_(torch.from_numpy(bias))
            self.lstm.bias_hh_l0.zero_()
        self.lstm.bias_hh_l0.requires_grad = False  # one bias, as in Keras

    def forward(self, observation: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Q-values [B, T, ACTIONS] of observations [B, T, FEATURES], and the state (each [1, B, units]) after them."""
        outputs, after = self.lstm(torch.relu(self.torso(observation)), state)
        advantage = self.advantage(outputs)
        return self.value(outputs) + advantage - advantage.mean(-1, keepdim=True), after


def use_all_cores() -> None:
    """As many threads as this process has cores."""
    torch.set_num_threads(available_cores())
