"""Seconds by part, on a clock that is turned by hand."""

from __future__ import annotations

import pytest

from agents.stopwatch import Stopwatch


def test_seconds_are_counted_where_they_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    watch = Stopwatch()
    for part, seconds in (("acting", 1.0), ("learning", 4.0), ("acting", 0.5)):
        with watch.part(part):
            now[0] += seconds
        now[0] += 0.25
    assert (watch.of("acting"), watch.of("learning"), watch.of("replay")) == (1.5, 4.0, 0.0)
    assert watch.seconds() == 6.25
    parts = watch.parts()
    assert (parts["acting"], parts["learning"]) == (1.5, 4.0)
    assert sum(parts.values()) == 6.25
