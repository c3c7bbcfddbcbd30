"""What a run leaves behind: its configuration, metrics for people and for TensorBoard, a summary, a picture."""

import importlib.metadata
import json
import math
import os
import platform
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO, Union, get_args, get_origin, get_type_hints

from agents.config import Config
from agents.learning_curve import RunHistory, draw_learning_curve
from agents.reports import Evaluation, Report, Summary

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
PICTURE_FILE = "learning_curve.png"

_GROUPS = {
    "exploring": ("episodes", "return_mean", "length_mean", "epsilon"),
    "learning": ("updates", "loss", "gradient_norm", "mean_q", "reward_scale", "staleness"),
    "replay": ("replay_sequences", "replay_steps", "replay_ratio", "dropped_priority_updates"),
    "speed": ("seconds", "env_steps_per_second", "updates_per_second"),
}
"""Where TensorBoard shows the fields of a report."""


class RunFolder:
    """An observer that writes a run down, in a folder of its own::

        config.json         the configuration, the versions it ran with, and what is known at the start
        metrics.jsonl       one line per report and per evaluation, which its "kind" tells apart
        events.*            the same for TensorBoard
        learning_curve.png  at the end
        summary.json        at the end

    All JSON is strict: a number that is missing or not finite is null. Used in a ``with`` statement, the files
    are closed whatever happens, and a folder of a run that never started is removed again.

    Args:
        path: the folder, new or empty; None for a new one, runs/<env-id>/<date and time>_seed<seed>.
        config: the run's configuration.

    Raises:
        ValueError: the folder is not empty or cannot be made.
    """

    def __init__(self, path: Path | None, config: Config) -> None:
        self._made: list[Path] = []
        self.path = self._claim(path) if path is not None else self._claim_new(_default_path(config))
        self._started = False
        self._metrics: TextIO | None = None
        self._events: Any = None
        self._history: RunHistory | None = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        if not self._started:
            for folder in reversed(self._made):
                try:
                    folder.rmdir()
                except OSError:  # no longer empty: somebody else's
                    break

    def started(self, config: Config, solved_return: float | None, parameters: int, replay_bytes: int) -> None:
        """Write config.json and open the files of metrics."""
        import tensorflow as tf

        self._started = True
        record = {
            "config": asdict(config),
            "versions": _versions(),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "solved_return": _json_value(solved_return),
            "parameters": int(parameters),
            "replay_bytes": int(replay_bytes),
        }
        # Refuses, before anything is written, if another run has begun in this folder meanwhile.
        self._metrics = (self.path / METRICS_FILE).open("x", encoding="utf-8")
        _write_json(self.path / CONFIG_FILE, record)
        self._history = RunHistory(config.env_id, config.seed, solved_return, [], [])
        self._events = tf.summary.create_file_writer(str(self.path))
        table = "\n".join(f"| {name} | {value} |" for name, value in asdict(config).items())
        with self._events.as_default(step=0):
            tf.summary.text("config", "| option | value |\n| --- | --- |\n" + table)
        self._events.flush()

    def progressed(self, env_steps: int) -> None:
        """Nothing is written between reports."""

    def reported(self, report: Report) -> None:
        """Add a line of metrics."""
        self._write_line("report", report._asdict())
        self._write_events(
            report.env_steps,
            {f"{group}/{name}": getattr(report, name) for group, names in _GROUPS.items() for name in names},
        )
        if self._history is not None:
            self._history.reports.append(report)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Add a line of metrics."""
        self._write_line("evaluation", evaluation._asdict())
        self._write_events(
            evaluation.env_steps,
            {"evaluation/return_mean": evaluation.return_mean, "evaluation/return_std": evaluation.return_std},
        )
        if self._history is not None:
            self._history.evaluations.append(evaluation)

    def finished(self, summary: Summary) -> None:
        """Write summary.json and the learning curve, and close the files."""
        _write_json(self.path / SUMMARY_FILE, _json_value(summary._asdict()))
        self._close()
        if self._history is not None:
            draw_learning_curve(self.path / PICTURE_FILE, self._history)

    def _write_line(self, kind: str, values: Mapping[str, Any]) -> None:
        if self._metrics is None:
            raise RuntimeError("a RunFolder is told of metrics before the run has started, or after its end")
        print(json.dumps({"kind": kind, **_json_value(values)}, allow_nan=False), file=self._metrics, flush=True)

    def _write_events(self, env_steps: int, values: Mapping[str, float | None]) -> None:
        import tensorflow as tf

        with self._events.as_default(step=env_steps):
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)
        self._events.flush()

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def _claim(self, path: Path) -> Path:
        """Make the folder that was asked for, if it does not hold anything yet."""
        if path.is_dir() and any(path.iterdir()):
            held = "holds a run already" if (path / CONFIG_FILE).exists() else "is not empty"
            raise ValueError(
                f"out_dir={str(path)!r} {held}, and nothing is overwritten: "
                "choose another folder with --out-dir, or leave it out for a new one"
            )
        if path.exists() and not path.is_dir():
            raise ValueError(f"out_dir={str(path)!r} is a file: choose another folder with --out-dir")
        self._make(path, exist_ok=True)
        return path

    def _claim_new(self, path: Path) -> Path:
        """Make a folder of that name, or the name with the next free number: runs may start in the same second."""
        candidate, number = path, 1
        while True:
            try:
                self._make(candidate, exist_ok=False)
            except FileExistsError:
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")
            else:
                return candidate

    def _make(self, path: Path, *, exist_ok: bool) -> None:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_be_made(path, error) from error
        try:
            path.mkdir(exist_ok=exist_ok)
        except FileExistsError:
            raise
        except OSError as error:
            raise _cannot_be_made(path, error) from error
        self._made = missing[::-1]


def load_config(path: Path) -> Config:
    """The configuration of a run.

    Args:
        path: the run's folder, or its config.json.

    Raises:
        ValueError: there is no such file, or it does not hold a configuration; the text says what is wrong.
    """
    file, record = _read_record(path)
    values = record.get("config")
    if not isinstance(values, dict):
        raise ValueError(f"{file} has no configuration: it must be an object with an object 'config'")
    names = [field.name for field in fields(Config)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"{file} has options that this version does not know: {', '.join(unknown)}")
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"{file} lacks options of this version: {', '.join(missing)}")
    types_of = get_type_hints(Config)
    typed = {}
    for name in names:
        try:
            typed[name] = _as_type(values[name], types_of[name])
        except TypeError:
            raise ValueError(f"{file} has {name}={values[name]!r}, must be {_type_name(types_of[name])}") from None
    try:
        return Config(**typed)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def load_history(path: Path) -> RunHistory:
    """What a run has reported so far, for pictures of it.

    A last line that is cut off, as a killed run leaves it, is left out.

    Args:
        path: the run's folder.

    Raises:
        ValueError: the folder has no metrics, or they cannot be read; the text says where.
    """
    config = load_config(path)
    _, record = _read_record(path)
    history = RunHistory(config.env_id, config.seed, record.get("solved_return"), [], [])
    file = path / METRICS_FILE
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            kind = values.pop("kind")
            if kind == "report":
                history.reports.append(Report(**values))
            elif kind == "evaluation":
                history.evaluations.append(Evaluation(**values))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{file}, line {number}, is no report and no evaluation ({error})") from error
    return history


def _default_path(config: Config) -> Path:
    """runs/<env-id>/<date and time>_seed<seed>; a slash in the id makes a folder, other marks become "-"."""
    parts = [part.replace(":", "-").strip(".") or "-" for part in config.env_id.split("/")]
    return Path("runs", *parts, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_seed{config.seed}")


def _cannot_be_made(path: Path, error: OSError) -> ValueError:
    return ValueError(f"out_dir={str(path)!r} cannot be made ({error.strerror}): choose another folder with --out-dir")


def _versions() -> dict[str, str | None]:
    import gymnasium
    import keras
    import numpy as np
    import tensorflow as tf

    try:
        own = importlib.metadata.version("r2d2-replay")
    except importlib.metadata.PackageNotFoundError:  # used from its folder, without installation
        own = None
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "r2d2-replay": own,
    }


def _read_record(path: Path) -> tuple[Path, dict[str, Any]]:
    file = path / CONFIG_FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{file} does not exist: is {str(path)!r} the folder of a run?") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({error})") from error
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    return file, record if isinstance(record, dict) else {}


def _write_json(path: Path, value: Any) -> None:
    """Write a file that is either whole or not there."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _json_value(value: Any) -> Any:
    """``value`` as JSON has it: NumPy's numbers as numbers, those that are not finite as None."""
    if isinstance(value, Mapping):
        return {key: _json_value(item) for key, item in value.items()}
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _as_type(value: Any, hint: Any) -> Any:
    """A value read from JSON as one of type ``hint``.

    Raises:
        TypeError: it is none.
    """
    choices = get_args(hint)
    if get_origin(hint) is Literal:
        if value in choices and type(value) is type(choices[0]):
            return value
    elif get_origin(hint) in (Union, types.UnionType):
        for choice in choices:
            try:
                return _as_type(value, choice)
            except TypeError:
                continue
    elif get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_as_type(item, choices[0]) for item in value)
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    raise TypeError


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
