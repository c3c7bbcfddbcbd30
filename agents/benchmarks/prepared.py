"""What the module of a subject gives, and how its work is timed. Imported in every subject's process: light."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Task = Callable[[], float | Mapping[str, float]]
"""Does one round, and returns the value of the measure of its name, or several by name."""


class WrongBatch(AssertionError):
    """What a subject delivered is not what it is said to deliver: measuring it would be meaningless."""


@dataclass(frozen=True)
class Prepared:
    """A subject that is ready to be measured."""

    tasks: Mapping[str, Task]
    """Those of the case's tasks that it can do."""
    answers: Mapping[str, list[float]] = field(default_factory=dict)
    """What it computed, for comparison with the other subjects."""
    note: str = ""
    """What a reader of its numbers should know."""


def seconds_per_call(work: Callable[[], object], at_least: float) -> float:
    """Seconds that one call of ``work`` takes, over calls of ``at_least`` seconds together; one more goes before them.

    The clock is read after 1, 1, 2, 4 ... calls, so that reading it costs nothing beside them.
    """
    work()
    calls, block, start = 0, 1, time.perf_counter()
    while True:
        for _ in range(block):
            work()
        calls += block
        seconds = time.perf_counter() - start
        if seconds >= at_least:
            return seconds / calls
        block = calls
