"""What `llmkit proxy` adds to streams, and whether its memory is steady: "The proxy" in docs/benchmarks.md.

    python benchmarks/proxy.py [--rounds 9] [--streams 64] [--memory 200000] [--write]

A scripted upstream streams answers, 200 ms to the first token and 20 ms a token. A client in a process of its own keeps
64 streams open, straight to the upstream, through `--mode pass` and through `--mode repair` on texts on which no gate
fires, in turns: each round has all three, in another order, and only differences and ratios within a round count. The
streams begin one after the other, spread over the length of an answer, and each asks again as soon as it is answered.
Client and upstream are bare sockets, so that what is measured is the proxy. Then short answers, not streamed, show how
the memory of the proxy and its worker develops: the proxy keeps the outcomes of 65,536 texts, so the second half of
200,000 has to be steady. --write writes benchmarks/results/proxy.json and the table in the docs.

Look at `load`, the number of processes that want to run: on a busy machine a proxy, which works more than a client,
waits longer for its turn. `chrt -f 10 python benchmarks/proxy.py` (as root) goes before all others. With --rounds 0 or
--memory 0 that half is left out, and the file keeps what it has of it.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from doc_tables import with_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "proxy.json"
DOCS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- proxy: written by benchmarks/proxy.py -->", "<!-- end of proxy -->"

FIRST_SECONDS, TOKEN_SECONDS, TOKENS = 0.2, 0.02, 40
ANSWER_SECONDS = FIRST_SECONDS + TOKENS * TOKEN_SECONDS
MOST_ADDED_MS, LEAST_RATE = 3.0, 0.95
WAYS = ("direct", "pass", "repair")
LIMIT = 600  # seconds for one run of the client

_PLACES = ("Leeds", "York", "Bath", "Oxford", "Derby", "London", "Bristol", "Exeter")
_THINGS = ("a blue kettle", "two garden chairs", "a pair of shoes", "the large lamp", "four wooden boxes")


def text(number: int) -> str:
    """Returns a question without errors, another one for each number."""
    return (
        f"Hello, my order {number} for {_THINGS[number % 5]} was sent to {_PLACES[number % 8]} on Monday. "
        "Could you tell me when it will arrive, and whether I can still change the address? "
        f"I paid {number % 97 + 3} dollars for it and would like to keep the receipt."
    )


# The upstream


class Scripted(asyncio.Protocol):
    """One connection to the scripted server. Streams where it is asked to, else answers at once."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        if not mark or len(body) < (length := _length(head)):
            return
        self.buffer = body[length:]
        if head.startswith(b"GET"):
            self.answer({"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        elif b'"stream": true' in body or b'"stream":true' in body:
            self.begun = asyncio.get_running_loop().time()
            asyncio.get_running_loop().call_at(self.begun + FIRST_SECONDS, self.stream, 0)
        else:
            message = {"role": "assistant", "content": "It arrives on Thursday."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    def answer(self, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.transport.write(head.encode() + content)

    def stream(self, token: int) -> None:
        """Writes one token. The times are fixed from the start, so that a late one delays no other."""
        if self.transport.is_closing():
            return
        if token == 0:
            fields = "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
            self.transport.write(f"HTTP/1.1 200 OK\r\n{fields}".encode())
        if token == TOKENS:
            self.transport.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            return
        choice = {"index": 0, "delta": {"content": f" word{token}"}, "finish_reason": None}
        event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        self.transport.write(_chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
        when = self.begun + FIRST_SECONDS + (token + 1) * TOKEN_SECONDS
        asyncio.get_running_loop().call_at(when, self.stream, token + 1)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve() -> None:
    """Runs the scripted server, after it has said at which port."""
    server = await asyncio.get_running_loop().create_server(Scripted, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The client


@dataclass(frozen=True)
class Load:
    """What a client asks: so many connections, each so many requests one after the other, from `first` on."""

    port: int
    streams: int
    each: int
    first: int
    streaming: bool


async def drive(load: Load) -> dict[str, Any]:
    """Asks, and returns milliseconds of each request to the first token and in whole, requests a second, failures."""
    first_tokens: list[float] = []
    wholes: list[float] = []
    rates: list[float] = []

    async def one(number: int) -> None:
        # All at once would measure how long a queue of so many is.
        await asyncio.sleep(number / load.streams * ANSWER_SECONDS if load.streaming else 0)
        stream_began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        try:
            for place in range(load.each):
                began = time.perf_counter()
                writer.write(_request(load, load.first + number * load.each + place))
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    return
                if load.streaming:
                    await reader.readuntil(b"data:")
                    first_tokens.append((time.perf_counter() - began) * 1000)
                    await reader.readuntil(b"[DONE]\n\n")
                    await reader.readuntil(b"0\r\n\r\n")
                else:
                    await reader.readexactly(_length(head))
                wholes.append((time.perf_counter() - began) * 1000)
            rates.append(load.each / (time.perf_counter() - stream_began))
        except (OSError, asyncio.IncompleteReadError):
            pass  # counted as missing
        finally:
            writer.close()

    await asyncio.gather(*map(one, range(load.streams)))
    missing = load.streams * load.each - len(wholes)
    return {"per_second": sum(rates), "first": first_tokens, "whole": wholes, "failures": missing}


def _request(load: Load, number: int) -> bytes:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text(number)}], "stream": load.streaming}
    ).encode()
    fields = f"host: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return b"POST /v1/chat/completions HTTP/1.1\r\n" + fields.encode() + body


def asked(load: Load) -> dict[str, Any]:
    """Runs the client in a process of its own."""
    command = [sys.executable, __file__, "--client", json.dumps(load.__dict__)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["failures"]:
        sys.exit(f"{result['failures']} of {load.streams * load.each} requests failed")
    return result


# The proxy


@contextmanager
def started(*command: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs a process; yields it and the first line that it prints."""
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            sys.exit(f"{command} did not start: {process.stderr.read() if process.stderr else ''}")
        yield process, line
    finally:
        process.terminate()
        process.communicate()


class Proxy:
    """A running `llmkit proxy` and what it uses."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.url = json.loads(line)["url"].removesuffix("/v1")
        self.port = int(self.url.rpartition(":")[2])
        self._own = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Returns the processor time of the proxy and its workers so far."""
        return sum(sum(p.cpu_times()[:2]) for p in (self._own, *self._own.children(recursive=True)))

    def resident(self) -> dict[str, float]:
        """Returns MiB in memory: of the proxy, and of its workers together."""
        mebibytes = [p.memory_info().rss / 2**20 for p in (self._own, *self._own.children(recursive=True))]
        return {"proxy": round(mebibytes[0], 1), "workers": round(sum(mebibytes[1:]), 1)}

    def repairs(self) -> dict[str, int]:
        """Returns the number of texts by what was done to them."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        counted = [line for line in lines if line.startswith('llmkit_proxy_repairs_total{action="')]
        return {line.split('"')[1]: int(line.rpartition(" ")[2]) for line in counted}


def percentile(values: list[float], share: float) -> float:
    """Returns the value below which this share of all is."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def streams(ports: dict[str, int], proxies: dict[str, Proxy], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures every way once a round, in another order each time."""
    rounds: list[dict[str, Any]] = []
    number = 0
    for place in range(-1, args.rounds):  # the first one warms up
        measured: dict[str, Any] = {}
        for way in WAYS[place % 3 :] + WAYS[: place % 3]:
            load = os.getloadavg()[0]
            used = proxies[way].cpu_seconds() if way in proxies else 0.0
            result = asked(Load(ports[way], args.streams, args.each if place >= 0 else 2, number, True))
            number += args.streams * args.each
            requests = len(result["whole"])
            used = proxies[way].cpu_seconds() - used if way in proxies else 0.0
            measured[way] = {
                "requests_per_second": round(result["per_second"], 2),
                "first_ms": {p: round(percentile(result["first"], p / 100), 2) for p in (50, 95)},
                "whole_ms": {p: round(percentile(result["whole"], p / 100), 2) for p in (50, 95)},
                "cpu_ms_per_request": round(used * 1000 / requests, 2),
                "load": round(load, 1),
            }
            print(place, way, measured[way], file=sys.stderr, flush=True)
        if place >= 0:
            rounds.append(measured)
    return rounds


def compared(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what each mode adds, within each round: the median over rounds, with the least and the most."""

    def spread(values: list[float]) -> dict[str, float]:
        ends = {"median": statistics.median(values), "least": min(values), "most": max(values)}
        return {name: round(value, 3) for name, value in ends.items()}

    return {
        way: {
            "added_first_p95_ms": spread([r[way]["first_ms"][95] - r["direct"]["first_ms"][95] for r in rounds]),
            "added_first_p50_ms": spread([r[way]["first_ms"][50] - r["direct"]["first_ms"][50] for r in rounds]),
            "added_whole_p95_ms": spread([r[way]["whole_ms"][95] - r["direct"]["whole_ms"][95] for r in rounds]),
            "rate": spread([r[way]["requests_per_second"] / r["direct"]["requests_per_second"] for r in rounds]),
            "cpu_ms_per_request": spread([r[way]["cpu_ms_per_request"] for r in rounds]),
        }
        for way in WAYS[1:]
    }


def of_streams(rounds: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Returns the record of the first half."""
    loads = [row["load"] for measured in rounds for row in measured.values()]
    return {
        "date": today(),
        "cores": os.cpu_count(),
        "load": f"{min(loads):g} to {max(loads):g}",
        "real_time": os.sched_getscheduler(0) == os.SCHED_FIFO,
        "streams": args.streams,
        "rounds": args.rounds,
        "requests_of_a_stream": args.each,
        "tokens": TOKENS,
        "compared": compared(rounds),
        "measured": rounds,
    }


def today() -> str:
    """Returns today's date as the docs write it."""
    date = datetime.date.today()
    return f"{date.day} {date:%B %Y}"


def memory(proxy: Proxy, requests: int) -> list[dict[str, Any]]:
    """Asks for short answers, each about another text, and notes the memory ten times on the way."""
    curve = [{"requests": 0, **proxy.resident()}]
    connections, parts = 16, 10
    each = max(1, requests // parts // connections)
    for part in range(parts):
        first = 10_000_000 + part * connections * each
        result = asked(Load(proxy.port, connections, each, first, False))
        done = (part + 1) * connections * each
        rate = round(result["per_second"])
        curve.append({"requests": done, **proxy.resident(), "requests_per_second": rate})
        print(curve[-1], file=sys.stderr, flush=True)
    return curve


def table(record: dict[str, Any]) -> str:
    """Returns the tables of the docs."""
    lines: list[str] = []
    if half := record.get("streaming"):
        titles = ("mode", "first token, p50", "first token, p95", "whole answer, p95", "requests/s, of direct")
        lines += [f"| {' | '.join(titles)} | processor time, a request |", "|---|---:|---:|---:|---:|---:|"]
        for way, row in half["compared"].items():
            added = ("added_first_p50_ms", "added_first_p95_ms", "added_whole_p95_ms")
            cells = [_span(row[key], "+.1f", " ms") for key in added]
            cells += [_span(row["rate"], ".3f"), _span(row["cpu_ms_per_request"], ".1f", " ms")]
            lines.append(f"| {'`pass`' if way == 'pass' else '`repair`, unfired'} | {' | '.join(cells)} |")
        before = " with real-time priority" if half["real_time"] else ""
        lines += [
            f"| target | | at most +{MOST_ADDED_MS:g} ms | | at least {LEAST_RATE} | |",
            "",
            f"{half['date']}, {half['rounds']} rounds of {half['streams']} streams and "
            f"{half['requests_of_a_stream']} requests each{before}: the median round (least to most). The machine has "
            f"{half['cores']} cores; its load before the runs was {half['load']}.",
        ]
    if half := record.get("memory"):
        lines += ["", "| requests | proxy, MiB | worker, MiB |", "|---:|---:|---:|"]
        lines += [f"| {row['requests']:,} | {row['proxy']} | {row['workers']} |" for row in half["curve"]]
        lines += ["", f"{half['date']}, short answers, not streamed, each to another text."]
    return "\n".join(lines)


def _span(values: dict[str, float], form: str, unit: str = "") -> str:
    median, least, most = (format(values[name], form) for name in ("median", "least", "most"))
    return f"{median}{unit} ({least} to {most})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--each", type=int, default=8, help="requests of each stream in a round")
    parser.add_argument("--memory", type=int, default=200_000, metavar="REQUESTS", help="0: leave it out")
    parser.add_argument("--write", action="store_true", help="write the results and the table in the docs")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve())
        return
    if args.client:
        print(json.dumps(asyncio.run(drive(Load(**json.loads(args.client))))))
        return
    with ExitStack() as stack:
        _, line = stack.enter_context(started(sys.executable, __file__, "--serve"))
        ports, proxies = {"direct": int(line)}, {}
        for mode in WAYS[1:]:
            command = [sys.executable, "-m", "llmkit", "proxy", "--upstream", f"http://127.0.0.1:{ports['direct']}/v1"]
            command += ["--mode", mode, "--port", "0", "--json"]
            command += ["--repair", "demo-loop", "--without-guarantee"] if mode == "repair" else []
            proxies[mode] = Proxy(*stack.enter_context(started(*command)))
            ports[mode] = proxies[mode].port
        record = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        if args.rounds:
            record |= {"streaming": of_streams(streams(ports, proxies, args), args)}
        if args.memory:
            record |= {"memory": {"date": today(), "curve": memory(proxies["repair"], args.memory)}}
        looked = proxies["repair"].repairs()
    if fired := looked.get("repaired", 0) + looked.get("unchanged", 0):
        sys.exit(f"the gate fired on {fired} texts without errors")
    print(table(record))
    if args.write:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
        DOCS.write_text(with_table(DOCS.read_text(), BEGIN, END, table(record)))


if __name__ == "__main__":
    main()
