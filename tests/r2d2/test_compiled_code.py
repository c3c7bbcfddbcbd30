"""Compiled code that is kept on disk is that of today's text."""

import hashlib
from pathlib import Path

import pytest

import r2d2
from r2d2 import lstm_kernel
from r2d2.replay import flags, gather


@pytest.mark.parametrize("name", lstm_kernel.BUILT_ON)
def test_the_lstm_kernel_names_what_it_was_built_on(name: str) -> None:
    """Numba looks at the file of a function alone, and not at those of what it calls."""
    text = (Path(r2d2.__file__).parent / name).read_bytes()
    digest = hashlib.sha256(text).hexdigest()[:12]
    assert lstm_kernel.BUILT_ON[name] == digest, f"{name} has changed: write {digest!r} in lstm_kernel.BUILT_ON"


def test_so_does_the_copy_of_batches() -> None:
    assert {name: getattr(flags, name) for name in gather.BUILT_ON} == gather.BUILT_ON
