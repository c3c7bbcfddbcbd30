"""The process of one subject: prepares it, then does one round of a task whenever it is asked, and sleeps between.

Requests come as lines of JSON on stdin, answers go as lines of JSON to stdout, which nobody else can write to: what
libraries print goes to stderr. Not imported by others; run by `agents.benchmarks.processes`.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

from agents.benchmarks.prepared import Prepared


class Worker:
    """Answers requests."""

    def __init__(self) -> None:
        self._prepared = Prepared({})

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Prepare the subject of a module, or do one round of a task."""
        if "module" in request:
            use_cores(request["cores"])
            sys.modules.update(dict.fromkeys(request["without"]))  # None there makes an import fail
            self._prepared = importlib.import_module(request["module"]).prepare(**request["settings"])
            prepared = self._prepared
            return {"tasks": list(prepared.tasks), "answers": dict(prepared.answers), "note": prepared.note}
        value = self._prepared.tasks[request["task"]]()
        return {"values": dict(value) if isinstance(value, Mapping) else {request["task"]: float(value)}}


def use_cores(count: int | None) -> None:
    """Keep this process, and libraries it imports from now on, to ``count`` of its cores, where the system can."""
    if count is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until there are no more requests. A request that fails is answered with what went wrong."""
    worker = Worker()
    for line in requests:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    own_stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, own_stdout)
