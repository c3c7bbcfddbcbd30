"""scripts/train.py: options, presets, errors in one line, exit statuses, and what a run leaves behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agents import cli
from agents.config import Config
from agents.presets import PRESETS

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
SMALL = [
    *("--total-steps=400", "--learning-starts=100", "--replay-ratio=8", "--torso-units=8", "--core-units=8"),
    *("--evaluation-period=200", "--report-period=100", "--evaluation-episodes=2", "--final-evaluation-episodes=4"),
]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_script = load()


def quiet_environment() -> dict[str, str]:
    """A user's: other packages of this process (JAX does) may have asked for TensorFlow's warnings."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env=quiet_environment() | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refusal(*arguments: str) -> str:
    """What the command line is refused with."""
    with pytest.raises(cli.BadInput) as caught:
        train_script.configuration(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def configuration(*arguments: str) -> Config:
    config = train_script.configuration(arguments)
    assert isinstance(config, Config)
    return config


def test_without_options_it_is_the_memory_preset_on_a_t_maze() -> None:
    assert configuration() == PRESETS["memory"]
    assert configuration().env_id == "r2d2/TMaze-v0"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_changes_all_defaults(name: str) -> None:
    assert configuration("--preset", name) == PRESETS[name]
    assert configuration(f"--preset={name}") == PRESETS[name]


def test_explicit_options_win_over_the_preset_wherever_they_stand() -> None:
    before = configuration("--env-id", "CartPole-v1", "--gamma", "0.5", "--preset", "control")
    assert before == configuration("--preset", "control", "--env-id", "CartPole-v1", "--gamma", "0.5")
    assert (before.env_id, before.gamma, before.n_step) == ("CartPole-v1", 0.5, PRESETS["control"].n_step)


def test_an_environment_alone_keeps_the_memory_preset() -> None:
    config = configuration("--env-id", "CartPole-v1")
    assert (config.env_id, config.preset, config.gamma) == ("CartPole-v1", "memory", PRESETS["memory"].gamma)


def test_options_are_written_with_hyphens() -> None:
    config = configuration(
        *("--total-steps", "7", "--out-dir", "here", "--no-stop-when-solved"),
        *("--core-units", "64", "32", "--huber-delta", "None"),
    )
    assert (config.total_steps, config.out_dir, config.stop_when_solved) == (7, "here", False)
    assert (config.core_units, config.huber_delta) == ((64, 32), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--env-ld x", "unknown option --env-ld; did you mean --env-id?"),
        ("--total-stepz=3", "unknown option --total-stepz; did you mean --total-steps?"),
        ("--xyzzy", "unknown option --xyzzy; see --help"),
        ("extra", "unexpected argument 'extra'; a value follows its option (--seed 1), and an option that is switched"),
        ("--stop-when-solved False", "unexpected argument 'False'; a value follows its option"),
        ("--total-steps 1e5", "--total-steps: must be a whole number, not '1e5'; see --help"),
        ("--gamma x", "--gamma: must be a number, not 'x'; see --help"),
        ("--huber-delta none", "--huber-delta: must be None or FLOAT, not 'none'; see --help"),
        ("--core rnn", "invalid choice 'rnn' for argument '--core'. Expected one of ('lstm', 'gru'); see --help"),
        ("--preset contrl", "invalid choice 'contrl' for argument '--preset'. Expected one of ('memory', 'control',"),
        ("--preset", "missing value for argument '--preset'. Expected 1 values; see --help"),
        ("--batch-size 0", "batch_size=0 must be at least 1"),
        ("--overlap 64", "overlap=64 must be smaller than train_length=64"),
        ("--capacity 3", "capacity=3 must be at least 664: room for one sequence of each of num_envs=8 environments"),
    ],
)
def test_a_bad_command_line_is_refused_in_one_line(arguments: str, message: str) -> None:
    assert refusal(*arguments.split()).startswith(message)


def test_a_box_of_another_make_is_shown_as_it_is() -> None:
    assert cli._without_box("something else\n  in two lines\n") == "something else\n  in two lines"


