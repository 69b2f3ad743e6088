"""Asks the bundled model the inputs of inputs.py, as they are and noisy, and pairs the replies that differ.

    python benchmarks/replies/make.py ask REPLIES.jsonl --seconds 240      # goes on where it stopped
    python benchmarks/replies/make.py pair REPLIES.jsonl PAIRS.jsonl --pairs 200

`pair` shuffles the pairs of each kind of input by a seed, and takes kinds in turn, so that each has the same share
where it has enough. It knows nothing of the rules that are tested: no reply is made up, and no pair is left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from itertools import combinations
from pathlib import Path
from random import Random

import inputs

NOISE = {"typing": 0.1, "ec": 0.2}
AGAIN = "again"  # the text as sent, at temperature .7
CONDITIONS = ("clean", AGAIN, *NOISE)
MODEL = "smollm2-135m"
PER_KIND = 12
IN_FLIGHT = 48


def asked_texts(tickets: Path):
    """Yields each input with its id, temperature, condition and text as asked."""
    from llmkit.perturb import Perturber

    with tickets.open(encoding="utf-8", newline="") as file:
        bodies = [row["body"] for row in csv.DictReader(file) if len(row["body"]) < 500]
    noise = {name: Perturber(name, rate, 7) for name, rate in NOISE.items()}
    for row in sorted(inputs.rows(PER_KIND, "replies", bodies), key=lambda row: row.number):
        name = f"{row.kind}/{row.number}"
        yield row, name, 0.0, "clean", row.text
        yield row, name, 0.7, AGAIN, row.text
        for condition, perturber in noise.items():
            text = perturber.apply(row.text, name).text
            if text != row.text:
                yield row, name, 0.0, condition, text


def ask(path: Path, tickets: Path, seconds: float) -> None:
    """Appends replies to a file until the time is over."""
    from llmkit.engines import open_engine
    from llmkit.recipe.schema import EngineSection, ModelSection
    from llmkit.types import Message, Request, Sampling

    begun = time.monotonic()
    old = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    answered = {(row["row"], row["condition"]) for row in old}
    pending = [cell for cell in asked_texts(tickets) if (cell[1], cell[3]) not in answered]
    engine = open_engine(
        ModelSection(path=MODEL),
        EngineSection(kind="vllm", dtype="float32", max_model_len=384, max_num_seqs=IN_FLIGHT),
    )

    def submit(number: int) -> None:
        row, _, temperature, _, text = pending[number]
        sampling = Sampling(max_tokens=64, temperature=temperature, seed=11 if temperature else None)
        engine.submit(number, Request((Message("user", row.instruction.format(text=text)),), sampling))

    following = min(IN_FLIGHT, len(pending))
    for number in range(following):
        submit(number)
    with path.open("a", encoding="utf-8") as file:
        for number, reply in engine.drain():
            row, name, temperature, condition, text = pending[number]
            record = {
                "row": name, "kind": row.kind, "instruction": row.instruction, "text": text, "condition": condition,
                "temperature": temperature, "reply": reply.text, "cut": reply.finish_reason == "length",
            }  # fmt: skip
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            if following < len(pending) and time.monotonic() - begun < seconds:
                submit(following)
                following += 1
    engine.close()


def pair(replies: Path, out: Path, part: str, number: int) -> None:
    """Writes pairs of unequal replies to wordings of one row, without a reading.

    Two thirds of the rows are the part `read` that tests the rules, a third is the part `tuning` to write them with.
    """
    by_row: dict[str, list[dict]] = {}
    for line in replies.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if (int(record["row"].rpartition("/")[2]) % 3 == 0) == (part == "tuning"):
            by_row.setdefault(record["row"], []).append(record)
    by_kind: dict[str, list[dict]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    for name, records in sorted(by_row.items()):
        records.sort(key=lambda record: CONDITIONS.index(record["condition"]))
        for first, second in combinations(records, 2):
            replies_of = frozenset((first["reply"], second["reply"]))
            if records[0]["condition"] == "clean" and len(replies_of) == 2 and (name, replies_of) not in seen:
                seen.add((name, replies_of))
                by_kind.setdefault(first["kind"], []).append(_paired(name, part, records[0]["text"], first, second))
    for kind, pairs in by_kind.items():
        Random(f"pairs/{part}/{kind}").shuffle(pairs)
    chosen = []
    while len(chosen) < number and any(by_kind.values()):
        chosen += [pairs.pop() for _, pairs in sorted(by_kind.items()) if pairs]
    chosen = sorted(chosen[:number], key=lambda one: (one["kind"], one["row"], one["first"]["condition"]))
    lines = [json.dumps(one, ensure_ascii=False) for one in chosen]
    out.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _paired(name: str, part: str, question: str, first: dict, second: dict) -> dict:
    sides = [{key: reply[key] for key in ("condition", "text", "reply", "cut")} for reply in (first, second)]
    return {
        "set": part, "kind": first["kind"], "model": MODEL, "row": name, "instruction": first["instruction"],
        "question": question, "first": sides[0], "second": sides[1],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["ask", "pair"])
    parser.add_argument("replies", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--tickets", type=Path, default=Path("examples/tickets/tickets.csv"))
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--part", choices=["tuning", "read"], default="read")
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    if options.action == "ask":
        ask(options.replies, options.tickets, options.seconds)
    else:
        pair(options.replies, options.out, options.part, options.pairs)
