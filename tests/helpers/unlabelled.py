"""Rows without answers: samples of made-up replies, and a file of tickets with the recipe that it stands for."""

from __future__ import annotations

import csv

from llmkit.cli import rows
from llmkit.measure import metrics
from llmkit.measure.stability import ASSUMED
from llmkit.recipe.schema import EvalSection, IntervalSection
from llmkit.runs.samples import Sample
from llmkit.types import Outcome

FAST = EvalSection(interval=IntervalSection(draws=200))
LABELS = ("A", "B", "C")
CONDITIONS = ("clean", "clean#2", "typing", "typing#2")


def answer(row, condition, said, *, arm="stand", kind="choice", cluster="", failed=False, draw=0):
    """A sample as the journal has it: `said` is the reply, and of labels the parsed answer."""
    parsed = None if failed else said
    outcome = Outcome(
        f"r{row}",
        cluster or f"r{row}",
        condition,
        arm,
        draw,
        parsed,
        None,
        None,
        error="no answer" if failed else None,
    )
    noisy = condition.startswith("typing")
    options = LABELS if kind == "choice" else ()
    return Sample(outcome, f"text {row}", f"txet {row}" if noisy else f"text {row}", options, kind=kind, reply=said)


def measured(samples, assumed=ASSUMED, section=FAST):
    return metrics(samples, section, 7, None, assumed)


def run(*rows, arm="stand", kind="choice"):
    """Samples of rows given as the answers under the four conditions, or under the first few of them."""
    return [
        answer(i, condition, said, arm=arm, kind=kind, failed=said is None)
        for i, row in enumerate(rows)
        for condition, said in zip(CONDITIONS, row, strict=False)
    ]


def repaired(stand_sent, stand_noisy, arm_noisy, arm_sent=None):
    said = {("stand", "clean"): stand_sent, ("stand", "typing"): stand_noisy}
    said |= {("spell_fix", "clean"): arm_sent or stand_sent, ("spell_fix", "typing"): arm_noisy}
    return [
        answer(i, condition, row or "", arm=arm, failed=row == ".")
        for (arm, condition), rows in said.items()
        for i, row in enumerate(rows)
    ]


TICKETS = [
    "My parcel has not arrived since Monday, please help me to find it",
    "I was charged twice for the blue jacket that I ordered last week",
    "How can I change the address of my order before it is sent",
    "The zipper of the bag is broken and I would like another one",
]


def write_tickets(folder, texts=TICKETS, **columns):
    """Writes rows to tickets.csv, by default the four above; returns its path."""
    path = folder / "tickets.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["body", *columns])
        writer.writeheader()
        writer.writerows({"body": text, **{k: v[i] for k, v in columns.items()}} for i, text in enumerate(texts))
    return str(path)


def as_overrides(path, **more):
    """Returns the overrides that `llmkit eval PATH --field body` makes, with others over them."""
    made = {override.key: override.value for override in rows.defaults(path)}
    changed = {"data.question": "body", **{k.replace("__", "."): v for k, v in more.items()}}
    return {k.replace(".", "__"): v for k, v in {"data.task": None, "data.limit": None, **made, **changed}.items()}
