"""Whole agents: configurations, shares of the time, plans."""

from __future__ import annotations

import pytest

from agents.benchmarks import end_to_end_ours
from agents.benchmarks.end_to_end import SPEED, TIME_TO_SOLVE, EndToEndOptions, extra, plan
from agents.benchmarks.end_to_end_work import PARTS, TASKS, NotSolved, of_fixed_length, speeds, until_solved
from agents.config import Config
from agents.presets import preset


def test_rates_and_shares_leave_evaluation_and_compilation_out() -> None:
    parts = {
        "environment": 1.0,
        "acting": 2.0,
        "replay": 3.0,
        "learning": 13.0,
        "other": 1.0,
        "evaluation": 100.0,
        "compilation": 7.0,
    }
    assert speeds(4000, 100, parts) == {
        "environment steps": 200.0,
        "updates": 5.0,
        "environment": 5.0,
        "acting": 10.0,
        "replay": 15.0,
        "learning": 65.0,
        "everything else": 5.0,
    }
    assert speeds(10, 1, {"learning": 2.0})["acting"] == 0.0


def test_every_part_is_a_measure() -> None:
    measured = speeds(1, 1, dict.fromkeys(PARTS, 1.0))
    assert list(measured) == [measure.name for measure in SPEED]
    assert all(measure.better is None for measure in SPEED[2:])


@pytest.mark.parametrize("task", TASKS)
def test_a_run_of_fixed_length_is_the_preset_without_evaluations(task: str) -> None:
    config, base = of_fixed_length(task, 3000), preset(TASKS[task].preset)
    assert (config.total_steps, config.stop_when_solved) == (3000, False)
    assert config.evaluation_period > 3000
    for name in ("replay_ratio", "batch_size", "core_units", "train_length", "burn_in", "num_envs"):
        assert getattr(config, name) == getattr(base, name)


def test_a_run_until_solved_ends_there() -> None:
    config = until_solved("repeat-previous", 5000, seed=3)
    assert (config.solved_return, config.stop_when_solved, config.seed, config.total_steps) == (0.9, True, 3, 5000)


def test_the_plan_has_speed_and_time_to_solve_of_each_task() -> None:
    cases = plan(EndToEndOptions(steps=2000, most_steps=7000, seed=5, cores=1))
    assert [(case.name, case.measures) for case in cases] == [
        ("CartPole with hidden velocities: speed", SPEED),
        ("CartPole with hidden velocities: time to solve", TIME_TO_SOLVE),
        ("popgym RepeatPreviousEasy: speed", SPEED),
        ("popgym RepeatPreviousEasy: time to solve", TIME_TO_SOLVE),
    ]
    first, last = cases[0], cases[-1]
    assert [s.name for s in first.subjects] == ["ours", "recurrent-double-q"]
    assert [s.name for s in last.subjects] == ["ours", "recurrent-ppo"]
    assert first.subjects[0].settings == {"task": "cart-pole", "steps": 2000, "seed": 5}
    assert last.subjects[0].settings == {"task": "repeat-previous", "steps": 7000, "seed": 5}
    assert {s.cores for case in cases for s in case.subjects} == {1}
    assert last.subjects[1].needs == ("sb3_contrib", "popgym")
    assert len(plan(EndToEndOptions(solve=False))) == 2


@pytest.mark.parametrize(("name", "value"), [("steps", 999), ("most_steps", 0), ("seed", -1)])
def test_bad_options_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name}={value} must be at least"):
        EndToEndOptions(**{name: value})


def test_what_others_have_measured_is_quoted_as_such() -> None:
    said, lines = extra([])
    assert said == {"quoted": lines}
    assert lines[0].startswith("Quoted, measured elsewhere")
    assert any("deep_rl_zoo R2D2: 30 updates/s" in line for line in lines)
    assert max(map(len, lines)) <= 100


def small(config: Config) -> Config:
    from dataclasses import replace

    return replace(
        config,
        env_id="envs:r2d2/TMaze-v0",
        torso_units=8,
        core_units=(8,),
        batch_size=4,
        train_length=8,
        burn_in=2,
        overlap=4,
        learning_starts=100,
        evaluation_period=100,
        evaluation_episodes=1,
        final_evaluation_episodes=1,
        replay_ratio=8.0,
    )


def test_our_run_gives_every_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        end_to_end_ours, "of_fixed_length", lambda task, steps: small(of_fixed_length("repeat-previous", steps))
    )
    measured = end_to_end_ours.prepare("repeat-previous", 200, 0).tasks["run"]()
    assert isinstance(measured, dict)
    assert list(measured) == [measure.name for measure in SPEED]
    assert sum(value for name, value in measured.items() if name in PARTS.values()) == pytest.approx(100)


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
def test_a_run_that_does_not_solve_says_so(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(
        end_to_end_ours,
        "until_solved",
        lambda task, steps, seed: replace(small(until_solved("repeat-previous", steps, seed)), solved_return=threshold),
    )
    solve = end_to_end_ours.prepare("repeat-previous", 200, 0).tasks["solve"]
    if threshold < 0:
        measured = solve()
        assert isinstance(measured, dict)
        assert list(measured) == [measure.name for measure in TIME_TO_SOLVE]
        assert measured["steps"] <= 200
    else:
        with pytest.raises(NotSolved, match=r"best return .* in 200 steps"):
            solve()
