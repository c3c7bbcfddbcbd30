"""The README says what is so: its Python runs, its commands name what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_there_are_four_snippets_the_first_without_tensorflow():
    assert ["keras" in snippet or "agents" in snippet for snippet in SNIPPETS] == [False, True, True, True]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["replay", "keras", "check", "train"])
def test_each_snippet_runs_as_it_stands(snippet, tmp_path):
    result = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_replay_snippet_gives_burnt_in_sequences_of_the_lengths_asked_for(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SNIPPETS[0]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.split("\n")[0] == "(32, 64) 10 (32, 23, 3) 20"


def test_exactly_two_commands_do_all_set_up():
    commands = [line.strip() for line in README.splitlines() if line.strip().startswith("python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python scripts/train.py",
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest',
    ]


def test_every_file_it_names_exists():
    named = set(re.findall(r"\]\((docs/[^)]+)\)|`((?:r2d2|agents|envs|scripts|tests)/[\w/.]*)`", README))
    missing = [a or b for a, b in named if not (ROOT / (a or b)).exists() and "-v0" not in (a or b)]
    assert missing == []
