"""Requests a second of `llmkit eval` over one and two scripted servers, for benchmarks/scale.py.

    python benchmarks/scale_servers.py      # a server: prints its port, then serves until its input ends

A server answers each request after 200 ms, and at most a window of them at once, as `engine.max_num_seqs` says. It
notes when it was asked and when it answered, so that nothing but the time between first and last answer counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scale_runs import write_rows

SECONDS, WINDOW = 0.2, 4
MARK = b"at the market"  # in every row, and in none of the prompts by which a model is recognised
LIMIT = 1800  # seconds for one run


class Paced(asyncio.Protocol):
    """One connection to the scripted server."""

    times: tuple[float, float] | None = None
    """When the first row was asked and the last one answered, of all connections."""
    answered = 0

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        length = int(fields.get(b"content-length", 0))
        if not mark or len(body) < length:
            return
        self.buffer = body[length:]
        if head.startswith(b"GET /times"):
            first, last = Paced.times or (0.0, 0.0)
            self.answer({"answered": Paced.answered, "first": first, "last": last})
        elif head.startswith(b"GET"):
            self.answer({"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        else:
            asyncio.get_running_loop().call_later(SECONDS, self.reply, body[:length], time.monotonic())

    def reply(self, body: bytes, asked: float) -> None:
        if MARK in body:
            Paced.times = (Paced.times[0] if Paced.times else asked, time.monotonic())
            Paced.answered += 1
        message = {"role": "assistant", "content": "The answer is 7."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45}
        content = {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted", "usage": usage}
        self.answer({**content, "choices": [choice]})

    def answer(self, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.transport.write(head.encode() + content)


async def serve() -> None:
    """Runs a server, after it has said at which port, until its input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Paced, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def requests_per_second(servers: int, rows: int, folder: Path) -> float:
    """Returns how many requests a second an `eval` run of `rows` questions puts to so many servers."""
    folder.mkdir(parents=True)
    data = write_rows(folder / "rows.jsonl", rows)
    with ExitStack() as stack:
        ports = []
        for _ in range(servers):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdin is not None, "it was started with one"
            assert process.stdout is not None, "it was started with one"
            stack.callback(process.stdin.close)
            ports.append(int(process.stdout.readline()))
        listed = folder / "servers.txt"
        listed.write_text("".join(f"http://127.0.0.1:{port}/v1\n" for port in ports))
        sets = {
            "data.path": data, "data.kind": "numeric", "data.split": "all", "model.path": "scripted",
            "perturb.conditions": '["typing"]', "engine.max_num_seqs": WINDOW, "output.dir": folder / "runs",
        }  # fmt: skip
        command = [sys.executable, "-m", "llmkit", "eval", "--base-url", f"@{listed}", "--no-cache", "--quiet"]
        command += [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=os.environ | {"LLMKIT_CACHE": str(folder)}
        )
        if done.returncode:
            sys.exit(f"eval over {servers} servers failed: {done.stderr[-2000:]}")
        times = []
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/times", timeout=60) as reply:
                times.append(json.load(reply))
    answered = sum(one["answered"] for one in times)
    span = max(one["last"] for one in times) - min(one["first"] for one in times)
    return answered / span


if __name__ == "__main__":
    asyncio.run(serve())
