"""`agents.benchmarks.recurrent_double_q` as a subject of the end-to-end benchmark."""

from collections.abc import Mapping

import torch

from agents.benchmarks.end_to_end_work import of_fixed_length, speeds
from agents.benchmarks.prepared import Prepared
from agents.benchmarks.recurrent_double_q import RecurrentDoubleQ


def prepare(task: str, steps: int, seed: int) -> Prepared:
    """Runs of ``steps`` environment steps; ``seed`` is not used: all rounds are alike."""
    torch.set_num_threads(1)  # more gain little with networks of this size, and lose much where others compute too

    def run() -> Mapping[str, float]:
        agent = RecurrentDoubleQ(of_fixed_length(task, steps))
        agent.run()
        return speeds(agent.steps, agent.updates, agent.watch.parts())

    return Prepared({"run": run}, note="uniform draws, one epsilon; the same replay ratio, network and batch")
