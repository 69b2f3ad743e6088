"""Writes the operators' sections of docs/perturb.md from what the operators really do; a test keeps them true.

python benchmarks/perturb_docs.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from llmkit.perturb import OPERATORS, Perturber
from llmkit.perturb.show import SAMPLE_SENTENCE, SAMPLES, coloured, sample_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "perturb.md"
BEGIN, END = "<!-- operators: written by benchmarks/perturb_docs.py -->\n", "<!-- end of operators -->\n"
LEVELS = {
    "character": "Characters",
    "word": "Words",
    "sentence": "Sentences",
    "file": "From elsewhere",
    "model": "Written or searched with a model",
}
RATE = 0.2
PAIR = {"original_question": SAMPLE_SENTENCE, "rewritten_question": SAMPLE_SENTENCE.replace("cheaper", "cheeper")}
FILES = {
    "file": json.dumps([PAIR]),
    "natural": "becuase\tbecause\nthier\ttheir\ncheepr\tcheaper\nmayn\tmany\n",
}


def sections() -> str:
    """One section per operator, by level: what it does, its source, its strength, and its output on one sentence."""
    out = [f"All examples: `{SAMPLE_SENTENCE}` at `--rate {RATE}`, seed 7, or the same in a language that is served.\n"]
    for level, title in LEVELS.items():
        out.append(f"### {title}\n")
        out += [_section(name) for name in OPERATORS if OPERATORS[name].level == level]
    return "\n".join(out)


def _section(name: str) -> str:
    op = OPERATORS[name]
    text, source = op.summary()
    spec = name if op.argument is None else f"{name}:{op.argument}"
    paper = f", `--rate paper` {op.paper_rate:g}" if op.paper_rate != op.default_rate else ""
    paper += " of 30 words" if paper and op.imitation else ""
    lines = [f"#### `{spec}`\n", f"{text}.", f"Source: {source}. Default strength {op.default_rate:g}{paper}.\n"]
    if not op.most_calls:
        lines.append(f"```text\n{_output(name, spec)}\n```\n")
    return "\n".join(lines)


def _output(name: str, spec: str) -> str:
    if name not in FILES:
        return _noisy(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"pairs.{'tsv' if name == 'natural' else 'json'}")
        path.write_text(FILES[name], encoding="utf-8")
        return _noisy(f"{name}:{path}", id=name)


def _noisy(spec: str, id: str = "example") -> str:
    """The first copy (of several ids) that the operator could make, with its differences marked."""
    text, _ = sample_of(spec) if OPERATORS[spec.partition(":")[0]].argument is None else (SAMPLE_SENTENCE, None)
    code = next(code for code, sample in SAMPLES.items() if sample == text)
    perturber = Perturber(spec, rate=RATE, seed=7, lang="" if code == "en" else code)
    perturber._base = 7  # a path in the spec must not change what the page shows
    if "contraction" in spec:
        text = SAMPLE_SENTENCE.replace("How", "It is not clear: how")
    made = perturber.apply(text, id)
    return coloured(made.text, perturber.record(text, made)["edits"], colour=False)


def page(text: str) -> str:
    """The page with its operators' sections written anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{sections()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
