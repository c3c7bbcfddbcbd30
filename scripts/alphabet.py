"""The alphabet experiments with hidden states: python scripts/alphabet.py [EXPERIMENT ...]. Options: --help."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

# The packages beside this script are used, installed or not, from whichever folder it is run.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tyro.conf import Positional, arg

from agents import cli

DESCRIPTION = """\
What articles on the hidden states of Keras's LSTM have measured, measured again with several seeds.

Prints each figure beside the published one, and writes results.json and, of experiments that measure per cent,
alphabet.png, replacing those of a run before.

Ctrl-C ends it early and keeps what is done; the exit status is then 130.
"""
Name = Literal["five-cases", "one-letter", "features", "time-steps", "batch", "burn-in", "initial-state", "speed"]
LARGEST_SEED = 2_000_000_000


@dataclass(frozen=True)
class Options:
    """What to run."""

    experiments: Annotated[Positional[tuple[Name, ...]], arg(metavar="[EXPERIMENT ...]")] = ()
    """Which experiments: five-cases, one-letter, features, time-steps, batch, burn-in, initial-state, speed.
    Without a name, all of them."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each experiment is run with every seed, speed with the first."""
    out_dir: Path = Path("runs/alphabet")
    """Folder of results.json and alphabet.png."""
    epochs: int | None = None
    """Epochs of every training instead of the articles', for a quick look."""

    def __post_init__(self) -> None:
        for name, values in (("experiments", self.experiments), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}={values} must name each once")
        if not self.seeds or not 0 <= min(self.seeds) <= max(self.seeds) <= LARGEST_SEED:
            raise ValueError(f"seeds={self.seeds} must be at least one number, all from 0 to {LARGEST_SEED}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} must be at least 1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write, and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = cli.parse(Options, given, program="alphabet.py", description=DESCRIPTION)
    try:
        options.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cli.BadInput(f"--out-dir: {options.out_dir} cannot be made ({error.strerror})") from error
    try:
        with tempfile.TemporaryFile(dir=options.out_dir):
            pass
    except OSError as error:  # better now than when all is done
        raise cli.BadInput(f"--out-dir: nothing can be written to {options.out_dir} ({error.strerror})") from error
    cli.import_tensorflow()
    from agents.experiments.console import ExperimentConsole
    from agents.experiments.every import EXPERIMENTS
    from agents.experiments.picture import draw_picture
    from agents.experiments.record import write_record
    from agents.experiments.runs import run_experiments, use_one_thread
    from envs.alphabet_windows import letter_windows

    use_one_thread()
    names = options.experiments or get_args(Name)
    experiments = [experiment for experiment in EXPERIMENTS if experiment.name in names]
    console = ExperimentConsole()
    with console:
        runs = run_experiments(experiments, options.seeds, letter_windows, [console], epochs=options.epochs)
    if not runs.results:
        console.say("nothing was measured; files of an earlier run, if there are any, are left as they were")
        return cli.INTERRUPTED
    if options.epochs is not None:
        console.say(
            f"after {options.epochs} epochs instead of the articles': not to be compared with what they published"
        )
    console.tables(runs)
    try:
        files = [
            write_record(options.out_dir, runs, {**asdict(options), "experiments": names}),
            draw_picture(options.out_dir, runs.results, options.epochs),
        ]
    except OSError as error:
        raise cli.BadInput(f"--out-dir: {options.out_dir} cannot be written to ({error.strerror})") from error
    for file in filter(None, files):
        console.say(f"written: {file}")
    console.say(f"{runs.seconds:.0f} s in all")
    return cli.INTERRUPTED if runs.interrupted else 0


if __name__ == "__main__":
    cli.run(main)
