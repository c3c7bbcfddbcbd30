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
from typing import Any

import envs
from agents.config import Config
from agents.reports import Observer
from agents.training import train


class Recorder:
    def __init__(self) -> None:
        self.reports: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def reported(self, report: Any) -> None:
        numbers = (report.loss, report.gradient_norm, report.mean_q, report.return_mean, report.reward_scale)
        self.reports.append([report.env_steps, report.updates, *(x if x is None else float(x).hex() for x in numbers)])


recorder = Recorder()
config = Config(
    env_id="r2d2/TMaze-v0",
    seed=int(sys.argv[1]),
    total_steps=600,
    num_envs=4,
    train_length=6,
    burn_in=3,
    overlap=3,
    batch_size=8,
    capacity=300,
    learning_starts=100,
    replay_ratio=11.0,
    epsilon_decay_steps=300,
    torso_units=16,
    core_units=(16,),
    evaluation_period=1000,
    evaluation_episodes=2,
    final_evaluation_episodes=2,
    report_period=4,
)
summary = train(config, Path(sys.argv[2]), [recorder])
weights = (Path(sys.argv[2]) / "checkpoints" / "last.npz").read_bytes().hex()
print(json.dumps({"reports": recorder.reports, "updates": summary.updates, "weights": weights,
                  "return": float(summary.last_return_mean).hex()}))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Three runs, each in a process of its own: seed 5 twice, then seed 6."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, seed, str(tmp_path_factory.mktemp("run"))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for seed in ("5", "5", "6")
    ]
    found = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
        assert process.returncode == 0, err
        found.append(json.loads(out))
    return found


def test_the_same_seed_gives_the_same_run(runs: list[dict[str, Any]]) -> None:
    first, second, _ = runs
    assert first["updates"] >= 100
    losses = [report[2] for report in first["reports"] if report[2] is not None]
    assert len(set(losses)) >= 100, "a report for every one or two updates"
    assert first["reports"] == second["reports"]
    assert first["return"] == second["return"]
    assert first["weights"] == second["weights"]


def test_another_seed_gives_another_run(runs: list[dict[str, Any]]) -> None:
    first, _, other = runs
    for mine, others in zip(first["reports"], other["reports"], strict=False):
        if mine[2] is not None and others[2] is not None:
            assert mine[2] != others[2]
    assert first["weights"] != other["weights"]
