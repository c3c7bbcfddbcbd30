"""RunFolder: what a run leaves behind, that nothing is overwritten, and reading it back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import Config
from agents.reports import Evaluation, Report, Summary
from agents.run_folder import RunFolder, load_config, load_history

REPORT = Report(
    env_steps=1000,
    updates=50,
    seconds=2.5,
    episodes=90,
    return_mean=-0.5,
    length_mean=11.0,
    loss=0.25,
    gradient_norm=1.5,
    mean_q=0.1,
    reward_scale=2.0,
    epsilon=0.3,
    env_steps_per_second=400.0,
    updates_per_second=20.0,
    replay_ratio=44.0,
    replay_sequences=90,
    replay_steps=1000,
    dropped_priority_updates=0,
    staleness=None,
)
EVALUATION = Evaluation(env_steps=1000, updates=50, return_mean=0.75, return_std=0.25, episodes=20, best=True)
SUMMARY = Summary(
    env_id="r2d2/TMaze-v0",
    seed=3,
    env_steps=1000,
    updates=50,
    wall_seconds=4.0,
    training_seconds=2.5,
    env_steps_per_second=400.0,
    updates_per_second=20.0,
    evaluation_return_mean=0.75,
    evaluation_return_std=0.25,
    evaluation_episodes=20,
    last_return_mean=0.5,
    solved=None,
    solved_at_env_steps=None,
    solved_at_training_seconds=None,
    stopped_because="total_steps",
    seconds_by_part={"learning": 2.0, "other": 0.5},
)


def run_of(path: Path, config: Config, reports: list[Report], evaluations: list[Evaluation]) -> None:
    with RunFolder(path, config) as folder:
        folder.started(config, 0.95, 1234, 5678)
        for report in reports:
            folder.progressed(report.env_steps)
            folder.reported(report)
        for evaluation in evaluations:
            folder.evaluated(evaluation)
        folder.finished(SUMMARY)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run."""
    path = tmp_path / "a" / "run"
    run_of(path, Config(seed=3, core_units=(32, 16)), [REPORT], [EVALUATION])
    return path


def test_a_run_leaves_what_the_design_says(run: Path) -> None:
    names = {entry.name.partition(".tfevents")[0] for entry in run.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "events.out", "summary.json", "learning_curve.png"}


def test_config_json_holds_every_option_and_the_versions(run: Path) -> None:
    record = strict((run / "config.json").read_text())
    config = Config(seed=3, core_units=(32, 16))
    assert record["config"] == {**dataclasses.asdict(config), "core_units": [32, 16], "env_args": []}
    assert set(record["versions"]) == {"python", "tensorflow", "keras", "numpy", "gymnasium", "r2d2-replay"}
    assert record["versions"]["numpy"] == np.__version__
    assert (record["solved_return"], record["parameters"], record["replay_bytes"]) == (0.95, 1234, 5678)


def test_the_configuration_is_read_back_from_folder_or_file(run: Path) -> None:
    assert load_config(run) == load_config(run / "config.json") == Config(seed=3, core_units=(32, 16))


def test_each_report_and_evaluation_is_a_line_at_once(tmp_path: Path) -> None:
    config = Config()
    with RunFolder(tmp_path / "run", config) as folder:
        folder.started(config, None, 1, 1)
        metrics = tmp_path / "run" / "metrics.jsonl"
        assert metrics.read_text() == ""
        folder.reported(REPORT)
        assert strict(metrics.read_text()) == {"kind": "report", **REPORT._asdict()}
        folder.evaluated(EVALUATION)
        assert strict(metrics.read_text().splitlines()[1]) == {"kind": "evaluation", **EVALUATION._asdict()}


def test_numbers_that_are_not_finite_are_null_and_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    odd = REPORT._replace(loss=math.nan, mean_q=np.float32(np.inf), updates=np.int64(7), return_mean=np.float64(0.5))
    run_of(tmp_path / "run", Config(), [odd], [])
    line = strict((tmp_path / "run" / "metrics.jsonl").read_text())
    assert (line["loss"], line["mean_q"], line["updates"], line["return_mean"]) == (None, None, 7, 0.5)


def test_summary_json_has_the_fields_of_the_summary(run: Path) -> None:
    assert strict((run / "summary.json").read_text()) == SUMMARY._asdict()


