"""What a row is: bits of ``flags`` in `r2d2.replay.storage.StepStorage`."""

FIRST = 1
"""An episode's first step."""
TERMINATED = 2
TRUNCATED = 4
FINAL = 8
"""A final observation: a row without action or reward."""
