"""Settings of all tests: random examples are the same in every run, and may take as long as a busy machine needs."""

from hypothesis import settings

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")
