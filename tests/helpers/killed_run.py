"""A process for killing.py that imports llmkit once and forks a command with a scripted model for each line that it is
given: {"args", "log", "mark", "count", "delay", "signal"}. It prints the exit code of each.

A run makes marks in its log: `start`, `answer` for each answer, `measure` and `end`. `delay` seconds after it has made
`mark` for the count-th time it sends itself the signal, whatever it is doing then. Its output stands beside the log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow.csv
import pyarrow.parquet  # noqa: F401  so that no fork has to import it

import llmkit.report.html
import llmkit.report.tabular  # noqa: F401
from helpers.fakes import FakeEngine, fake_kind
from llmkit import evaluate
from llmkit.cli import app
from llmkit.engines import ENGINES
from llmkit.recipe import load


def main(args: list[str], log: str, mark: str, count: int, delay: float, signal: int) -> int:
    made: list[str] = []
    timers: list[threading.Timer] = []

    def note(name: str, what: Any = None) -> None:
        with open(log, "a") as file:
            file.write(json.dumps([name, time.monotonic(), what]) + "\n")
        made.append(name)
        if name == mark and made.count(name) == count:
            timers.append(threading.Timer(delay, os.kill, (os.getpid(), signal)))
            timers[-1].daemon = True
            timers[-1].start()

    def answer(request: Any) -> str:
        """Slow enough to be killed in the middle, and the same for the same request whenever it is asked."""
        time.sleep(0.002)
        content = request.messages[0].content
        note("answer", [content, request.replicate, request.purpose])
        if request.purpose == "propose":
            return f"Read it again, and be {('careful', 'brief', 'exact')[sum(map(ord, content)) % 3]}."
        return f"The answer is {sum(map(ord, content)) % 7}."

    def measuring(*args: Any) -> Any:
        note("measure")
        return measure(*args)

    running = import_module("llmkit.evaluate.run")  # the name `evaluate.run` is the function
    measure, running.conclude = running.conclude, measuring
    note("start")
    with fake_kind(lambda model, section: FakeEngine(answer, shuffle=time.time_ns() % 1000), kinds=list(ENGINES)):
        code = app.run(args)
    for timer in timers:
        timer.cancel()
    note("end")
    return code


def forked(given: dict[str, Any]) -> None:
    """Ends this process with the exit code of the command."""
    output = os.open(f"{given['log']}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as app.main does
    try:
        os._exit(main(**given))
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    for number, line in enumerate(sys.stdin):
        given = json.loads(line)
        if number == 0 and given["args"][0] == "rop":  # imports and reads what each fork would otherwise
            sets = [value for flag, value in zip(given["args"], given["args"][1:], strict=False) if flag == "--set"]
            evaluate.plan(load(None, sets).recipe, "rop")
        pid = os.fork()
        if pid == 0:
            forked(given)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
