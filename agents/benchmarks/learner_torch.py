"""The same update in PyTorch, eager, as a subject of the learner benchmark."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.benchmarks.prepared import Prepared, seconds_per_call
from agents.benchmarks.recurrent_torch import TorchNetwork, use_all_cores
from agents.benchmarks.recurrent_work import (
    ADAM_EPSILON,
    ETA,
    GAMMA,
    LARGEST_NORM,
    LEARNING_RATE,
    N_STEP,
    SIZES,
    TARGET_SEED,
    answers,
    weights,
    work,
)


def prepare(size: str, seconds: float) -> Prepared:
    """An update that has been made once."""
    use_all_cores()
    of = SIZES[size]
    online, target = TorchNetwork(weights(of.units)), TorchNetwork(weights(of.units, TARGET_SEED))
    trainable = [parameter for parameter in online.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, LEARNING_RATE, eps=ADAM_EPSILON, fused=True)
    given = work(of)
    trained = of.train_length

    def update() -> tuple[float, NDArray[np.float32]]:
        stored = (torch.from_numpy(given.hidden)[None], torch.from_numpy(given.cell)[None])
        prefix, unroll = torch.from_numpy(given.prefix), torch.from_numpy(given.unroll)
        action, reward = torch.from_numpy(given.action).long(), torch.from_numpy(given.reward)
        importance = torch.from_numpy(given.importance_weights)
        with torch.no_grad():
            state = online(prefix, stored)[1]
            target_q_values = target(unroll, target(prefix, stored)[1])[0]
        q_values = online(unroll, state)[0]
        with torch.no_grad():
            best = q_values[:, N_STEP:].argmax(-1, keepdim=True)
            value = target_q_values[:, N_STEP:].gather(-1, best)[..., 0]
            returns = sum(GAMMA**i * reward[:, i : i + trained] for i in range(N_STEP))
            targets = returns + GAMMA**N_STEP * value
        error = targets - q_values[:, :trained].gather(-1, action[:, :trained, None])[..., 0]
        loss = 0.5 * (importance[:, None] * error.square()).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, LARGEST_NORM)
        optimizer.step()
        size_of_error = error.detach().abs()
        priorities = ETA * size_of_error.amax(1) + (1 - ETA) * size_of_error.mean(1)
        return loss.item(), priorities.numpy()

    start = time.perf_counter()
    loss, priorities = update()
    first = time.perf_counter() - start
    gradients = [parameter.grad for parameter in trainable if parameter.grad is not None]
    # As Keras lays kernels out: inputs first.
    arrays = [gradient.numpy().T if gradient.ndim == 2 else gradient.numpy() for gradient in gradients]
    return Prepared(
        {"update": lambda: 1e3 * seconds_per_call(update, seconds), "first update": lambda: first},
        answers(loss, priorities, arrays),
    )
