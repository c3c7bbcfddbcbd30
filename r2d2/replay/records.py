"""What the numbers mean that rows and sequences are recorded with."""

# Bits of the flags of a row, see `r2d2.replay.storage`.
FIRST = 1
"""An episode's first step."""
TERMINATED = 2
TRUNCATED = 4
FINAL = 8
"""A final observation: a row without action or reward."""

# Columns of the entry of a sequence, see `r2d2.replay.sequences`.
ENV = 0
EPISODE_START = 1
"""Position of the episode's first step."""
FIRST_STEP = 2
"""Position of the sequence's first step."""
PREFIX_LENGTH, TRAIN_LENGTH, UNROLL_LENGTH = 3, 4, 5
KEY = 6
"""`NO_KEY` if the sequence is not complete."""
NEWER = 7
"""Slot of the next newer sequence of the same environment, or `NO_SLOT`."""
COLUMNS = 8

NO_KEY = -1
NO_SLOT = -1
SLOT_BITS = 28
"""A key is a running number above so many bits, which are the slot: 2 ** 28 slots, 2 ** 35 keys."""
SLOT_MASK = (1 << SLOT_BITS) - 1
