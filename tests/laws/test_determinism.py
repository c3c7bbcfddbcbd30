"""Law 14: same seed, same configuration, same machine: the same losses, bit for bit."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import json, sys
from pathlib import Path

import envs
from agents.config import Config
from agents.training import train
from r2d2.learner import Learner

folder, seeds = Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]]
update, losses = Learner.update, []


def recorded(self, batch):
    result = update(self, batch)
    losses.append([result.loss.hex(), result.gradient_norm.hex(), float(result.priorities.sum()).hex()])
    return result


Learner.update = recorded
runs = []
for seed in seeds:
    losses = []
    config = Config(
        env_id="r2d2/TMaze-v0",
        seed=seed,
        total_steps=500,
        num_envs=4,
        train_length=6,
        burn_in=3,
        overlap=3,
        batch_size=8,
        capacity=300,
        learning_starts=100,
        replay_ratio=12.0,
        epsilon_decay_steps=300,
        torso_units=16,
        core_units=(16,),
        evaluation_period=300,
        evaluation_episodes=2,
        final_evaluation_episodes=2,
        report_period=300,
    )
    summary = train(config, folder)
    weights = (folder / "checkpoints" / "last.npz").read_bytes().hex()
    runs.append({"losses": losses, "last_return": summary.last_return_mean, "weights": weights})
print(json.dumps(runs))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Runs of seed 5 in two processes of their own, and then of seed 6 in the second."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("runs")), *seeds],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for seeds in (["5"], ["5", "6"])
    ]
    found: list[dict[str, Any]] = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            found += json.loads(out)
    finally:
        for process in processes:
            process.kill()
    return found


def test_the_same_seed_gives_the_same_losses_bit_for_bit(runs: list[dict[str, Any]]) -> None:
    first, second, _ = runs
    assert len(first["losses"]) >= 100
    assert first["losses"] == second["losses"]
    assert first["weights"] == second["weights"]
    assert first["last_return"] == second["last_return"]


def test_another_seed_gives_other_losses(runs: list[dict[str, Any]]) -> None:
    first, _, other = runs
    assert all(mine != others for mine, others in zip(first["losses"], other["losses"], strict=False))
    assert first["weights"] != other["weights"]
