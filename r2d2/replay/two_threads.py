"""Large copies made by two threads at once: one core alone does not use all of the memory's speed."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

LEAST_BYTES = 32 << 20
"""For copies of fewer, to have another thread help takes as long as it saves."""


class _Helper:
    """The other thread, made when it is first needed; a process that is forked makes its own."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def submit(self, work: Callable[[int, int], None], begin: int, end: int) -> "Future[None]":
        if self.pool is None:
            self.pool = ThreadPoolExecutor(1, thread_name_prefix="r2d2-replay-copy")
        return self.pool.submit(work, begin, end)

    def forget(self) -> None:
        self.pool = None


_HELPER = _Helper()


def in_two(copy: Callable[[int, int], None], rows: int, nbytes: int) -> None:
    """``copy(0, rows)``, in two halves at once if it copies many bytes and there is a core for each.

    Args:
        copy: copies the rows from ``begin`` to ``end``, without the interpreter's lock.
        rows: how many there are.
        nbytes: how many bytes all of them have.
    """
    if nbytes < LEAST_BYTES or rows < 2 or available_cores() < 2:
        copy(0, rows)
        return
    half = rows // 2
    other = _HELPER.submit(copy, half, rows)
    try:
        copy(0, half)
    finally:
        _see_it_end(other)


def _see_it_end(other: "Future[None]") -> None:
    """An interrupt must not leave it behind at its work: it is waited for, and the interrupt passed on."""
    try:
        wait([other])
    except BaseException:
        wait([other])
        raise
    other.result()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
