"""scripts/benchmark.py: what there is, options, refusals, results, interruption."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agents import cli
from agents.benchmarks import rounds, running
from agents.benchmarks.catalogue import NAMES

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
SMALL = ("sum-tree", "--leaves", "100", "1000", "--rounds", "2", "--seconds", "0.001")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark_script = load()


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if ``modules`` were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(rounds.importlib.util, "find_spec", lambda name: None if name in modules else find(name))


def test_without_arguments_it_says_what_there_is_and_imports_nothing_large(tmp_path: Path) -> None:
    result = run(folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    listed = [line.split()[0] for line in result.stdout.splitlines() if re.match(r"  \S", line)]
    peers = ["cpprb", "flashbax", "torchrl", "torch", "sb3-contrib", "popgym"]
    assert [name for name in listed if name in peers] == peers
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert listed[: len(NAMES)] == list(NAMES) == ["replay", "sum-tree", "learner", "acting", "end-to-end", "growth"]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['benchmark.py', *sys.argv[1:]]\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    print([name for name in ('tensorflow', 'torch', 'jax', 'cpprb') if name in sys.modules])\n"
    )
    for arguments in (["--help"], ["learner", "--help"], ["replay", "--mistake"]):
        said = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
        assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark_script.main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: benchmark.py {name}" in said
    assert "--rounds" in said
    assert "Rounds: how often" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("replai", "unknown benchmark 'replai'; did you mean replay?"),
        ("x", "unknown benchmark 'x'; there are replay, sum-tree, learner, acting, end-to-end, growth"),
        ("replay --round 3", "unknown option --round; did you mean --rounds?"),
        ("replay --rounds 0", "rounds=0 must be at least 1"),
        ("replay --profiles P4", "invalid choice 'P4'"),
        ("replay --capacity 10", "capacity=10 must be at least 5000"),
        ("sum-tree --subjects nobody", "subjects='nobody' must be among ['ours', 'cpprb-malloc']"),
        ("learner --cores 0", "cores=(0,) must be from 1 to "),
        ("growth --cores 99999", "cores=99999 must be from 1 to "),
        ("acting --cores 99999", "cores=99999 must be from 1 to "),
        ("end-to-end --cores 99999", "cores=99999 must be from 1 to "),
        ("replay --profiles", "profiles is given without a value"),
        ("acting --environments", "environments is given without a value"),
        ("learner --cores", "cores is given without a value"),
        ("sum-tree --leaves 100 100", "leaves names 100 twice"),
        ("replay --cores 0", "cores=0 must be from 1 to "),
        ("learner --sizes huge", "invalid choice 'huge'"),
        ("acting --environments 0", "environments=(0,) must be numbers of at least 1"),
        ("end-to-end --steps 5", "steps=5 must be at least 1000"),
        ("sum-tree --out-dir /dev/null/x", "out_dir='/dev/null/x' cannot be made:"),
    ],
)
def test_a_bad_command_line_is_refused_in_one_line(arguments: str, message: str) -> None:
    with pytest.raises(cli.BadInput) as refused:
        benchmark_script.main(arguments.split())
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.os, "access", lambda path, mode: False)
    with pytest.raises(cli.BadInput, match=r"^out_dir='.*' cannot be written to$"):
        benchmark_script.main([*SMALL, "--out-dir", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def measured(folder: Path, name: str = "sum-tree") -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    said: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(), parse_constant=refuse)
    return said


def test_a_run_leaves_table_json_and_chart_and_names_who_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "cpprb")
    assert benchmark_script.main([*SMALL, "--out-dir", str(tmp_path / "new" / "folder")]) == 0
    said = capsys.readouterr().out
    assert "cpprb-malloc left out: not installed: cpprb" in said
    assert "us for ten times the leaves" in said
    assert "\x1b" not in said
    assert "ours left out" not in said
    *_, how_to_install, where_results, where_chart = said.splitlines()
    assert how_to_install == 'what is not installed comes with: pip install -e ".[benchmark,popgym]"'
    assert where_results == f"results: {tmp_path / 'new' / 'folder' / 'sum-tree.json'}"
    assert where_chart == f"chart:   {tmp_path / 'new' / 'folder' / 'sum-tree.png'}"
    results = measured(tmp_path / "new" / "folder")
    assert results["options"] == {
        "rounds": 2,
        "seconds": 0.001,
        "subjects": [],
        "out_dir": str(tmp_path / "new" / "folder"),
        "leaves": [100, 1000],
    }
    assert [case["name"] for case in results["cases"]] == ["100 leaves", "1,000 leaves"]
    for case in results["cases"]:
        assert case["absent"] == {"cpprb-malloc": "not installed: cpprb"}
        for measure in case["measures"]:
            (ours,) = measure["subjects"]
            assert (ours["name"], len(ours["values"])) == ("ours", 2)
            assert 0 < ours["lowest"] <= ours["median"] <= ours["highest"]
    assert set(results["extra"]) == {"ours, draw", "ours, update"}
    assert (tmp_path / "new" / "folder" / "sum-tree.png").read_bytes().startswith(b"\x89PNG")


def test_a_subject_that_fails_is_told_and_it_is_our_failure_only_if_it_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its module cannot be imported where the package it needs is only said to be there."""
    find = importlib.util.find_spec
    present = find("json")
    monkeypatch.setattr(
        rounds.importlib.util, "find_spec", lambda name: present if name == "no_such_module" else find(name)
    )
    from dataclasses import replace

    from agents.benchmarks import sum_tree

    plan = sum_tree.plan

    def broken(role: str) -> Any:
        def planned(options: Any) -> Any:
            return [
                replace(
                    case,
                    subjects=tuple(
                        replace(s, module="agents.benchmarks.no_such_module", needs=()) if s.role == role else s
                        for s in case.subjects
                    ),
                )
                for case in plan(options)
            ]

        return planned

    for role, status in (("peer", 0), ("ours", 1)):
        monkeypatch.setattr(sum_tree, "BENCHMARK", replace(sum_tree.BENCHMARK, plan=broken(role)))
        subjects = ["--subjects", "ours", "cpprb-malloc"] if role == "peer" else ["--subjects", "ours"]
        assert benchmark_script.main([*SMALL, *subjects, "--out-dir", str(tmp_path)]) == status
        name = "ours" if role == "ours" else "cpprb-malloc"
        assert f"{name} left out: failed: ModuleNotFoundError" in capsys.readouterr().out


