"""What TalkLoRA learns beside LoRA, MoELoRA and its own ablations, and what noise in training buys.

    python benchmarks/learning.py --part grid --minutes 8
    python benchmarks/learning.py --part robust --minutes 8
    python benchmarks/learning.py --part commonsense --data-dir DIR --minutes 8

Each cell is a training on the bundled SmolLM2-135M followed by greedy answers, in float32 on a CPU; all cells of a
part take the same rows in the same order and as many steps. Cells that are in the result file are skipped, so the
same command goes on where it stopped; `--minutes` is when no new cell is begun. Seeds come in order, so that what has
run so far is a comparison too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

from llmkit.finetune import finetune
from llmkit.finetune.rows import ask
from llmkit.perturb import make_variants
from llmkit.recipe import load
from llmkit.recipe.schema import EngineSection, ModelSection, PerturbSection
from llmkit.tasks import extract, score
from llmkit.tasks import load as load_questions
from llmkit.types import CLEAN, Message, Request, Sampling

KINDS = ("ec", "sc", "woo", "hw", "uic")
COMMON = {
    "data.task": "arithmetic",
    "data.levels": [1],
    "data.size": 400,
    "finetune.data.max_length": 320,
    "finetune.data.dev_limit": 32,
    "finetune.train.eval_every": 1000,
    "finetune.optim.schedule": "cosine",
    "finetune.optim.batch_size": 8,
    "finetune.optim.max_steps": 30,
}
OFF = {"finetune.options": {"talk": "off"}}
# Name: what differs. LoRA's learning rate was tuned first (the cells `lora, lr …`); all others use the best of them.
GRID = {
    "lora": {"finetune.method": "lora"},
    "moelora": {"finetune.method": "moelora"},
    "talklora": {},
    "(a) C = I, router start / sqrt 3": {"finetune.options": {"talk": "off", "router_init_scale": 3**-0.5}},
    "(b) C frozen at its random start": {"finetune.options": {"talk": "frozen"}},
    "(c) C = I, router lr x 10": {**OFF, "finetune.optim.router_lr": 10.0},
    "(d) moelora with shared B": {"finetune.method": "moelora", "finetune.options": {"share_B": True}},
    "(e) no router, shared B": {"finetune.options": {"talk": "off", "router_input": "none"}},
}
RATES = (5e-4, 1e-3, 2e-3)
NOISE = {"finetune.robust.share": 1.0, "finetune.robust.rate": 0.3}
ROBUST = {
    "clean": {},
    "augmented": {**NOISE, "finetune.robust.share": 0.5},
    "pairs": {**NOISE, "finetune.robust.objective": "pairs"},
    "consistency": {**NOISE, "finetune.robust.objective": "consistency"},
    "r-drop": {**NOISE, "finetune.robust.objective": "rdrop", "finetune.dropout": 0.1},
}


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, p = 1.959964, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def answers(recipe, adapter: str | None, questions: int, conditions: tuple[str, ...]) -> dict[str, list[bool]]:
    """Right or wrong for each test question, by condition: one engine, greedy."""
    from llmkit.engines import open_engine

    asked = load_questions(recipe.data.model_copy(update={"limit": questions}), "test", recipe.seed)
    variants = list(make_variants(asked, PerturbSection(conditions=conditions, rate=0.3), recipe.seed))
    kept = [v for v in variants if v.condition == CLEAN or v.condition in conditions]
    model = ModelSection(path=recipe.model.path, adapter=adapter)
    engine = open_engine(model, EngineSection(max_model_len=512, max_num_seqs=64))
    for number, variant in enumerate(kept):
        prompt = Message("user", ask(variant.question, variant.text))
        engine.submit(number, Request((prompt,), Sampling(max_tokens=64)))
    marks: dict[str, list[bool]] = {}
    for number, reply in engine.drain():
        variant = kept[number]
        right = score(extract(reply.text, variant.question), variant.question)
        marks.setdefault(variant.condition, []).append(right)
    engine.close()
    return marks


def cell(name: str, overrides: dict, seed: int, out: Path, questions: int, conditions: tuple[str, ...]) -> dict:
    recipe = load("base/smollm2", {**COMMON, **overrides, "seed": seed, "output.dir": str(out)})
    began = time.monotonic()
    result = finetune(recipe)
    trained = time.monotonic() - began
    marks = answers(recipe.recipe, str(result.adapter), questions, conditions)
    keys = ("dev_loss", "train_loss", "trainable_parameters", "routing", "steps")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "train_minutes": round(trained / 60, 1),
        **{key: result.metrics[key] for key in keys},
        "right": {condition: sum(row) for condition, row in marks.items()},
        "asked": {condition: len(row) for condition, row in marks.items()},
    }


def cells(part: str, done: dict, data_dir: str | None, seeds: int) -> dict[str, tuple[dict, int]]:
    """Every cell of a part by name: what differs, and its seed."""
    if part == "commonsense":
        tasks = [{"task": task} for task in ("openbookqa", "arc_easy", "arc_challenge")]
        common = {"data.task": "openbookqa", "data.data_dir": data_dir, "finetune.data.sources": tasks}
        best = {"finetune.optim.lr": rate(done)}
        return {
            f"commonsense {method}, seed {seed}": ({**common, **best, "finetune.method": method}, seed)
            for seed in range(seeds)
            for method in ("lora", "talklora")
        }
    if part == "robust":
        best = {"finetune.optim.lr": rate(done), "finetune.method": "lora"}
        return {
            f"robust {name}, seed {seed}": ({**best, **overrides}, seed)
            for seed in range(seeds)
            for name, overrides in ROBUST.items()
        }
    tuned = {f"lora, lr {lr:g}": ({"finetune.method": "lora", "finetune.optim.lr": lr}, 0) for lr in RATES}
    if not all(name in done for name in tuned):
        return tuned
    made = {}
    for seed in range(seeds):
        for name, overrides in GRID.items():
            settings = {"finetune.optim.lr": rate(done), **overrides}
            if "finetune.optim.router_lr" in settings:
                settings["finetune.optim.router_lr"] = 10 * rate(done)
            made[f"{name}, seed {seed}"] = (settings, seed)
    return {**tuned, **made}


def rate(done: dict) -> float:
    """The learning rate of the LoRA with the lowest dev loss."""
    known = {lr: done[f"lora, lr {lr:g}"]["dev_loss"] for lr in RATES if f"lora, lr {lr:g}" in done}
    return min(known, key=known.get) if known else RATES[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("grid", "robust", "commonsense"), default="grid")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--data-dir")
    parser.add_argument("--runs", type=Path, default=Path("runs/learning"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/learning.json"))
    args = parser.parse_args()
    began = time.monotonic()
    conditions = KINDS if args.part == "robust" else ()
    while True:
        done = json.loads(args.out.read_text()) if args.out.exists() else {}
        wanted = cells(args.part, done, args.data_dir, args.seeds)
        left = [name for name in wanted if name not in done]
        if not left or time.monotonic() - began > 60 * args.minutes:
            break
        overrides, seed = wanted[left[0]]
        done[left[0]] = cell(left[0], overrides, seed, args.runs, args.questions, conditions)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(done, indent=1) + "\n")
    for name in wanted:
        if name in done:
            row = done[name]
            shares = ", ".join(
                f"{condition} {row['right'][condition] / n:.1%} [{lo:.1%}, {hi:.1%}]"
                for condition, n in row["asked"].items()
                for lo, hi in [wilson(row["right"][condition], n)]
            )
            print(f"{name:46s} dev loss {row['dev_loss']:.4f}  {shares}  ({row['minutes']} min)")
    if left:
        print(f"{len(left)} cells left")


if __name__ == "__main__":
    main()
