"""What llmkit adds to the engine's own time, its wall time beside lm-eval's, and a rerun in which all is known.

    python benchmarks/eval.py [--part overhead|lm-eval|rerun] [--data-dir DIR] [--model smollm2-135m] [--dtype float32]

overhead: from engine ready (what to ask is planned by then) to report written, over vLLM's own time for the same
requests, all added at once. Both use the same engine in turn, its prefix cache emptied before each.
lm-eval: whole processes, the same GSM8K prompts (llmkit's export), token limit, dtype and batch.
rerun: the same command again, 10,008 outcomes; from the run's own journal, and from the response cache in a new folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llmkit import evaluate
from llmkit.engines import ENGINES, EngineIdentity, open_engine, resolve_model
from llmkit.recipe import load
from llmkit.report.export import export
from llmkit.types import Message, Reply, Request, Sampling, Usage

# lm-eval asks for the version of a package called `vllm`; the CPU build goes by another name.
LM_EVAL = """
import importlib.metadata as metadata
from llmkit.engines.hardware import vllm_version
theirs = metadata.version
metadata.version = lambda name: vllm_version() if name == "vllm" else theirs(name)
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""


class Open:
    """An engine that stays open between runs, and remembers when it was opened and what it was asked."""

    kind = "open"
    identity_is_local = True
    canary = None

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.identity, self.capabilities = engine.identity, engine.capabilities
        self.asked: list[Any] = []
        self.began = _now()

    def submit(self, key: Any, request: Any) -> None:
        self.asked.append(request)
        self.engine.submit(key, request)

    def drain(self) -> Any:
        return self.engine.drain()

    def close(self) -> None:
        pass


