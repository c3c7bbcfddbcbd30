"""What the scripts share: options from a dataclass, errors in one line, a quiet start of TensorFlow."""

import contextlib
import difflib
import io
import linecache
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

BAD_INPUT = 2
"""Exit status after bad input, as with most commands."""
INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the signal's number, as shells have it."""
_BROKEN_PIPE = 141

_OWN_PACKAGES = ("r2d2", "agents", "envs")

Options = TypeVar("Options")


class BadInput(Exception):
    """What the user asked for cannot be done; the text is for them, in one line."""


def run(main: Callable[[], int]) -> NoReturn:
    """Call ``main`` and end the process with its exit status.

    Bad input ends with one line on stderr and status 2, Ctrl-C with status 130, a reader that went away
    (``| head``) silently. Any other exception is a bug and keeps its traceback.
    """
    try:
        status = main()
        sys.stdout.flush()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        status = BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _BROKEN_PIPE
    sys.exit(status)


def parse(
    options: type[Options], arguments: Sequence[str], *, program: str, description: str, default: Options | None = None
) -> Options:
    """The options that ``arguments`` ask for; the rest are those of ``default``, or the dataclass's own.

    Args:
        options: a dataclass; a docstring below a field is the option's help.
        arguments: the command line, without the program's name.
        program: the program's name, for the usage line.
        description: what ``--help`` says above the options.
        default: where options that are not given come from.

    Raises:
        BadInput: an option is unknown or lacks its value, or a value is of the wrong kind or out of range.
        SystemExit: help was asked for and has been printed.
    """
    import tyro

    given: dict[str, Any] = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            result, unknown = tyro.cli(
                options,
                args=list(arguments),
                prog=program,
                description=description,
                return_unknown_args=True,
                **given,
            )
    except ValueError as error:
        raise BadInput(in_one_line(error)) from error
    except SystemExit as end:
        if not end.code:
            raise
        raise BadInput(_without_box(said.getvalue())) from None
    if unknown:
        raise BadInput(_unknown(unknown, [field.name for field in fields(options)]))  # type: ignore[arg-type]
    return result


def in_one_line(error: BaseException) -> str:
    """The text of ``error`` without line breaks."""
    return " ".join(str(error).split())


def is_refusal(error: BaseException) -> bool:
    """Whether ``error`` was raised on purpose by this software's own checks, rather than by a bug somewhere.

    A ``raise`` statement in these packages speaks to the user; what a library or an operator raises does not.
    """
    if not isinstance(error, ValueError | TypeError) or error.__traceback__ is None:
        return False
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    source = linecache.getline(frame.f_code.co_filename, line)
    return package in _OWN_PACKAGES and source.strip().startswith("raise ")


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes to stderr whatever happens.

    ``TF_CPP_MIN_LOG_LEVEL`` is 3 (nothing) unless it is set. As TensorFlow writes some lines before it has read
    that, stderr is held back during the import; what the level does not hide follows after it.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    hidden = "IWE"[: int(level) if level in ("1", "2", "3") else 0]
    if not hidden or "tensorflow" in sys.modules:
        import tensorflow

        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        shown = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                entry = _TENSORFLOW_LOG.match(line)
                if not (entry and entry["severity"] in hidden) and "before absl::InitializeLog()" not in line:
                    print(line, file=sys.stderr)


# "I0000 00:00:1700000000.123456    4242 port.cc:153] oneDNN custom operations are on."
_TENSORFLOW_LOG = re.compile(r"(?P<severity>[IWE])\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+:\d+\] ")
_PEOPLE_SAY = {
    r"invalid literal for int\(\) with base 10: (.*)": r"must be a whole number, not \1",
    r"could not convert string to float: (.*)": r"must be a number, not \1",
    r"no type matching {None}\|(\w+) could be instantiated from \[(.*)\]": r"must be None or \1, not \2",
}
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*m")


def _without_box(text: str) -> str:
    """The message in what tyro prints: a box with a title, the message, a rule, and more about the option."""
    lines = [line.strip() for line in _TERMINAL_CODE.sub("", text).strip().splitlines()]
    if not lines or not lines[0].startswith("╭"):
        return text.strip()
    inside = [line.strip("│").strip() for line in lines[1:-1]]
    rules = [number for number, line in enumerate(inside) if line.startswith("──")]
    message = " ".join(part for part in inside[: rules[0] if rules else None] if part)
    message = message.partition(" Got errors:")[0]
    of_option = re.match(r"Error parsing (--?[\w-]+): (.*)", message)
    if of_option:
        what = of_option[2].rstrip(".")
        for python_says, people_say in _PEOPLE_SAY.items():
            what = re.sub(python_says, people_say, what)
        return f"{of_option[1]}: {what}; see --help"
    required = re.match(r"Missing from \S+: (\S+)", message)
    if required:
        return f"{required[1]} is required; see --help"
    of_value = re.match(r"Error parsing \w+: (.*)", message)
    if of_value:  # the dataclass's own check, which says what is allowed
        return of_value[1]
    return f"{message[:1].lower()}{message[1:].rstrip('.')}; see --help"


def _unknown(arguments: Sequence[str], names: Sequence[str]) -> str:
    """What is wrong with the first of ``arguments``, none of which is known, and what may have been meant."""
    options = [name.replace("_", "-") for name in names]
    mistyped = next((argument for argument in arguments if argument.startswith("-")), None)
    if mistyped is None:
        return (
            f"unexpected argument {arguments[0]!r}; a value follows its option (--seed 1), and an option that is "
            "switched on or off has none; see --help"
        )
    name = mistyped.partition("=")[0]
    close = difflib.get_close_matches(name.strip("-").replace("_", "-"), options, n=1, cutoff=0.7)
    return f"unknown option {name}" + (f"; did you mean --{close[0]}?" if close else "; see --help")