def test_tensorboard_gets_what_is_known(run: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    (events,) = run.glob("events.*")
    scalars = {}
    for event in EventFileLoader(str(events)).Load():
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                scalars[value.tag] = (event.step, float(tensor_util.make_ndarray(value.tensor)))
    assert scalars["learning/loss"] == (1000, 0.25)
    assert scalars["exploring/return_mean"] == (1000, -0.5)
    assert scalars["evaluation/return_mean"] == (1000, 0.75)
    assert "learning/staleness" not in scalars  # None
    # Every field of a report but the step itself.
    assert {tag.partition("/")[2] for tag in scalars if not tag.startswith("evaluation/")} == (
        set(Report._fields) - {"env_steps", "staleness"}
    )


def test_the_default_folder_is_named_after_environment_time_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(env_id="some.module:space/Env-v0", seed=7)
    first, second = RunFolder(None, config), RunFolder(None, config)
    assert first.path.parts[:3] == ("runs", "some.module-space", "Env-v0")
    assert first.path.name.split("_")[2].startswith("seed7")
    assert first.path != second.path
    assert first.path.is_dir()
    assert second.path.is_dir()


@pytest.mark.parametrize("env_id", ["../../x/Env-v0", "/etc/Env-v0", "a//Env-v0"])
def test_no_id_leads_out_of_runs(env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = RunFolder(None, Config(env_id=env_id)).path
    assert path.resolve().is_relative_to(tmp_path / "runs")


def test_a_folder_that_holds_a_run_is_refused(run: Path) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*")}
    with pytest.raises(ValueError, match=r"holds a run already, and nothing is overwritten: .*--out-dir"):
        RunFolder(run, Config())
    assert {file: file.read_bytes() for file in run.rglob("*")} == before


def test_a_folder_that_holds_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"is not empty.*--out-dir"):
        RunFolder(tmp_path, Config())


@pytest.mark.parametrize("path", ["file", "file/run", "file/some/run"])
def test_a_folder_that_cannot_be_made_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^out_dir='.*(is a file|cannot be made \(.*\)): choose another folder"):
        RunFolder(tmp_path / path, Config())


def test_a_default_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/Env-v0").write_text("")
    with pytest.raises(ValueError, match="cannot be made"):
        RunFolder(None, Config(env_id="Env-v0"))


def test_two_runs_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    """Both found it empty; the second to start is refused, the first goes on."""
    config = Config()
    with RunFolder(tmp_path, config) as first, RunFolder(tmp_path, config) as second:
        first.started(config, None, 1, 1)
        with pytest.raises(FileExistsError):
            second.started(config, None, 1, 1)
        first.reported(REPORT)
    assert load_history(tmp_path).reports == [REPORT]


def test_a_run_that_never_started_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="no such environment"), RunFolder(tmp_path / "mine" / "a" / "b", Config()):
        raise ValueError("no such environment")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["mine"]


def test_a_run_that_fails_later_keeps_what_it_has(tmp_path: Path) -> None:
    config = Config()
    with contextlib.suppress(RuntimeError), RunFolder(tmp_path / "run", config) as folder:
        folder.started(config, None, 1, 1)
        folder.reported(REPORT)
        raise RuntimeError
    assert load_history(tmp_path / "run").reports == [REPORT]


def test_metrics_without_a_start_are_a_mistake(tmp_path: Path) -> None:
    with RunFolder(tmp_path, Config()) as folder, pytest.raises(RuntimeError, match="before the run has started"):
        folder.reported(REPORT)


def test_history_is_what_was_reported(run: Path) -> None:
    history = load_history(run)
    assert (history.env_id, history.seed, history.solved_return) == ("r2d2/TMaze-v0", 3, 0.95)
    assert history.reports == [REPORT]
    assert history.evaluations == [EVALUATION]


def test_a_line_that_a_killed_run_left_unfinished_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "report", "env_st')
    assert load_history(run).reports == [REPORT]


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"env_steps": 3}', '{"kind": "report", "env_steps": 3}'])
def test_damaged_metrics_are_named_by_line(run: Path, line: str) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3, is no report"):
        load_history(run)


def test_missing_metrics_are_named(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match=r"metrics\.jsonl cannot be read \(No such file"):
        load_history(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 3}, r"has options that this version does not know: colour$"),
        ({"seed": "0"}, r"has seed='0', must be int$"),
        ({"seed": True}, r"has seed=True, must be int$"),
        ({"dueling": 1}, r"has dueling=1, must be bool$"),
        ({"core": "rnn"}, r"has core='rnn', must be one of 'lstm', 'gru'$"),
        ({"core_units": [64, "a"]}, r"has core_units=\[64, 'a'\], must be tuple\[int, ...\]$"),
        ({"huber_delta": "1"}, r"has huber_delta='1', must be float \| None$"),
        ({"batch_size": 0}, r"batch_size=0 must be at least 1$"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(run: Path, change: dict[str, Any], message: str) -> None:
    file = run / "config.json"
    record = json.loads(file.read_text())
    record["config"].update(change)
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message) as caught:
        load_config(run)
    assert str(caught.value).startswith(str(file))


def test_whole_numbers_are_good_for_real_ones(run: Path) -> None:
    file = run / "config.json"
    record = json.loads(file.read_text())
    record["config"].update(gamma=1, huber_delta=2)
    file.write_text(json.dumps(record))
    config = load_config(run)
    assert (config.gamma, config.huber_delta) == (1.0, 2.0)
    assert isinstance(config.huber_delta, float)


def test_a_configuration_with_too_little_is_refused(run: Path) -> None:
    file = run / "config.json"
    record = json.loads(file.read_text())
    del record["config"]["gamma"], record["config"]["n_step"]
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"lacks options of this version: n_step, gamma$"):
        load_config(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config\.json is not JSON: "),
        ("[]", r"config\.json has no configuration"),
        ('{"config": 3}', r"config\.json has no configuration"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        load_config(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json does not exist: is .* the folder of a run\?$"):
        load_config(tmp_path)
