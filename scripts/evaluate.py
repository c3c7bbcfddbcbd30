"""Evaluate a trained agent: python scripts/evaluate.py RUN_DIR. Options: --help."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

# The packages beside this script are used, installed or not, from whichever folder it is run.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# A module that registers an environment of yours is found in the folder from which it is run.
sys.path.append(os.getcwd())

from tyro.conf import FlagCreatePairsOff, Positional, arg

from agents import cli
from agents.config import Config

SECONDS_PER_FRAME = 0.1
DESCRIPTION = "Play greedy episodes with the weights that a run has kept, and say what they return."


@dataclass(frozen=True)
class Options:
    """What to evaluate."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN_DIR")]
    """Folder of a run, as train.py leaves it."""
    episodes: int | None = None
    """Episodes to play. Default: 100, or 1 with --render."""
    weights: Literal["best", "last"] = "best"
    """The weights of the best evaluation, or those the run ended with."""
    seed: int = 0
    """Of the environments: the same seed gives the same episodes."""
    render: FlagCreatePairsOff[bool] = False
    """Show the episodes: as text, or in a window where the environment has no text."""

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"episodes={self.episodes} must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be at least 0")


def load(options: Options) -> tuple[Config, Path]:
    """The configuration and the file of weights that are asked for.

    Raises:
        BadInput: the folder is not that of a run, or the run has not got that far.
    """
    from agents.run_folder import load_config

    try:
        config = load_config(options.run_dir)
    except ValueError as error:
        raise cli.BadInput(cli.in_one_line(error)) from error
    weights = options.run_dir / "checkpoints" / f"{options.weights}.npz"
    if not weights.is_file():
        raise cli.BadInput(f"{weights} does not exist: the run has ended, or been stopped, before it kept any weights")
    return config, weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate, print the result and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = cli.parse(Options, given, program="evaluate.py", description=DESCRIPTION)
    config, weights = load(options)
    cli.import_tensorflow()
    import envs  # noqa: F401  registers the environments of this project
    from agents.env_failures import EnvironmentFailure
    from agents.evaluation import evaluate_run
    from agents.threads import set_threads

    set_threads(config)

    episodes = options.episodes or (1 if options.render else 100)
    try:
        result = evaluate_run(
            config,
            weights,
            episodes=episodes,
            seed=options.seed,
            render=_show if options.render else None,
            render_mode=_render_mode(config) if options.render else None,
        )
    except (ValueError, TypeError) as error:
        if not cli.is_refusal(error):
            raise
        raise cli.BadInput(cli.in_one_line(error)) from error
    except EnvironmentFailure as error:
        if not options.render:
            print(f"error: {cli.in_one_line(error)}", file=sys.stderr)
            return 1
        if isinstance(error.__cause__, BrokenPipeError):  # whoever read the frames went away
            raise error.__cause__ from None
        raise cli.BadInput(f"the environment cannot be shown: {cli.in_one_line(error)}") from error
    returns, lengths = result.returns, result.lengths
    print(f"{config.env_id}, seed {config.seed}, {options.weights} weights")
    print(f"episodes  {len(returns)}")
    print(f"return    mean {returns.mean():.4g}, standard deviation {returns.std():.4g}")
    print(f"          lowest {returns.min():.4g}, highest {returns.max():.4g}")
    print(f"length    mean {lengths.mean():.4g} steps, {lengths.min()} to {lengths.max()}")
    if result.cut:
        print(f"cut       {result.cut} that did not end")
    return 0


def _render_mode(config: Config) -> str:
    """Text where the environment has it, else a window.

    Raises:
        BadInput: it has neither.
    """
    from agents.make_envs import make_envs

    with_one = make_envs(config.env_id, 1, env_kwargs=config.env_kwargs)
    modes = with_one.metadata.get("render_modes", [])
    with_one.close()
    for mode in ("ansi", "human"):
        if mode in modes:
            return mode
    raise cli.BadInput(f"--render: {config.env_id} has no render mode for people (ansi or human), only {modes}")


def _show(frame: Any) -> None:
    """Print a frame of text, for long enough to be seen if somebody looks on; a window shows itself."""
    if isinstance(frame, str):
        print(frame, flush=True)
        if sys.stdout.isatty():
            time.sleep(SECONDS_PER_FRAME)


if __name__ == "__main__":
    cli.run(main)
