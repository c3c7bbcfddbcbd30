"""`agents.training.Trainer` as a subject of the end-to-end benchmark."""

from collections.abc import Mapping

from agents.benchmarks.end_to_end_work import NotSolved, of_fixed_length, speeds, until_solved
from agents.benchmarks.prepared import Prepared
from agents.threads import set_threads
from agents.training import Trainer


def prepare(task: str, steps: int, seed: int) -> Prepared:
    """Whole runs: of ``steps`` environment steps, or, named "solve", until the task is solved or these are over."""
    set_threads(of_fixed_length(task, steps))

    def run() -> Mapping[str, float]:
        summary = Trainer(of_fixed_length(task, steps)).run()
        return speeds(summary.env_steps, summary.updates, summary.seconds_by_part)

    def solve() -> Mapping[str, float]:
        summary = Trainer(until_solved(task, steps, seed)).run()
        if summary.solved_at_env_steps is None or summary.solved_at_training_seconds is None:
            raise NotSolved(f"best return {summary.evaluation_return_mean:.3g} in {summary.env_steps:,} steps")
        return {"time": summary.solved_at_training_seconds, "steps": summary.solved_at_env_steps}

    return Prepared({"run": run, "solve": solve})
