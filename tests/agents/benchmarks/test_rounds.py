"""Who measures when, and what becomes of those who cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.benchmarks import rounds
from agents.benchmarks.plan import Case, Measure, Subject
from agents.benchmarks.processes import SubjectFailed
from agents.benchmarks.results import CaseResult
from agents.benchmarks.rounds import difference, obstacle, run_case, turn

RATE = Measure("rate", "1/s", "higher")


@dataclass
class Fake:
    """A subject in this process; every task appends to a log that all share."""

    name: str
    log: list[str]
    tasks: list[str] = field(default_factory=lambda: ["rate"])
    answers: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    fails_at: int = 10**9
    values: Callable[[str], dict[str, float]] = lambda task: {task: 1.0}

    def do(self, task: str) -> dict[str, float]:
        self.log.append(f"{task} {self.name}")
        if len([entry for entry in self.log if entry.endswith(self.name)]) > self.fails_at:
            raise SubjectFailed("it broke")
        return self.values(task)

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def subject(name: str, **options: Any) -> Subject:
    return Subject(name, "ours", "nothing", **options)


def run(
    fakes: list[Fake], measures: tuple[Measure, ...] = (RATE,), number: int = 3, agreement: float | None = None
) -> CaseResult:
    case = Case("case", measures, tuple(subject(fake.name) for fake in fakes), agreement)
    by_name = {fake.name: fake for fake in fakes}
    return run_case(case, number, start=lambda subject: by_name[subject.name])


def test_all_subjects_take_part_in_a_round_before_the_next_begins_and_the_first_changes() -> None:
    log: list[str] = []
    run([Fake(name, log) for name in "ABC"], number=4)
    measured = [entry.split()[1] for entry in log if entry.startswith("rate")]
    assert "".join(measured) == "ABC" + "BCA" + "CAB" + "ABC"


def test_a_task_is_done_by_all_before_the_next_task() -> None:
    log: list[str] = []
    measures = (RATE, Measure("time", "s", "lower"))
    run([Fake(name, log, ["rate", "time"]) for name in "AB"], measures, number=2)
    assert [entry for entry in log if "close" not in entry] == [
        *("rate A", "rate B", "rate B", "rate A"),
        *("time A", "time B", "time B", "time A"),
    ]


def test_subjects_live_to_the_end_and_are_closed() -> None:
    log: list[str] = []
    run([Fake(name, log) for name in "AB"], number=1)
    assert sorted(log[-2:]) == ["close A", "close B"]
    assert not any("close" in entry for entry in log[:-2])


def test_an_interrupt_closes_them_too() -> None:
    log: list[str] = []

    def interrupted(task: str) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Fake("A", log), Fake("B", log, values=interrupted)])
    assert sorted(log[-2:]) == ["close A", "close B"]


def test_what_is_measured_once_is_measured_once() -> None:
    log: list[str] = []
    result = run([Fake("A", log)], (Measure("rate", "1/s", "higher", once=True),), number=5)
    assert log.count("rate A") == 1
    assert result.values == {"rate": {"A": [1.0]}}


def test_one_task_may_give_several_measures() -> None:
    measures = (Measure("steps", "1/s", "higher", task="run"), Measure("updates", "1/s", "higher", task="run"))
    fake = Fake("A", [], ["run"], values=lambda task: {"steps": 2.0, "updates": 3.0})
    result = run([fake], measures, number=2)
    assert fake.log.count("run A") == 2
    assert result.values == {"steps": {"A": [2.0, 2.0]}, "updates": {"A": [3.0, 3.0]}}


def test_a_subject_without_a_task_is_not_asked_for_it() -> None:
    log: list[str] = []
    result = run([Fake("A", log), Fake("B", log, ["another"])], number=2)
    assert not [entry for entry in log if entry == "rate B"]
    assert (list(result.values["rate"]), result.absent) == (["A"], {})


def test_a_subject_that_fails_is_left_out_with_the_reason_and_the_others_go_on() -> None:
    log: list[str] = []
    result = run([Fake("A", log), Fake("B", log, fails_at=1), Fake("C", log)], number=3)
    assert result.values["rate"] == {"A": [1.0] * 3, "C": [1.0] * 3}
    assert result.absent == {"B": "failed in 'rate': it broke"}
    assert log.count("rate B") == 2  # not asked again


def test_one_that_fails_is_closed_before_others_measure_on() -> None:
    """It may still be computing."""
    log: list[str] = []
    run([Fake("A", log), Fake("B", log, fails_at=0), Fake("C", log)], number=1)
    assert log[:4] == ["rate A", "rate B", "close B", "rate C"]


def test_one_that_fails_later_loses_all_its_values() -> None:
    measures = (RATE, Measure("time", "s", "lower"))
    log: list[str] = []
    result = run([Fake("A", log, ["rate", "time"]), Fake("B", log, ["rate", "time"], fails_at=3)], measures, number=2)
    assert result.values == {"rate": {"A": [1.0, 1.0]}, "time": {"A": [1.0, 1.0]}}


def test_a_subject_that_cannot_be_prepared_is_left_out() -> None:
    log: list[str] = []

    def start(given: Subject) -> Fake:
        if given.name == "B":
            raise SubjectFailed("WrongBatch: rewards are not those of its observations")
        return Fake(given.name, log)

    result = run_case(Case("case", (RATE,), (subject("A"), subject("B"))), 1, start=start)
    assert result.absent == {"B": "failed: WrongBatch: rewards are not those of its observations"}
    assert result.values == {"rate": {"A": [1.0]}}


def test_what_is_not_installed_is_named_and_never_started() -> None:
    started: list[str] = []

    def start(given: Subject) -> Fake:
        started.append(given.name)
        return Fake(given.name, [])

    case = Case("case", (RATE,), (subject("A", needs=("json", "no_such_module_x")), subject("B", needs=("json",))))
    result = run_case(case, 1, start=start)
    assert (started, result.absent) == (["B"], {"A": "not installed: no_such_module_x"})


def test_a_subject_larger_than_the_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "available_memory", lambda: 10_000_000_000)
    assert obstacle(subject("A", memory=8_900_000_000)) is None
    assert obstacle(subject("A", memory=9_100_000_000)) == "needs about 9.1 GB of memory, 10.0 GB are available"


def test_the_memory_there_is_is_known() -> None:
    assert 10**7 < rounds.available_memory() < 10**14


def test_looking_for_a_module_does_not_import_it() -> None:
    found = importlib.util.find_spec("tensorflow")
    assert found is not None  # what `obstacle` relies on: a specification, no module
    assert obstacle(subject("A", needs=("tensorflow",))) is None


def test_answers_are_compared_with_those_of_the_first_peer_so_that_ours_can_be_the_wrong_one() -> None:
    log: list[str] = []
    answers = {"ours": [1.5], "right": [1.0], "too": [1.0]}
    fakes = {name: Fake(name, log, answers={"loss": own}) for name, own in answers.items()}
    subjects = [Subject(name, "ours" if name == "ours" else "peer", "nothing") for name in fakes]
    result = run_case(
        Case("case", (RATE,), tuple(subjects), agreement=0.1), 1, start=lambda subject: fakes[subject.name]
    )
    assert result.compared_with == "right"
    assert result.absent == {"ours": "answers something else than right: loss differs by 0.5 of its size"}
    assert list(result.values["rate"]) == ["right", "too"]


def test_who_answers_something_that_is_no_number_is_left_out() -> None:
    result = run([Fake("A", [], answers={"x": [1.0]}), Fake("B", [], answers={"x": [float("nan")]})], agreement=0.1)
    assert result.absent == {"B": "answers something else than A: x differs by inf of its size"}


def test_without_answers_nothing_is_compared() -> None:
    result = run([Fake("A", []), Fake("B", [])], agreement=0.1)
    assert (result.compared_with, result.agreement, result.absent) == ("", {}, {})


def test_who_answers_something_else_than_the_first_is_left_out() -> None:
    log: list[str] = []
    fakes = [
        Fake("A", log, answers={"loss": [2.0], "gradient": [1.0, -4.0]}),
        Fake("B", log, answers={"loss": [2.0], "gradient": [1.0, -4.0002]}),
        Fake("C", log, answers={"loss": [2.0], "gradient": [1.1, -4.0]}),
        Fake("D", log),
    ]
    result = run(fakes, number=1, agreement=1e-3)
    assert result.absent == {"C": "answers something else than A: gradient differs by 0.025 of its size"}
    assert result.agreement == pytest.approx({"B": 0.00005, "C": 0.025})
    assert list(result.values["rate"]) == ["A", "B", "D"]
    assert "rate C" not in log


def test_an_answer_that_is_missing_or_not_finite_differs() -> None:
    assert difference([], [1.0]) == float("inf")
    assert difference([float("nan")], [1.0]) == float("inf")
    assert difference([1.0], [float("nan")]) == float("inf")
    assert difference([0.0, 0.0], [0.0, 0.0]) == 0.0
    assert difference([1e-9], [0.0]) == float("inf")


def test_notes_are_kept() -> None:
    assert run([Fake("A", [], note="uniform draws"), Fake("B", [])]).notes == {"A": "uniform draws"}


def test_turns_of_nobody() -> None:
    assert turn([], 3) == []
