"""Measure this software beside its peers: python scripts/benchmark.py replay. Without arguments: what there is.

The peers come with ``pip install -e ".[benchmark,popgym]"``; those that are missing are named and
left out:

  cpprb        replay, sum-tree. Compiled: its wheels for Python 3.11 and 3.12 need no compiler; for
               a later Python pip builds it, which takes one for C++.
  flashbax     replay. Runs on JAX, which comes with it.
  torchrl      replay. Brings tensordict, and needs torch.
  torch        learner, acting, end-to-end. The build for CPUs is enough.
  sb3-contrib  end-to-end. Brings stable-baselines3, and needs torch.
  popgym       end-to-end, the task RepeatPreviousEasy, which this software needs it for too.

None of the others needs a compiler. Keras, the peer of learner and acting, is there already.
"""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

# The packages beside this script are used, installed or not, from whichever folder it is run.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import cli
from agents.benchmarks.catalogue import NAMES, benchmark

DESCRIPTION = """\
{summary}

Each subject runs in a process of its own; they measure in turn, round after round. Ratios compare within a round;
above 1 is better, for rates and for times. Peers that are not installed are named and left out.
"""


def overview() -> str:
    """What there is, a line each."""
    width = max(map(len, NAMES))
    lines = [f"  {name:{width}}  {benchmark(name).summary}" for name in NAMES]
    usage = "usage: benchmark.py NAME [options]; NAME --help for the options of each"
    peers = (__doc__ or "").partition("\n\n")[2].replace("``", "").rstrip()
    return "\n".join([usage, "", *lines, "", peers])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit status: 1 if this software itself could not be measured."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, *rest = given
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        what_then = f"did you mean {close[0]}?" if close else f"there are {', '.join(NAMES)}"
        raise cli.BadInput(f"unknown benchmark {name!r}; {what_then}")
    chosen = benchmark(name)
    description = DESCRIPTION.format(summary=chosen.summary)
    options = cli.parse(chosen.options, rest, program=f"benchmark.py {name}", description=description)
    from agents.benchmarks.running import run

    try:
        all_measured = run(name, options, sys.stdout)
    except ValueError as error:
        if not cli.is_refusal(error):
            raise
        raise cli.BadInput(cli.in_one_line(error)) from error
    return 0 if all_measured else 1


if __name__ == "__main__":
    cli.run(main)
