"""The fields of a frozen dataclass are of the types they are declared with: from Python nothing else looks."""

from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a string", NoneType: "None"}


def require_declared_types(instance: Any) -> None:
    """Check a frozen dataclass; a number of NumPy's becomes one of Python's.

    Its fields are declared as int, float, bool, str, one of these or None, a tuple of one of these, or a Literal of
    strings.

    Raises:
        TypeError: a field is of another type.
        ValueError: a field is none of a Literal's values.
    """
    for name, hint in get_type_hints(type(instance)).items():
        value = _plain(getattr(instance, name))
        object.__setattr__(instance, name, value)
        if get_origin(hint) is Literal:
            if not isinstance(value, str) or value not in get_args(hint):
                raise ValueError(f"{name}={value!r} must be one of {list(get_args(hint))}")
        elif not _is_of(value, hint):
            raise TypeError(f"{name}={value!r} must be {_words(hint)}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    return value.item() if isinstance(value, np.generic) else value


def _is_of(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_is_of(value, part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is_of(part, get_args(hint)[0]) for part in value)
    if isinstance(value, bool):  # which is a whole number too
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(_words(part) for part in reversed(get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a tuple, each part {_words(get_args(hint)[0])}"
    return _WORDS[hint]