def overhead(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Both ways in turn, on two-stage arms and on one-stage arms."""
    engine = open_engine(
        *(getattr(load(None, {"model.path": args.model, **_engine(args)}).recipe, part) for part in ("model", "engine"))
    )
    engine.submit(0, Request((Message("user", "Hello"),), Sampling(max_tokens=4)))
    list(engine.drain())  # it has started
    instructions = out / "instructions.json"
    instructions.write_text('{"correction": "Correct the text.", "guidance": "Solve it step by step."}')
    ran: list[Open] = []

    @ENGINES.add(Open.kind)
    class Reopened(Open):
        def __init__(self, model: Any, section: Any) -> None:
            super().__init__(engine)
            ran.append(self)

    rows = {}
    for name, arms in (("one stage", ["stand", "zero_shot_cot"]), ("two stages", ["stand", "correct_only", "rop"])):
        whole, raw = [], []
        for round_ in range(args.rounds):
            ran.clear()
            recipe = load(
                None,
                {
                    "model.path": args.model,
                    **_engine(args, "open"),
                    "data.task": "arithmetic",
                    "data.limit": args.limit,
                    "rop.arms": arms,
                    "rop.instructions": str(instructions),
                    "rop.max_tokens": 32,
                    "rop.correction_max_tokens": 64,
                    "output.dir": str(out),
                    "output.name": f"{name.replace(' ', '-')}-{round_}",
                },
            )
            _empty(engine)
            evaluate.run(recipe, "rop", use_cache=False, quiet=True)
            whole.append(_since(ran[0].began))
            raw.append(_alone(engine, ran[0].asked))
        ratios = [statistics.median(w[i] / r[i] for w, r in zip(whole, raw, strict=True)) for i in (0, 1)]
        rows[name] = {
            "requests": len(ran[0].asked),
            "clock_and_processor_s": {"llmkit": whole, "engine": raw},
            "ratios": [round(r, 3) for r in ratios],
            "prefix_cache": round(_prefix_cached(out, name, args.rounds - 1), 3),
        }
    engine.close()
    return rows


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds on the clock and of this process's processor time."""
    clock, processor = (round(b - a, 2) for a, b in zip(began, _now(), strict=True))
    return clock, processor


def _alone(engine: Any, requests: list[Any]) -> tuple[float, float]:
    """What vLLM needs for these requests, tokenized before and all added at once."""
    prompts = [engine._renderer.prompt(r) for r in requests]
    llm = engine._engine
    _empty(engine)
    began = _now()
    for i, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        params = engine._params(request, prompt, False)
        llm.add_request(f"raw-{i}", {"prompt_token_ids": prompt.ids + prompt.continuation}, params)
    while llm.has_unfinished_requests():
        llm.step()
    return _since(began)


def _empty(engine: Any) -> None:
    if engine._engine is not None:
        engine._engine.reset_prefix_cache()


def _prefix_cached(out: Path, name: str, round_: int) -> float:
    folder = next(out.glob(f"{name.replace(' ', '-')}-{round_}-*"))
    metrics = json.loads((folder / "metrics.json").read_text())
    prompt = sum(
        c["tokens"]["prompt"] for a in metrics["arms"].values() for n, c in a["conditions"].items() if n != "noisy"
    )
    return sum(c["prefix_cached_tokens"] for a in metrics["timing"].values() for c in a.values()) / prompt


def _engine(args: argparse.Namespace, kind: str = "vllm") -> dict[str, Any]:
    return {"engine.kind": kind, "engine.dtype": args.dtype, "engine.max_model_len": 1024}


def lm_eval(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Whole processes, the same prompts and limits."""
    model = resolve_model(args.model)
    limits = (
        f"dtype={args.dtype},max_model_len=1024,max_num_seqs={args.seqs},kv_cache_memory_bytes={2**30},block_size=32"
    )
    env = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "1", "LLMKIT_DATA_DIR": args.data_dir}
    ours, theirs = [], []
    for round_ in range(args.rounds):
        name = f"gsm8k-{round_}"
        flags = ["--model", args.model, "--engine", "vllm", "--dtype", args.dtype, "--task", "gsm8k", "--no-cache"]
        sets = ["perturb.conditions=[]", "rop.max_tokens=160", "engine.max_model_len=1024"]
        sets.append(f"engine.max_num_seqs={args.seqs}")
        sets = [word for s in sets for word in ("--set", s)]
        command = [sys.executable, "-m", "llmkit", "--quiet", "eval", *flags, *sets, "--limit", str(args.questions)]
        ours.append(_timed([*command, "--dir", str(out), "--name", name], env))
        folder = next(out.glob(f"{name}-*"))
        export(folder, "lm-eval", out / "tasks")
        group = "llmkit_" + folder.name.replace("-", "_")
        command = [sys.executable, "-c", LM_EVAL, "run", "--model", "vllm", "--apply_chat_template", "--tasks", group]
        command += ["--include_path", str(out / "tasks"), "--batch_size", "auto"]
        theirs.append(_timed([*command, "--model_args", f"pretrained={model},{limits},enforce_eager=True"], env))
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
    return {
        "questions": args.questions,
        "clock_and_processor_s": {"llmkit": ours, "lm-eval": theirs},
        "ratio": round(ratio, 3),
    }


def _timed(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Seconds on the clock and of processor time that a process takes."""
    began, used = time.perf_counter(), _children()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return round(time.perf_counter() - began, 2), round(_children() - used, 2)


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


@ENGINES.add("scripted")
class Scripted:
    """Answers everything at once."""

    kind = "scripted"
    identity_is_local = True
    canary = None
    identity = EngineIdentity(kind="scripted", version="1", model="scripted", revision="0")
    capabilities: frozenset[str] = frozenset()

    def __init__(self, model: Any, section: Any) -> None:
        self.pending: list[Any] = []

    def submit(self, key: Any, request: Any) -> None:
        self.pending.append(key)

    def drain(self) -> Any:
        while self.pending:
            yield self.pending.pop(), Reply("2 and 2 make 4. The answer is 4.", usage=Usage(80, 12))

    def close(self) -> None:
        pass


def scripted_run(out: Path, name: str) -> None:
    """10,008 outcomes: 834 questions, clean and under five kinds of noise, put in two ways."""
    keys = {"model.path": "scripted", "engine.kind": "scripted", "data.task": "arithmetic", "data.limit": 834}
    keys |= {"output.dir": str(out), "output.name": name, "eval.arms": ["stand", "zero_shot_cot"]}
    evaluate.run(load(None, keys), "eval", quiet=True)


def rerun(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Whole processes: asked, again in the same folder, and in another folder."""
    env = os.environ | {"LLMKIT_CACHE": str(out / "cache")}
    seconds = {
        what: _timed([sys.executable, __file__, "--scripted", str(out / "runs"), name], env)
        for what, name in (("asked", "a"), ("from its journal", "a"), ("from the cache", "b"))
    }
    lines = next((out / "runs").glob("a-*/samples.jsonl")).read_text().count("\n")
    return {"outcomes": lines, "clock_and_processor_s": seconds}


PARTS = {"overhead": overhead, "lm-eval": lm_eval, "rerun": rerun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--data-dir", default=os.environ.get("LLMKIT_DATA_DIR", "data"))
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--questions", type=int, default=128, help="of GSM8K, beside lm-eval")
    parser.add_argument("--seqs", type=int, default=64, help="sequences at once, beside lm-eval")
    parser.add_argument("--limit", type=int, default=6, help="questions of the part overhead")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scripted", nargs=2, metavar=("DIR", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.scripted:
        return scripted_run(Path(args.scripted[0]), args.scripted[1])
    for part in args.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({part: PARTS[part](args, Path(folder))}, indent=2), flush=True)
    return None


if __name__ == "__main__":
    main()
