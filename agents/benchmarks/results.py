"""What was measured, and what follows from it: rows of a table, and the same as JSON."""

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, NamedTuple

from agents.benchmarks.arithmetic import Spread, best, spread, times_better
from agents.benchmarks.plan import Case, Measure, Role

_ORDER: tuple[Role, ...] = ("ours", "peer", "reference", "limit")
PACKAGES = ("tensorflow", "keras", "numpy", "numba", "torch", "jax", "cpprb", "flashbax", "torchrl", "sb3-contrib")


@dataclass
class CaseResult:
    """What the subjects of a case measured."""

    case: Case
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Measure -> subject -> one value a round."""
    absent: dict[str, str] = field(default_factory=dict)
    """Subject -> why it was not measured, or not to the end."""
    notes: dict[str, str] = field(default_factory=dict)
    """Subject -> what a reader should know."""
    compared_with: str = ""
    """The subject that the answers of the others were compared with; empty if nobody answered."""
    agreement: dict[str, float] = field(default_factory=dict)
    """Subject -> how far its answers are from those of that one, relative to their size."""

    def drop(self, subject: str, why: str) -> None:
        """Forget what a subject measured: a part of its rounds cannot be compared with whole ones of others."""
        self.absent[subject] = why
        for values in self.values.values():
            values.pop(subject, None)


class Row(NamedTuple):
    """One subject in one measure."""

    subject: str
    role: Role
    spread: Spread
    to_best_peer: float | None
    """How many times better than the best peer; None where there is none, or nothing to compare, or a value that is not
    positive."""
    to_limit: float | None
    """The same against what the machine can do."""


def rows(result: CaseResult, measure: Measure) -> list[Row]:
    """The subjects that have values of a measure: ours, peers, references, limits, each in the case's order."""
    values = result.values.get(measure.name, {})
    roles = {subject.name: subject.role for subject in result.case.subjects}
    medians = {name: spread(own).median for name, own in values.items()}
    better = measure.better

    def against(name: str, role: Role) -> float | None:
        if better is None:
            return None
        other = best({rival: value for rival, value in medians.items() if roles[rival] == role}, better)
        if other is None or min(*values[name], *values[other]) <= 0:
            return None
        return times_better(values[name], values[other], better)

    return [
        Row(name, roles[name], spread(values[name]), against(name, "peer"), against(name, "limit"))
        for name in sorted(roles, key=lambda name: _ORDER.index(roles[name]))
        if name in values
    ]


def as_json(benchmark: str, options: Mapping[str, Any], results: list[CaseResult], extra: Any = None) -> dict[str, Any]:
    """Everything, in what JSON can carry."""
    return {
        "benchmark": benchmark,
        "machine": machine(),
        "options": dict(options),
        "cases": [_case(result) for result in results],
        "extra": extra,
    }


def machine() -> dict[str, Any]:
    """Where it was measured, and with which versions."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _case(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "measures": [
            {
                "name": measure.name,
                "unit": measure.unit,
                "better": measure.better,
                "subjects": [
                    {
                        "name": row.subject,
                        "role": row.role,
                        "values": result.values[measure.name][row.subject],
                        **row.spread._asdict(),
                        "ratio_to_best_peer": row.to_best_peer,
                        "ratio_to_limit": row.to_limit,
                    }
                    for row in rows(result, measure)
                ],
            }
            for measure in result.case.measures
        ],
        "absent": result.absent,
        "notes": result.notes,
        "compared_with": result.compared_with,
        # A difference may be infinite, which JSON cannot carry.
        "agreement": {name: value if math.isfinite(value) else None for name, value in result.agreement.items()},
    }
