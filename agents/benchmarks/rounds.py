"""Measuring: all subjects of a case are prepared, then asked in turn, round after round.

While one measures the others sleep. A machine that slows down for a while slows all of them, and the ratios within a
round stay what they were.
"""

import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import numpy as np

from agents.benchmarks.plan import Case, Subject
from agents.benchmarks.processes import SubjectFailed, SubjectProcess
from agents.benchmarks.results import CaseResult

NOT_INSTALLED = "not installed: "
PATIENCE = 1800.0
"""Seconds that a subject may take for one answer."""
_SHARE_OF_MEMORY = 0.9


class Running(Protocol):
    """A prepared subject, as `SubjectProcess` is one."""

    tasks: list[str]
    answers: dict[str, list[float]]
    note: str

    def do(self, task: str) -> dict[str, float]: ...

    def close(self) -> None: ...


Told = Callable[[str], None]
"""Is told, after every step of the work, what has been done."""


def run_case(
    case: Case,
    rounds: int,
    told: Told = lambda text: None,
    start: Callable[[Subject], Running] = lambda subject: SubjectProcess(subject, PATIENCE),
) -> CaseResult:
    """Measure a case.

    Subjects that cannot take part, fail, or answer something else than the others are left out, with the reason, and
    the others go on.

    Args:
        case: the work and who does it.
        rounds: how often every task is done by every subject.
        told: is told of every step.
        start: prepares a subject.
    """
    result = CaseResult(case)
    running: dict[str, Running] = {}

    def leave_out(name: str, why: str) -> None:
        result.drop(name, why)
        running.pop(name).close()  # one that gave no answer in time may compute on: not while others measure

    with ExitStack() as stack:
        for subject in case.subjects:
            why_not = obstacle(subject)
            if why_not is None:
                told(f"{case.name}: preparing {subject.name}")
                try:
                    running[subject.name] = start(subject)
                    stack.callback(running[subject.name].close)
                except SubjectFailed as error:
                    why_not = f"failed: {error}"
            if why_not is not None:
                result.drop(subject.name, why_not)
        if case.agreement is not None:
            _compare_answers(result, running, case.agreement, leave_out)
        result.notes = {name: subject.note for name, subject in running.items() if subject.note}
        for task, once in _tasks(case):
            for number in range(1 if once else rounds):
                for name in turn([name for name in running if task in running[name].tasks], number):
                    told(f"{case.name}: {task}, round {number + 1}, {name}")
                    try:
                        values = running[name].do(task)
                    except SubjectFailed as error:
                        leave_out(name, f"failed in {task!r}: {error}")
                        continue
                    for measure, value in values.items():
                        result.values.setdefault(measure, {}).setdefault(name, []).append(value)
    return result


def turn(names: Sequence[str], number: int) -> list[str]:
    """Who measures when in round ``number``: each round begins with the next one, so that nobody always goes first."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


def obstacle(subject: Subject) -> str | None:
    """Why a subject cannot take part here, or None."""
    missing = [module for module in subject.needs if importlib.util.find_spec(module) is None]
    if missing:
        return NOT_INSTALLED + ", ".join(missing)
    available = available_memory()
    if subject.memory > _SHARE_OF_MEMORY * available:
        return f"needs about {subject.memory / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available"
    return None


def available_memory() -> int:
    """Bytes of memory that new processes can have."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _tasks(case: Case) -> list[tuple[str, bool]]:
    """The case's tasks in order, each with whether it is done only once."""
    return list({measure.of_task: measure.once for measure in case.measures}.items())


def _compare_answers(
    result: CaseResult, running: dict[str, Running], tolerance: float, leave_out: Callable[[str, str], None]
) -> None:
    """Leave out who answers something else than the first peer that answers, or without one than the first of all.

    Not than this software: were it wrong, its peers would be left out, and it would seem to have none.
    """
    answering = [subject for subject in result.case.subjects if subject.name in running]
    answering = [subject for subject in answering if running[subject.name].answers]
    if not answering:
        return
    peers = [subject for subject in answering if subject.role == "peer"]
    result.compared_with = (peers or answering)[0].name
    reference = running[result.compared_with].answers
    for name in [subject.name for subject in answering if subject.name != result.compared_with]:
        own = running[name].answers
        differences = {key: difference(own.get(key, []), reference[key]) for key in reference}
        worst = max(differences, key=lambda key: differences[key])
        result.agreement[name] = differences[worst]
        if not differences[worst] <= tolerance:
            leave_out(
                name,
                f"answers something else than {result.compared_with}: "
                f"{worst} differs by {differences[worst]:.2g} of its size",
            )


def difference(own: Sequence[float], reference: Sequence[float]) -> float:
    """Largest distance between two answers relative to the largest number in ``reference``; infinite if they do not
    match in length or are not finite."""
    a, b = np.asarray(own, np.float64), np.asarray(reference, np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    size = float(np.abs(b).max(initial=0.0))
    distance = float(np.abs(a - b).max(initial=0.0))
    return distance / size if size else (0.0 if distance == 0.0 else float("inf"))
