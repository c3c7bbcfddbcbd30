"""The form in which the compiled update takes a batch. Here alone: it is the learner's to change."""

from typing import Any

from r2d2.compiled import as_tensors
from r2d2.replay import Batch


def tensors(batch: Batch) -> list[Any]:
    """What `r2d2.Learner.update` makes of a batch before it calls the compiled function."""
    return as_tensors(batch)
