"""Train an agent: python scripts/train.py --env-id r2d2/TMaze-v0. Options: --help."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# The packages beside this script are used, installed or not, from whichever folder it is run.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# A module that registers an environment of yours is found in the folder from which it is run.
sys.path.append(os.getcwd())

from agents import cli
from agents.config import Config
from agents.presets import PRESETS

DESCRIPTION = """\
Train a recurrent agent (R2D2) in a Gymnasium environment.

The options' defaults are those of the preset; without any option, a T-maze.

Ctrl-C ends a run early and keeps what it has; the exit status is then 130.
"""


def configuration(arguments: Sequence[str]) -> Config:
    """The configuration that a command line asks for: a preset, and what is changed of it.

    Raises:
        BadInput: there is no such option, or a value is out of its range.
    """
    default = PRESETS.get(_preset_of(arguments), PRESETS["memory"])
    return cli.parse(Config, arguments, program="train.py", description=DESCRIPTION, default=default)


def _preset_of(arguments: Sequence[str]) -> str:
    """The preset must be known before the other options: it is where their defaults come from."""
    name = "memory"
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if argument == "--preset":
            name = following
        elif argument.startswith("--preset="):
            name = argument.partition("=")[2]
    return name


def main() -> int:
    """Train, and return the exit status."""
    config = configuration(sys.argv[1:])  # before all that is slow to import: help and mistakes are answered at once
    cli.import_tensorflow()
    import envs  # noqa: F401  registers the environments of this project
    from agents.console import RunConsole
    from agents.env_failures import EnvironmentFailure
    from agents.run_folder import RunFolder
    from agents.threads import set_threads
    from agents.training import train
    from r2d2.learner import DivergenceError

    set_threads(config)
    try:
        folder = RunFolder(None if config.out_dir is None else Path(config.out_dir), config)
    except ValueError as error:
        raise cli.BadInput(cli.in_one_line(error)) from error
    evaluate = shlex.join([sys.executable, str(Path(sys.argv[0]).with_name("evaluate.py")), str(folder.path)])
    console = RunConsole(folder.path, next_command=evaluate)
    try:
        with folder, console:
            summary = train(config, folder.path, [folder, console])
    except (DivergenceError, EnvironmentFailure) as error:
        print(f"error: {cli.in_one_line(error)}", file=sys.stderr)
        return 1
    except (ValueError, TypeError) as error:
        if console.has_started or not cli.is_refusal(error):
            raise
        raise cli.BadInput(cli.in_one_line(error)) from error
    return cli.INTERRUPTED if summary.stopped_because == "interrupted" else 0


if __name__ == "__main__":
    cli.run(main)
