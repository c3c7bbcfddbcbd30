"""The replay is of use without any framework: importing it loads none."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = ("tensorflow", "keras", "torch", "jax")


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after ``statement``."""
    program = f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["r2d2.replay", "r2d2"])
def test_importing_loads_no_framework(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert "r2d2" in loaded
    assert loaded.isdisjoint(FRAMEWORKS)


def test_using_it_loads_none_either() -> None:
    loaded = modules_after(
        "from gymnasium import spaces\n"
        "from r2d2.replay import SequenceGeometry, SequenceReplay\n"
        "two, geometry = spaces.Discrete(2), SequenceGeometry(0, 1, 0, 1)\n"
        "replay = SequenceReplay(two, two, (), geometry, capacity=9)\n"
        "replay.add([0], [0], [0.0], [True], [False], (), final_observation=[1])\n"
        "replay.update_priorities(replay.sample(2).keys, [1.0, 2.0])\n"
        "replay.set_state(replay.get_state())\n"
        "assert replay.check_consistency() == []\n"
    )
    assert {"r2d2", "numpy", "gymnasium"} <= loaded
    assert loaded.isdisjoint(FRAMEWORKS)


def test_the_test_would_notice_one() -> None:
    assert "json" in modules_after("import json")
    assert "wave" not in modules_after("import json")


ROOT = Path(__file__).parents[3]
MAY_IMPORT = {
    "envs": set(),
    "r2d2/replay": {"r2d2.replay"},
    "r2d2": {"r2d2"},
    "agents": {"agents", "r2d2"},
    "scripts": {"agents", "envs", "r2d2"},
}
OURS = ("agents", "envs", "r2d2", "scripts", "tests")


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in OURS}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_no_part_knows_those_above_it(part: str) -> None:
    allowed = MAY_IMPORT[part] | {part.replace("/", ".")}
    files = [path for path in (ROOT / part).rglob("*.py") if part != "r2d2" or path.parent.name != "replay"]
    assert files
    for path in files:
        for name in imported_by(path):
            assert any(f"{name}.".startswith(f"{one}.") for one in allowed), f"{path.relative_to(ROOT)} imports {name}"
