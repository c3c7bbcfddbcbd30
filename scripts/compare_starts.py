"""Why states are stored: train on the alphabet from stored and from zero states, and draw both curves."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

# The packages beside this script are used, installed or not, from whichever folder it is run.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import cli
from agents.presets import preset

DESCRIPTION = """\
Train on the alphabet from stored and from zero states, and draw both curves.

Only the first of 25 letters is shown; sequences of 6 trained steps follow a burn-in of 3. Ten runs of a minute or so.
"""
NAMES = {
    "stored_with_burn_in": "stored state, burn-in of 3",
    "stored": "stored state alone",
    "zero": "zero state, burn-in of 3",
}


@dataclass(frozen=True)
class Options:
    """What to compare."""

    starts: tuple[Literal["stored_with_burn_in", "stored", "zero"], ...] = ("stored_with_burn_in", "zero")
    """How replayed sequences start, one curve each."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Runs of each curve."""
    total_steps: int = 25_000
    """Environment steps of a run."""
    out_dir: Path | None = None
    """Folder of the runs and of the picture. Default: a new one in runs/compare_starts, named by date and time."""

    def __post_init__(self) -> None:
        for name, values in (("starts", self.starts), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={values} must name at least one, and each once")
        for seed in self.seeds:
            preset("memory", seed=seed, total_steps=self.total_steps)  # which knows what they may be


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, draw, and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = cli.parse(Options, given, program="compare_starts.py", description=DESCRIPTION)
    cli.import_tensorflow()
    import envs  # noqa: F401  registers the environments of this project
    from agents.learning_curve import RunHistory, curves_picture
    from agents.run_folder import RunFolder, load_history
    from agents.threads import set_threads
    from agents.training import train
    from r2d2.learner import DivergenceError

    base = preset(
        "memory",
        env_id="r2d2/Alphabet-v0",
        total_steps=options.total_steps,
        train_length=6,
        burn_in=3,
        overlap=0,
        gamma=0.0,  # what is named now changes nothing later
        replay_ratio=24.0,
        read_previous_action=False,
        read_previous_reward=False,
        stop_when_solved=False,
    )
    set_threads(base)
    out_dir = options.out_dir or Path("runs/compare_starts", f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    curves: dict[str, list[RunHistory]] = {}
    for start in options.starts:
        for seed in options.seeds:
            config = replace(base, sequence_start=start, seed=seed)
            try:
                folder = RunFolder(out_dir / start / f"seed{seed}", config)
            except ValueError as error:
                raise cli.BadInput(cli.in_one_line(error)) from error
            try:
                with folder:
                    summary = train(config, folder.path, [folder])
            except DivergenceError as error:
                print(f"error: {cli.in_one_line(error)}", file=sys.stderr)
                return 1
            solved, was_interrupted = summary.solved_at_env_steps, summary.stopped_because == "interrupted"
            print(
                f"{NAMES[start]}, seed {seed}: best {summary.evaluation_return_mean:.3f}, "
                f"last {summary.last_return_mean:.3f}, 0.9 {f'at {solved:,} steps' if solved else 'not reached'}"
                f"{f'; interrupted after {summary.env_steps:,} steps' if was_interrupted else ''}",
                flush=True,
            )
            curves.setdefault(NAMES[start], []).append(load_history(folder.path))
            if was_interrupted:
                return cli.INTERRUPTED
    picture = out_dir / "compare_starts.png"
    curves_picture(picture, curves, title="The alphabet from memory: what the stored state is for")
    print(f"picture: {picture}")
    return 0


if __name__ == "__main__":
    cli.run(main)
