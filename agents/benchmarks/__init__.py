"""Benchmarks: this software beside its peers on the same work, in one run. See `agents.benchmarks.catalogue`."""
