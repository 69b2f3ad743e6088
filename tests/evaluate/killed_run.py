"""Run by test_kill.py in a process that is killed: one whole run with a scripted server that dawdles."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine

from llmkit.evaluate import pipeline
from llmkit.recipe import load


def main(folder: Path, log: Path, overrides: dict) -> None:
    def answer(request):
        """Slow enough to be killed in the middle, and the same for the same request whenever it is asked."""
        time.sleep(0.002)
        content = request.messages[0].content
        with open(log, "a") as file:
            file.write(json.dumps([content, request.replicate, request.purpose]) + "\n")
        return f"The answer is {sum(map(ord, content)) % 7}."

    pipeline.open_engine = lambda model, engine: FakeEngine(answer, shuffle=time.time_ns() % 1000)
    pipeline.run(load(None, overrides | {"output.dir": str(folder)}), "rop", quiet=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
