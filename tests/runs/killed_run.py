"""A run for test_runner.py to kill: two-stage jobs, journal, cache. Prints the outcomes, sorted, when it ends."""

import json
import os
import sys
import time
from pathlib import Path

from helpers.fakes import FakeEngine

from llmkit.engines import ResponseCache
from llmkit.runs import RunFolder, Runner
from llmkit.types import Message, Request


def job(i):
    first = yield Request((Message("user", f"correct {i}"),))
    second = yield [Request((Message("user", f"answer {first.text} {vote}"),)) for vote in range(2)]
    return [r.text for r in second]


def main(root: Path) -> None:
    def answer(request):
        time.sleep(0.001)
        text = request.messages[0].content
        with open(root / "asked.txt", "a") as file:
            file.write(text + "\n")
        return text.upper()

    root.mkdir(parents=True, exist_ok=True)
    with RunFolder.open(root, "run", "0", recipe=None, resolved="") as folder, ResponseCache() as cache:
        finished = {entry["key"] for entry in folder.entries()}
        print("started", flush=True)
        runner = Runner({"answerer": FakeEngine(answer, shuffle=os.getpid())}, cache, open_jobs=40)
        for done in runner.run((i, job(i)) for i in range(150) if i not in finished):
            folder.append({"key": done.key, "result": done.result})
        rows = list(folder.entries())
        assert len(rows) == len({row["key"] for row in rows}) == 150
        print(json.dumps(sorted((row["key"], row["result"]) for row in rows)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
