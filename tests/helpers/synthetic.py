"""A run that never happened: seeded outcomes with known effects, in the form of samples.jsonl."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.runs.samples import Sample

NAMES = ("Tom", "Mia", "Ben", "Zoe", "Ali")
CORRECTING = ("unicode_fold", "correct_only", "rop")
LOSS = {"ec": 0.3, "sc": 0.25, "woo": 0.1, "hw": 0.2, "uic": 0.4}
KEPT = {"stand": 1.0, "zero_shot_cot": 0.9, "unicode_fold": 0.8, "guide_only": 0.8, "correct_only": 0.5, "rop": 0.3}


def rows(
    questions: int = 100,
    arms: Sequence[str] = ("stand", "correct_only", "guide_only", "rop"),
    conditions: Sequence[str] = tuple(LOSS),
    *,
    clean: float = 0.7,
    loss: Mapping[str, float] = LOSS,
    kept: Mapping[str, float] = KEPT,
    draws: int = 1,
    per_template: int = 1,
    replicate: float | None = None,
    holdout: bool = False,
    search_seeds: int = 1,
    seed: int = 1,
) -> list[dict[str, Any]]:
    """Outcome lines. Each arm loses `loss[condition] * kept[arm]` of its right answers to noise.

    `replicate` is the flip rate of a second clean pass.
    """
    rng = random.Random(seed)
    out = []
    for i in range(questions):
        a, b, name = rng.randint(2, 60), rng.randint(2, 60), NAMES[i % len(NAMES)]
        story = f"{name} has {a} red marbles and buys {b} blue marbles at the market."
        text = f"{story} How many marbles does {name} have now?"
        question = {"id": f"q{i:05d}", "cluster": f"t{i // per_template}", "text": text, "gold": str(a + b)}
        able = rng.random() < clean
        for arm in arms:
            for condition in ["clean", *(["clean#2"] if replicate is not None else []), *conditions]:
                outs = [None, *conditions] if holdout and arm == "rop" else [None]
                for draw in range(1 if condition.startswith("clean") else draws):
                    for out_kind in outs:
                        for search_seed in range(search_seeds if arm in ("correct_only", "guide_only", "rop") else 1):
                            rate = _rate(condition, loss) * kept.get(arm, 1.0) * (1.5 if out_kind == condition else 1)
                            if condition == "clean#2":
                                rate = replicate or 0.0
                            right = able if rng.random() >= rate else not able if condition == "clean#2" else False
                            meta: dict[str, Any] = {"search_seed": search_seed} if search_seed else {}
                            if out_kind:
                                meta["holdout"] = out_kind
                            out.append(_row(rng, question, arm, condition, draw, right, meta))
    return out


def samples(*args: Any, **kwargs: Any) -> list[Sample]:
    """The same as samples."""
    return [Sample.from_row(row) for row in rows(*args, **kwargs)]


def write_run(folder: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    """A run folder with these lines in its journal."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def _rate(condition: str, loss: Mapping[str, float]) -> float:
    operator, _, strength = condition.partition("@")
    return loss.get(operator, 0.0) * (float(strength) / 0.3 if strength else 1.0)


def _row(
    rng: random.Random, question: dict[str, str], arm: str, condition: str, draw: int, right: bool, meta: dict[str, Any]
) -> dict[str, Any]:
    clean = question["text"]
    noisy = clean if condition.startswith("clean") else _scramble(rng, clean)
    corrected = fallback = None
    calls = []
    if arm in CORRECTING:
        corrected = clean if rng.random() < 0.8 else _scramble(rng, clean)
        fallback = "numbers" if rng.random() < 0.05 else None
        calls.append(_call("correct", noisy, corrected, rng))
    cut = rng.random() < 0.02
    parsed = question["gold"] if right else (None if cut else str(int(question["gold"]) + 1))
    calls.append(_call("answer", corrected or noisy, f"The answer is {parsed}" if parsed else "Let us think", rng))
    ident = (arm, condition, str(draw), *map(str, meta.values()), question["id"])
    return {
        "kind": "outcome",
        "key": "/".join(ident),
        "question_id": question["id"],
        "cluster_id": question["cluster"],
        "condition": condition,
        "arm": arm,
        "draw": draw,
        "parsed": parsed,
        "correct": right,
        "gold": question["gold"],
        "usage": {"prompt": 40 * len(calls), "completion": 30 * len(calls), "cached": 16},
        "cut": cut,
        "corrected_text": corrected,
        "fallback": fallback,
        "error": None,
        "meta": meta,
        "question": clean,
        "text": noisy,
        "question_kind": "numeric",
        "options": [],
        "edits": [],
        "strength": {"words": 0.0 if noisy == clean else 0.3, "chars": 0.1},
        "rejected": None,
        "calls": calls,
    }


def _call(purpose: str, asked: str, said: str, rng: random.Random) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "messages": [{"role": "user", "content": f"Answer the question.\n\n{asked}"}],
        "reply": {"text": said, "usage": [40, 30, 16], "finish_reason": "stop"},
        "cached": False,
        "seconds": round(rng.uniform(0.1, 0.4), 4),
    }


def _scramble(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    for i, word in enumerate(words):
        if word.isalpha() and len(word) > 3 and rng.random() < 0.5:
            words[i] = word[0] + "".join(rng.sample(word[1:-1], len(word) - 2)) + word[-1]
    return " ".join(words)