def test_help_says_what_the_preset_says(tmp_path: Path) -> None:
    result = run("--help", "--preset", "control", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Train a recurrent agent" in result.stdout
    assert "Trained steps of a sequence. (default: 40)" in result.stdout


def test_neither_help_nor_a_mistake_imports_tensorflow() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', sys.argv[1]]\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    print('tensorflow' in sys.modules, 'keras' in sys.modules)\n"
    )
    for argument in ("--help", "--mistake"):
        result = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=60)
        assert result.stdout.splitlines()[-1] == "False False"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(write)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env-ld=x"], "error: unknown option --env-ld; did you mean --env-id?"),
        (["--num-envs", "0"], "error: num_envs=0 must be at least 1"),
        (["--out-dir", "full"], "error: out_dir='full' is not empty, and nothing is overwritten: choose another"),
        (["--env-id", "Nope-v0"], "error: env_id='Nope-v0' is not registered: Environment `Nope` doesn't exist."),
        (["--env-id", "Pendulum-v1"], "error: action_space=Box(-2.0, 2.0, (1,), float32) is not supported: it must be"),
    ],
    ids=["unknown option", "out of range", "folder not empty", "unknown environment", "unsupported space"],
)
def test_bad_input_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    result = run(*arguments, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    # Nothing is left behind, nothing is lost.
    assert [str(entry.relative_to(tmp_path)) for entry in sorted(tmp_path.rglob("*"))] == ["full", "full/file"]


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    """The same ValueError from a library's depths is no refusal."""

    def refused() -> None:
        Config(batch_size=0)

    def broken() -> None:
        int("abc")

    with pytest.raises(ValueError, match="batch_size") as refusal:
        refused()
    with pytest.raises(ValueError, match="invalid literal") as bug:
        broken()
    assert cli.is_refusal(refusal.value)
    assert not cli.is_refusal(bug.value)
    assert not cli.is_refusal(KeyError("x"))
    assert not cli.is_refusal(ValueError("never raised"))


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (0, 0, ""),
        (7, 7, ""),
        (cli.BadInput("no such thing"), 2, "error: no such thing\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_statuses(end: int | BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        if isinstance(end, BaseException):
            raise end
        return end

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (None, []),
        ("3", []),
        ("2", ["E0000"]),
        ("1", ["W0000", "E0000"]),
        ("0", ["WARNING:", "I0000", "W0000", "E0000"]),
    ],
)
def test_tensorflows_lines_are_held_back_and_all_others_follow(
    tmp_path: Path, level: str | None, shown: list[str]
) -> None:
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n')\n"
        "for letter in 'IWE':\n"
        "    os.write(2, f'{letter}0000 00:00:1700000000.123456    4242 port.cc:153] Look at me\\n'.encode())\n"
        "os.write(2, b'something went wrong\\n')\n"
        "raise ImportError('no TensorFlow here')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", "from agents import cli; cli.import_tensorflow()"],
        env=quiet_environment()
        | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{SCRIPT.parents[1]}"}
        | ({} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    before, _, after = result.stderr.partition("something went wrong\n")
    assert [line.split()[0] for line in before.splitlines()] == shown
    assert after.endswith("ImportError: no TensorFlow here\n")


def test_a_run_in_a_pipe_leaves_its_results_and_no_noise(tmp_path: Path) -> None:
    result = run(*SMALL, "--seed", "5", folder=tmp_path, FORCE_COLOR="1")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == "r2d2/TMaze-v0, preset memory, seed 5"
    (folder,) = (tmp_path / "runs" / "r2d2" / "TMaze-v0").iterdir()
    assert f"  results in {folder.relative_to(tmp_path)}" in lines
    assert (
        lines[-1]
        == f"next            {sys.executable} {SCRIPT.with_name('evaluate.py')} {folder.relative_to(tmp_path)}"
    )
    names = {str(entry.relative_to(folder)).partition(".out.")[0] for entry in folder.rglob("*") if entry.is_file()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "events",
        "checkpoints/best.npz",
        "checkpoints/last.npz",
        "learning_curve.png",
        "summary.json",
    }
    kinds = [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert (kinds.count("report"), kinds.count("evaluation")) == (4, 2)
    assert json.loads((folder / "config.json").read_text())["config"]["core_units"] == [8]
    assert json.loads((folder / "summary.json").read_text())["env_steps"] == 400


RECALL = """
import gymnasium
import numpy as np

class Recall(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation(), {}

    def step(self, action):
        self.t += 1
        return self.observation(), 1.0, self.t == 8, False, {}

    def observation(self):
        return np.full(2, BAD if self.t == 5 else 0.5, np.float32)

gymnasium.register("Recall-v0", entry_point=Recall)
"""


def test_an_environment_of_the_readers_own_is_found_in_the_folder_they_are_in(tmp_path: Path) -> None:
    (tmp_path / "recall.py").write_text("BAD = 0.5\n" + RECALL)
    few = ("--total-steps", "40", "--learning-starts", "1000", "--final-evaluation-episodes", "2")
    trained = run(*SMALL, *few, "--env-id", "recall:Recall-v0", "--out-dir", "run", folder=tmp_path)
    assert (trained.returncode, trained.stderr) == (0, "")
    evaluated = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("evaluate.py")), "run", "--episodes", "2"],
        cwd=tmp_path,
        env=quiet_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    assert "mean 8, standard deviation 0" in evaluated.stdout


def test_an_environment_that_leaves_its_space_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "recall.py").write_text("BAD = float('nan')\n" + RECALL)
    result = run(*SMALL, "--env-id", "recall:Recall-v0", "--out-dir", "run", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        "error: environment row 0 broke its word: observation is outside its space: it must not hold NaN; "
        "observation[0, 0] is nan\n"
    )


def test_a_diverging_run_says_so_in_one_line(tmp_path: Path) -> None:
    result = run(*SMALL, "--learning-rate", "1e38", "--out-dir", "run", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: update ")
    assert "diverged" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_ends_a_run_with_its_results(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *SMALL, "--total-steps=100000000", "--out-dir=run"],
        cwd=tmp_path,
        env=quiet_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "greedy return" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "ended by        Ctrl-C" in rest.splitlines()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["stopped_because"] == "interrupted"
