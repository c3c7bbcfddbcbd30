"""scripts/alphabet.py: experiments by name, errors in one line, exit statuses, and what a run leaves behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from agents import cli

SCRIPT = Path(__file__).parents[2] / "scripts" / "alphabet.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alphabet_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the source of its classes is looked for
    spec.loader.exec_module(module)
    return module


alphabet_script = load()


def quiet_environment() -> dict[str, str]:
    """A user's: other packages of this process may have asked for TensorFlow's warnings."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *arguments]


def test_the_names_are_those_of_the_experiments() -> None:
    from agents.experiments.every import EXPERIMENTS

    assert [experiment.name for experiment in EXPERIMENTS] == list(get_args(alphabet_script.Name))


def test_without_arguments_it_is_all_with_five_seeds() -> None:
    options = cli.parse(alphabet_script.Options, [], program="alphabet.py", description="")
    assert options == alphabet_script.Options((), (0, 1, 2, 3, 4), Path("runs/alphabet"), None)


def test_experiments_are_given_by_name() -> None:
    arguments = ["time-steps", "speed", "--seeds", "7", "8", "--epochs", "3", "--out-dir", "here"]
    options = cli.parse(alphabet_script.Options, arguments, program="alphabet.py", description="")
    assert options == alphabet_script.Options(("time-steps", "speed"), (7, 8), Path("here"), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("time-step", "invalid choice 'time-step' for argument 'experiments'. Expected one of ('five-cases',"),
        ("--seed 3", "unknown option --seed; did you mean --seeds?"),
        ("--epochs x", "--epochs: must be None or INT, not 'x'; see --help"),
        ("--seeds", "seeds=() must be at least one number, all from 0 to 2000000000"),
        ("--seeds 0 -1", "seeds=(0, -1) must be at least one number"),
        ("--seeds 3000000000", "seeds=(3000000000,) must be at least one number"),
        ("--seeds 1 1", "seeds=(1, 1) must name each once"),
        ("speed batch speed", "experiments=('speed', 'batch', 'speed') must name each once"),
        ("--epochs 0", "epochs=0 must be at least 1"),
        ("--out-dir file", "--out-dir: file cannot be made (File exists)"),
        ("--out-dir /proc", "--out-dir: nothing can be written to /proc ("),
        ("--out-dir file/in", "--out-dir: file/in cannot be made (Not a directory)"),
    ],
)
def test_a_bad_command_line_is_refused_in_one_line(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    with pytest.raises(cli.BadInput) as caught:
        alphabet_script.main(arguments.split())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_help_and_mistakes_are_answered_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['alphabet.py', sys.argv[1]]\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)\n"
    )
    for argument, status in (("--help", 0), ("speeed", 2)):
        result = subprocess.run(
            [sys.executable, "-c", code, argument], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert result.stdout.splitlines()[-1] == f"{status} False False"
        assert result.stderr.count("\n") == (1 if status else 0)
    assert not list(tmp_path.iterdir())


def test_a_run_in_a_pipe_leaves_its_results_and_no_noise(tmp_path: Path) -> None:
    result = subprocess.run(
        command("burn-in", "five-cases", "--seeds", "3", "1", "--epochs", "1", "--out-dir", "results/here"),
        cwd=tmp_path,
        env=quiet_environment() | {"FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == [
        "five-cases, seed 3",
        "five-cases, seed 1",
        "burn-in, seed 3",
        "burn-in, seed 1",
    ]
    assert "13.04 %" in result.stdout
    assert "2 of 2" in result.stdout
    assert lines[-3:-1] == ["written: results/here/results.json", "written: results/here/alphabet.png"]
    record = json.loads((tmp_path / "results" / "here" / "results.json").read_text())
    assert record["settings"] == {
        "experiments": ["burn-in", "five-cases"],
        "seeds": [3, 1],
        "out_dir": "results/here",
        "epochs": 1,
    }
    assert [experiment["name"] for experiment in record["experiments"]] == ["five-cases", "burn-in"]
    assert (tmp_path / "results" / "here" / "alphabet.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("burn-in", "--seeds", *map(str, range(1000))),
        cwd=tmp_path,
        env=quiet_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert first.startswith("burn-in, seed 0: ")
    assert "written: runs/alphabet/results.json" in rest
    record = json.loads((tmp_path / "runs" / "alphabet" / "results.json").read_text())
    assert record["interrupted"] is True
    (experiment,) = record["experiments"]
    assert experiment["seeds"] == list(range(len(experiment["seeds"])))
    assert 1 <= len(experiment["seeds"]) < 1000
