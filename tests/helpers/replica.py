"""A scripted server in the place of vLLM's, started as `llmkit.serving.child` is, by its plan in JSON, or as
`vllm serve` is: MODEL --host HOST --port PORT [OPTIONS].

Options: `--dies` before it listens, `--slow` answers after a while, `--everywhere` listens on every address, else on
loopback only, whatever `--host` says. It has a child, as vLLM's server has an engine, and finishes what is running when
it is asked to end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers.fault_server import FaultServer  # noqa: E402
from llmkit.signals import end_with_parent  # noqa: E402


def main(model: str, port: int, options: list[str]) -> None:
    if "--dies" in options:
        print("no such option: --dies")
        sys.exit(3)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if pids := os.environ.get("REPLICA_PIDS"):
        with open(pids, "a") as file:
            print(os.getpid(), engine.pid, file=file)
    host = "0.0.0.0" if "--everywhere" in options else "127.0.0.1"
    with FaultServer(model=model, port=port, delay=0.5 if "--slow" in options else 0.02, host=host):
        ending.wait(600)
        time.sleep(1.0)  # what is running comes to its end
    engine.kill()


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first.startswith("{"):
        end_with_parent()
        plan = json.loads(first)
        main(plan["name"], plan["port"], plan["options"])
    else:
        main(first, int(rest[rest.index("--port") + 1]), rest)