def test_without_any_peer_ours_is_measured_beside_the_limit_and_each_peer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "cpprb", "flashbax", "torchrl", "torch")
    arguments = ["replay", "--profiles=P1", "--capacity=5000", "--rounds=1", "--seconds=0.001"]
    subjects = ["--subjects", "ours", "memory-copy", "cpprb-malloc", "flashbax", "torchrl-whole"]
    assert benchmark_script.main([*arguments, *subjects, f"--out-dir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    lines = [line.rstrip() for line in said.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 100  # notes that are longer have been broken
    (case,) = measured(tmp_path, "replay")["cases"]
    assert case["absent"] == {
        "cpprb-malloc": "not installed: cpprb",
        "flashbax": "not installed: flashbax",
        "torchrl-whole": "not installed: torchrl, torch",
    }
    for name, why in case["absent"].items():
        assert f"  {name} left out: {why}" in lines
    ours, limit = case["measures"][0]["subjects"]
    assert (ours["name"], limit["name"]) == ("ours", "memory-copy")
    assert ours["ratio_to_best_peer"] is None
    assert ours["ratio_to_limit"] > 0


def processes_of(folder: Path) -> list[int]:
    """Processes whose working directory is ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_ctrl_c_ends_it_and_its_subjects_and_keeps_the_cases_that_are_done(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *SMALL, "--rounds", "600", "--subjects", "ours"],
        start_new_session=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    results = tmp_path / "runs" / "benchmark"
    deadline = time.monotonic() + 60
    while not (results / "sum-tree.json").exists() or len(processes_of(tmp_path)) < 2:  # itself and a subject
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert said.endswith("\ncases that are done: runs/benchmark/sum-tree.json\n")
    while processes_of(tmp_path):
        assert time.monotonic() < deadline + 10
        time.sleep(0.05)
    assert [case["name"] for case in measured(results)["cases"]] == ["100 leaves"]
