"""What two workers, two servers and a million answers come to: "Beyond one machine" in docs/benchmarks.md.

    python benchmarks/scale.py [--rows 1000000] [--rounds 4] [--outcomes 1000000] [--write]

Rows a second of the same noise by `llmkit perturb --shard`, Ray Data and datatrove, with one and with two workers;
requests a second over one and two scripted servers; time and memory of `runs merge` and its metrics at a tenth and at
all of the outcomes. Every round has all of a kind, one after the other and each time in another order, so that other
work on the machine hits all alike, and only ratios within a round count. The rows are divided among the rounds. What a
way takes for a handful of rows, its start-up, is subtracted.

--write writes benchmarks/results/scale.json and the tables in the docs; with --parts what is not measured stays. Ray
and datatrove have to be installed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import scale_rows
import scale_runs
from doc_tables import with_table
from scale_servers import SECONDS, WINDOW, requests_per_second

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
DOCS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- scale: written by benchmarks/scale.py -->", "<!-- end of scale -->"

HANDFUL = 400  # rows whose time is a way's start-up
LEAST_TWO, LEAST_OTHERS = 1.8, 0.8
MOST_MIB, MOST_SECONDS = 2048, 180
TIMES = 10  # the outcomes of the larger merge, as a multiple of the smaller one's
LIMIT = 7200  # seconds for one merge


def rows_of(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures rows a second of every way, with one worker and with two, in every round."""
    count = args.rows // args.rounds
    few, all_rows = (scale_rows.write_rows(folder / f"rows-{number}", number) for number in (HANDFUL, count))
    order = [(way, workers) for way in scale_rows.WAYS for workers in (1, 2)]
    rounds: list[dict[str, Any]] = []
    for number in range(args.rounds):
        measured: dict[str, Any] = {}
        for way, workers in order[number % len(order) :] + order[: number % len(order)]:
            load = os.getloadavg()[0]
            out = folder / f"out-{number}-{way}-{workers}"
            start, took = scale_rows.seconds(way, workers, few, all_rows, out)
            measured[f"{way} {workers}"] = {
                "rows_per_second": round(count / took, 1),
                "start_seconds": round(start, 1),
                "load": round(load, 1),
            }
            said(number, way, workers, measured[f"{way} {workers}"])
        rounds.append(measured)
    rates = [{name: one["rows_per_second"] for name, one in measured.items()} for measured in rounds]
    ratios = {f"{way} 2/1": [rate[f"{way} 2"] / rate[f"{way} 1"] for rate in rates] for way in scale_rows.WAYS}
    for way in scale_rows.WAYS[1:]:
        for workers in (1, 2):
            name = f"{way}/plain, {workers}"
            ratios[name] = [rate[f"{way} {workers}"] / rate[f"plain {workers}"] for rate in rates]
    return {
        "rows": count * args.rounds,
        "rounds": rounds,
        "rows_per_second": {name: spread([rate[name] for rate in rates]) for name in rates[0]},
        "ratios": {name: spread(values) for name, values in ratios.items()},
    }


