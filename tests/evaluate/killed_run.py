"""A process for test_kill.py that imports llmkit once and forks a whole run, with a scripted server, for each line that
it is given: [folder, log, overrides, mark, count, delay]. It prints the exit code of each.

A run makes marks in its log: `start`, `answer` for each answer, `measure` and `end`. `delay` seconds after it has made
`mark` for the count-th time it kills itself, whatever it is doing then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow.csv
import pyarrow.parquet  # noqa: F401  so that no fork has to import it
from fakes import FakeEngine

import llmkit.evaluate.report.html
import llmkit.evaluate.report.tabular  # noqa: F401
from llmkit.evaluate import pipeline
from llmkit.recipe import load


def main(folder: str, log: str, overrides: dict, last: str, count: int, delay: float) -> None:
    made = []

    def mark(name, what=None):
        with open(log, "a") as file:
            file.write(json.dumps([name, time.monotonic(), what]) + "\n")
        made.append(name)
        if name == last and made.count(name) == count:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def answer(request):
        """Slow enough to be killed in the middle, and the same for the same request whenever it is asked."""
        time.sleep(0.002)
        content = request.messages[0].content
        mark("answer", [content, request.replicate, request.purpose])
        return f"The answer is {sum(map(ord, content)) % 7}."

    def measuring(*args):
        mark("measure")
        return measure(*args)

    mark("start")
    measure, pipeline.measure = pipeline.measure, measuring
    pipeline.open_engine = lambda model, engine: FakeEngine(answer, shuffle=time.time_ns() % 1000)
    pipeline.run(load(None, overrides | {"output.dir": folder}), "rop", quiet=True)
    mark("end")


if __name__ == "__main__":
    for number, line in enumerate(sys.stdin):
        given = json.loads(line)
        if number == 0:
            pipeline.plan(load(None, given[2]).recipe, "rop")  # imports and reads what each fork would otherwise
        pid = os.fork()
        if pid == 0:
            try:
                main(*given)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
