"""scripts/compare_starts.py: both starts are trained and drawn, in a folder that nothing else is in."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents import training
from r2d2.learner import DivergenceError

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_starts.py"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_run_leaves_both_starts_in_a_folder_named_by_the_time(tmp_path: Path) -> None:
    result = run("--seeds", "0", "--total-steps", "100", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("seed 0: best ") == 2
    (folder,) = (tmp_path / "runs" / "compare_starts").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    assert (folder / "compare_starts.png").stat().st_size > 10_000
    for start in ("stored_with_burn_in", "zero"):
        record = json.loads((folder / start / "seed0" / "config.json").read_text())
        assert record["config"]["sequence_start"] == start
        assert (folder / start / "seed0" / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0", "0"], "seeds=(0, 0) must name at least one, and each once"),
        (["--seeds", "-1"], "seed=-1 must be in [0, 2**32)"),
        (["--seeds"], "seeds=() must name at least one"),
        (["--starts", "zero", "zero"], "starts=('zero', 'zero') must name at least one, and each once"),
        (["--total-steps", "0"], "total_steps=0 must be at least 1"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_is_run(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run(*arguments, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_asked_for_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out" / "zero" / "seed0").mkdir(parents=True)
    (tmp_path / "out" / "zero" / "seed0" / "mine.txt").write_text("mine")
    result = run("--starts", "zero", "--seeds", "0", "--out-dir", "out", folder=tmp_path)
    assert result.returncode == 2
    assert "is not empty, and nothing is overwritten" in result.stderr


def test_a_run_that_diverges_is_told_of_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(*_: object) -> None:
        raise DivergenceError(7, float("nan"), 1.0, np.array([3]))

    monkeypatch.setattr(training, "train", diverge)
    monkeypatch.setattr(sys, "path", [*sys.path])
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--seeds", "0", "--out-dir", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: update 7 diverged: loss nan")
