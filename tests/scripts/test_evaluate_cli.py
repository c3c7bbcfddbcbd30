"""scripts/evaluate.py: what it prints of a run, what it shows, and how it refuses what is no run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers r2d2/...
from agents import cli
from agents.config import Config
from agents.make_envs import make_envs
from agents.networks import make_network
from agents.run_folder import RunFolder
from r2d2.weights import save_weights

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


evaluate_script = load()


def make_run(path: Path, env_id: str, **env_kwargs: object) -> Path:
    """The folder of a run that has kept untrained weights as its best."""
    env_args = tuple(f"{name}={value}" for name, value in env_kwargs.items())
    config = Config(env_id=env_id, env_args=env_args, seed=4, torso_units=8, core_units=(8,))
    with RunFolder(path, config) as folder:
        folder.started(config, 0.95, 1, 1)
    with_one = make_envs(env_id, 1, env_kwargs=env_kwargs)
    network = make_network(config, with_one.single_observation_space, with_one.single_action_space)
    with_one.close()
    save_weights(path / "checkpoints" / "best.npz", network)
    return path


@pytest.fixture(scope="module")
def t_maze_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", "r2d2/TMaze-v0")


class Silent(gymnasium.Env[np.int64, np.int64]):
    """Can be shown to nobody."""

    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.int64, dict[str, object]]:
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, object]]:
        return np.int64(0), 1.0, True, False, {}


class Fragile(Silent):
    """Cannot be made without being told how many rewards are numbers; shows how many steps there were."""

    metadata = {"render_modes": ["ansi"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, sound: int, render_mode: str | None = None) -> None:
        self.sound, self.render_mode, self.steps = sound, render_mode, 0

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, object]]:
        self.steps += 1
        return np.int64(0), 1.0 if self.steps <= self.sound else np.nan, True, False, {}

    def render(self) -> str:
        return f"{self.steps} steps, {self.render_mode}"


@pytest.fixture
def fragile() -> Iterator[str]:
    gymnasium.register("EvaluateFragile-v0", entry_point=Fragile)
    yield "EvaluateFragile-v0"
    del gymnasium.registry["EvaluateFragile-v0"]


def refusal(*arguments: str) -> str:
    with pytest.raises(cli.BadInput) as caught:
        evaluate_script.main(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_prints_what_the_episodes_returned(t_maze_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_script.main([str(t_maze_run), "--episodes", "5"]) == 0
    head, episodes, mean, extremes, length = capsys.readouterr().out.splitlines()
    assert head == "r2d2/TMaze-v0, seed 4, best weights"
    assert episodes == "episodes  5"
    assert mean.startswith("return    mean ")
    assert ", standard deviation " in mean
    assert extremes.startswith("          lowest ")
    assert ", highest " in extremes
    assert length == "length    mean 11 steps, 11 to 11"  # a corridor of 10, and one turn


def test_numbers_are_those_of_the_episodes(
    t_maze_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents import evaluation

    def episodes(*_: object, **__: object) -> evaluation.EvaluationResult:
        return evaluation.EvaluationResult(np.array([1.0, 3.0, -1.0, 1.0]), np.array([2, 4, 6, 8]), cut=2)

    monkeypatch.setattr(evaluation, "evaluate_run", episodes)
    assert evaluate_script.main([str(t_maze_run)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "episodes  4",
        "return    mean 1, standard deviation 1.414",  # of 0, 2, -2, 0
        "          lowest -1, highest 3",
        "length    mean 5 steps, 2 to 8",
        "cut       2 that did not end",
    ]


def test_the_same_seed_gives_the_same_episodes(t_maze_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("3", "3"):
        evaluate_script.main([str(t_maze_run), "--episodes", "4", "--seed", seed, "--render"])
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert "goal up" in outputs[0]
    assert "goal down" in outputs[0]


def test_rendering_prints_the_frames_of_one_episode(t_maze_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_script.main([str(t_maze_run), "--render"]) == 0
    text = capsys.readouterr().out
    for step in range(1, 11):
        assert f"step {step} of 11, goal" in text
    assert "episodes  1" in text.splitlines()


def test_an_environment_that_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    gymnasium.register("EvaluateSilent-v0", entry_point=Silent)
    try:
        run = make_run(tmp_path / "run", "EvaluateSilent-v0")
        assert refusal(str(run), "--render") == (
            "--render: EvaluateSilent-v0 has no render mode for people (ansi or human), only []"
        )
    finally:
        del gymnasium.registry["EvaluateSilent-v0"]


@pytest.mark.parametrize("more", [{}, {"render_mode": "ansi"}])
def test_arguments_of_an_environment_are_those_it_is_shown_with(
    fragile: str, more: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", fragile, sound=9, **more)
    assert evaluate_script.main([str(run), "--render"]) == 0
    assert "1 steps, ansi" in capsys.readouterr().out.splitlines()


def test_an_environment_that_fails_is_told_in_one_line(
    fragile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", fragile, sound=3)
    assert evaluate_script.main([str(run)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "reward" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_options_default_to_the_best_weights() -> None:
    options = cli.parse(evaluate_script.Options, ["folder"], program="evaluate.py", description="")
    assert (options.run_dir, options.weights, options.render) == (Path("folder"), "best", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN_DIR is required; see --help"),
        (["run", "more"], "unexpected argument 'more'; "),
        (["run", "--episdes", "3"], "unknown option --episdes; did you mean --episodes?"),
        (["run", "--episodes", "0"], "episodes=0 must be at least 1"),
        (["run", "--seed", "-1"], "seed=-1 must be at least 0"),
        (["run", "--weights", "newest"], "invalid choice 'newest' for argument '--weights'. Expected one of ('best',"),
    ],
)
def test_a_bad_command_line_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    assert refusal(*arguments).startswith(message)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"{tmp_path / 'config.json'} does not exist: is '{tmp_path}' the folder of a run?"


def test_weights_that_the_run_has_not_kept_are_refused(t_maze_run: Path) -> None:
    assert refusal(str(t_maze_run), "--weights", "last").startswith(
        f"{t_maze_run / 'checkpoints' / 'last.npz'} does not exist: "
    )


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "r2d2/TMaze-v0")
    weights = run / "checkpoints" / "best.npz"
    weights.write_bytes(weights.read_bytes()[:-40])
    assert str(weights) in refusal(str(run))


def test_bad_input_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "nowhere"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: nowhere does not exist: is 'nowhere' the folder of a run?\n"


def test_it_runs_from_anywhere_and_without_noise(t_maze_run: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(t_maze_run), "--episodes", "3"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "episodes  3" in result.stdout.splitlines()
