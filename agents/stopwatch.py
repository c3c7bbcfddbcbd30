"""Where the time of a run goes, by part."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since it was made, in all and by named part; parts do not nest."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._parts: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is done inside as part ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - start

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._start

    def of(self, name: str) -> float:
        """Seconds of one part."""
        return self._parts.get(name, 0.0)

    def parts(self) -> dict[str, float]:
        """Seconds of each part, and of everything else as "other"."""
        parts = dict(self._parts)
        return {**parts, "other": self.seconds() - sum(parts.values())}
