"""The benchmarks by name."""

import importlib

from agents.benchmarks.options import Benchmark

_MODULES = {
    "replay": "agents.benchmarks.replay",
    "sum-tree": "agents.benchmarks.sum_tree",
    "learner": "agents.benchmarks.learner",
    "acting": "agents.benchmarks.acting",
    "end-to-end": "agents.benchmarks.end_to_end",
    "growth": "agents.benchmarks.growth",
}
NAMES = tuple(_MODULES)


def benchmark(name: str) -> Benchmark:
    """The benchmark ``name``.

    Raises:
        KeyError: there is none.
    """
    found: Benchmark = importlib.import_module(_MODULES[name]).BENCHMARK
    return found