def servers_of(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures requests a second over one and two servers in every round."""
    rounds = []
    for number in range(args.rounds):
        measured = {}
        for servers in (1, 2) if number % 2 else (2, 1):
            load = os.getloadavg()[0]
            rate = requests_per_second(servers, args.questions * servers, folder / f"servers-{number}-{servers}")
            measured[str(servers)] = {"requests_per_second": round(rate, 2), "load": round(load, 1)}
            said(number, "servers", servers, measured[str(servers)])
        rounds.append(measured)
    rates = [{name: one["requests_per_second"] for name, one in measured.items()} for measured in rounds]
    return {
        "seconds": SECONDS,
        "window": WINDOW,
        "requests": args.questions * 2,
        "rounds": rounds,
        "requests_per_second": {name: spread([rate[name] for rate in rates]) for name in rates[0]},
        "ratio": spread([rate["2"] / rate["1"] for rate in rates]),
    }


def merges_of(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures the merge of shards with a tenth of the outcomes and with all, each in a process of its own."""
    questions = args.outcomes // TIMES // (len(scale_runs.CONDITIONS) + 1)
    rows = scale_runs.write_rows(folder / "rows.jsonl", questions)
    small = scale_runs.write_shards(scale_runs.recipe(rows, folder / "small"))
    large = scale_runs.repeated(small, folder / "large", TIMES)
    results = []
    for shards in (small, large):
        load = os.getloadavg()[0]
        source = shards[0].parent
        command = [sys.executable, scale_runs.__file__, str(source), str(folder / f"{source.name}-merged")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode:
            sys.exit(f"the merge failed: {done.stderr[-2000:]}")
        size = sum((shard / "samples.jsonl").stat().st_size for shard in shards)
        results.append({**json.loads(done.stdout), "journal_mib": round(size / 2**20), "load": round(load, 1)})
        said("merge", results[-1])
    return {"measured": results}


def spread(values: list[float]) -> dict[str, float]:
    """Returns the median with the least and the most."""
    ends = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in ends.items()}


def said(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def table(record: dict[str, Any]) -> str:
    """Returns the tables of the docs."""
    drawn = {"rows": _of_rows, "servers": _of_servers, "merges": _of_merges}
    return "\n\n".join(draw(record[part]) for part, draw in drawn.items() if part in record)


def _of_rows(rows: dict[str, Any]) -> str:
    lines = ["| way | rows/s, 1 worker | rows/s, 2 workers | 2 workers to 1 | to plain, 1 | to plain, 2 |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for way in scale_rows.WAYS:
        speeds = [cell(rows["rows_per_second"][f"{way} {workers}"], ",.0f") for workers in (1, 2)]
        beside = [cell(rows["ratios"][f"{way}/plain, {n}"], ".2f") if way != "plain" else "" for n in (1, 2)]
        lines.append(f"| {way} | {' | '.join([*speeds, cell(rows['ratios'][f'{way} 2/1'], '.2f'), *beside])} |")
    lines.append(f"| target | | | plain at least {LEAST_TWO} | at least {LEAST_OTHERS} | at least {LEAST_OTHERS} |")
    lines += ["", _when(rows, rows["rounds"], f"{len(rows['rounds'])} round(s), {rows['rows']:,} rows of each way")]
    return "\n".join(lines)


def _of_servers(servers: dict[str, Any]) -> str:
    rates = servers["requests_per_second"]
    lines = ["| servers | requests/s | to one |", "|---|---:|---:|", f"| 1 | {cell(rates['1'], '.1f')} | |"]
    lines.append(f"| 2 | {cell(rates['2'], '.1f')} | {cell(servers['ratio'], '.2f')} |")
    lines.append(f"| target | | at least {LEAST_TWO} |")
    words = f"{len(servers['rounds'])} rounds of {servers['requests']} requests a server, {servers['window']} at once"
    lines += ["", _when(servers, servers["rounds"], words)]
    return "\n".join(lines)


def _of_merges(merges: dict[str, Any]) -> str:
    lines = ["| outcomes merged and measured | journal, MiB | peak memory, MiB | processor seconds | seconds |"]
    lines.append("|---|---:|---:|---:|---:|")
    lines += [
        f"| {one['outcomes']:,} | {one['journal_mib']:,} | {one['peak_mib']:,} | {one['cpu_seconds']} | "
        f"{one['seconds']} |"
        for one in merges["measured"]
    ]
    lines.append(f"| target | | at most {MOST_MIB:,} | | at most {MOST_SECONDS} |")
    lines += ["", _when(merges, [{one["outcomes"]: one for one in merges["measured"]}], "once each")]
    return "\n".join(lines)


def cell(value: dict[str, float], form: str) -> str:
    """Returns a median with its spread as the docs write it."""
    return f"{value['median']:{form}} ({value['least']:{form}} to {value['most']:{form}})"


def _when(part: dict[str, Any], rounds: list[dict[Any, Any]], words: str) -> str:
    loads = [one["load"] for measured in rounds for one in measured.values()]
    return f"{part['date']}, {words}. The load on {os.cpu_count()} cores was {min(loads):g} to {max(loads):g}."


def main() -> None:
    measures = {"servers": servers_of, "rows": rows_of, "merges": merges_of}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each way, over all rounds")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--questions", type=int, default=150, help="questions for each server")
    parser.add_argument("--outcomes", type=int, default=1_000_000, help="outcomes of the larger merge")
    parser.add_argument("--parts", nargs="+", choices=list(measures), default=list(measures), help="of the measurement")
    parser.add_argument("--write", action="store_true", help="write the results and the table in the docs")
    args = parser.parse_args()
    date = datetime.date.today()
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="llmkit-scale-") as name:
        for part in args.parts:
            record[part] = {"date": f"{date.day} {date:%B %Y}", **measures[part](args, Path(name))}
    print(table(record))
    if args.write:
        before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        record = before | record
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8"), BEGIN, END, table(record)), encoding="utf-8")


if __name__ == "__main__":
    main()
