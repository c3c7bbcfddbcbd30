"""Compiled code that is kept on disk is that of today's text."""

import hashlib
from pathlib import Path
from types import ModuleType

import pytest

from r2d2 import lstm_kernel
from r2d2.replay import gather, sequences, write_steps

MODULES = (lstm_kernel, gather, sequences, write_steps)


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in MODULES for name in module.BUILT_ON],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_compiled_code_names_what_it_was_built_on(module: ModuleType, name: str) -> None:
    """Numba looks at the file of a function alone, and not at those of what it calls or reads."""
    text = (Path(str(module.__file__)).parent / name).read_bytes()
    digest = hashlib.sha256(text).hexdigest()[:12]
    assert module.BUILT_ON[name] == digest, f"{name} has changed: write {digest!r} in {module.__name__}.BUILT_ON"
