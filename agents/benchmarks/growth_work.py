"""What grows in the growth benchmark, one panel each: sizes, and what is measured over them."""

from typing import NamedTuple


class Growth(NamedTuple):
    """One thing that grows while all else stays."""

    title: str
    label: str
    """Of what grows."""
    sizes: tuple[int, ...]
    curves: tuple[str, ...]
    """What is measured at each size."""


GROWTHS = {
    "buffer": Growth(
        "Buffer size", "steps held", (10_000, 100_000, 1_000_000, 10_000_000), ("sample", "priorities", "add a step")
    ),
    "environments": Growth(
        "Number of environments",
        "environments",
        (1, 4, 16, 64, 256),
        ("act and store", "cycle with an update"),
    ),
    "sequence": Growth("Sequence length", "trained steps", (20, 40, 80, 160, 320), ("sample", "update")),
    "units": Growth("LSTM units", "units", (32, 64, 128, 256, 512, 1024), ("update",)),
}
BATCH = 32
