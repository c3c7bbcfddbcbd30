"""What was measured, as JSON: settings, versions, and every seed's figures beside the published ones."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.experiments.results import Figure, Results
from agents.experiments.runs import Runs

FILE = "results.json"


def write_record(folder: Path, runs: Runs, settings: Mapping[str, Any]) -> Path:
    """Write results.json, which is either whole or as it was before. Numbers that are not finite are null.

    Args:
        folder: where; it must be there.
        runs: what was done.
        settings: what was asked for.

    Returns:
        The file.
    """
    record = {
        "settings": settings,
        "versions": _versions(),
        "seconds": runs.seconds,
        "interrupted": runs.interrupted,
        "experiments": [_experiment(results) for results in runs.results],
    }
    file = folder / FILE
    unfinished = file.with_name(f"{FILE}.unfinished")
    unfinished.write_text(json.dumps(_json(record), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(unfinished, file)
    return file


def _experiment(results: Results) -> dict[str, Any]:
    experiment = results.experiment
    return {
        "name": experiment.name,
        "title": experiment.title,
        "note": experiment.note,
        "figures": [_figure(results, figure) for figure in experiment.figures],
        "checks": {
            check: [outcome.checks[check] for outcome in results.outcomes.values()] for check in experiment.checks
        },
        "seeds": list(results.outcomes),
        "seconds": list(results.seconds.values()),
        "details": [outcome.details for outcome in results.outcomes.values()],
    }


def _figure(results: Results, figure: Figure) -> dict[str, Any]:
    average, lowest, highest = results.summary(figure)
    return {
        "model": figure.model,
        "measure": figure.measure,
        "unit": figure.unit,
        "published": figure.published,
        figure.average: average,
        "lowest": lowest,
        "highest": highest,
        "differs": results.differs(figure),
        "each_seed": [outcome.figures[figure.key] for outcome in results.outcomes.values()],
    }


def _versions() -> dict[str, str]:
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
