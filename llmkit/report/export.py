"""A run's questions, clean and noisy, as tasks for lm-eval and Inspect, so that other tools can confirm its numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import DataError, UsageError
from llmkit.measure.cells import STAND, Cell, Cells
from llmkit.measure.changed import changed_by_noise
from llmkit.registry import unknown
from llmkit.runs import Run
from llmkit.runs.samples import Sample, named_apart
from llmkit.tasks import recorded_kind
from llmkit.terminal import json_text
from llmkit.types import Question

Format = Literal["lm-eval", "inspect"]
FORMATS: tuple[Format, ...] = ("lm-eval", "inspect")
_SETTINGS = ("json_schema", "tolerance", "any_order")  # of kinds of answer, which decide what is right
_EXPORTED = Path(__file__).parent / "exported"


def export(run: Path | str, form: str, out: Path | str | None = None, arm: str = STAND) -> list[Path]:
    """Writes what `arm` asked in a run, with its gold answers, as an lm-eval task folder or an Inspect task.

    The prompts are the run's own, word for word, its system prompt included; the other tool adds the chat template.
    `out` is RUN/lm-eval or RUN/inspect where it is not given. Returns the files. UsageError for an unknown format or
    arm, for an arm whose answer takes several requests, and for Inspect where a run was answered by likelihood;
    DataError for a run without prompts.
    """
    if form not in FORMATS:
        raise unknown("export format", form, FORMATS)
    source = Run(run)
    samples = [
        s for s in named_apart(source.samples()) if s.outcome.error is None and not s.outcome.meta.get("holdout")
    ]
    if any(s.hidden for s in samples):
        raise UsageError(f"`{run}` keeps no texts (output.texts)", "a run with output.texts: full can be exported")
    cells = Cells(samples)
    if arm not in cells.arms:
        raise unknown("arm in this run", arm, cells.arms)
    asked = [call for s in samples if s.outcome.arm == arm for call in s.calls]
    if form == "inspect" and any(call.get("continuation") is not None for call in asked):
        raise UsageError(
            f"`{run}` was answered by likelihood, and Inspect only generates: its task would ask without the options",
            "--format lm-eval compares the options as the run did",
        )
    folder = Path(out) if out else source.folder / form
    folder.mkdir(parents=True, exist_ok=True)
    system = source.system_prompt
    files: dict[str, str] = {}
    written = []
    for condition in cells.conditions:
        samples_of = cells.samples.get(Cell(arm, condition), ())
        group = sorted(samples_of, key=lambda s: (s.outcome.question_id, s.outcome.draw))
        if not group:
            continue
        name = f"{_slug(condition, files.values())}.jsonl"
        files[condition] = name
        lines = [json_text(_doc(s, system)) for s in group]
        written.append(_write(folder / name, "\n".join(lines) + "\n"))
    # The recipe of an earlier release may lack the keys.
    tokens = source.section("rop").get("max_tokens") or 256
    scorer = source.section("eval").get("scorer") or "answer"
    settings = {name: source.section("data").get(name) for name in _SETTINGS}
    answers = {name: value for name, value in settings.items() if value}
    if form == "inspect":
        task = _template("inspect_task.py.txt", scorer=scorer, answers=answers, max_tokens=tokens)
        written.append(_write(folder / "conditions.json", json.dumps(files, indent=2) + "\n"))
        return [*written, _write(folder / "task.py", task)]
    docs = {c: json.loads((folder / f).read_text(encoding="utf-8").splitlines()[0]) for c, f in files.items()}
    group_name = "llmkit_" + re.sub(r"\W+", "_", source.folder.resolve().name)
    tasks = {c: f"{group_name}_{Path(f).stem}" for c, f in files.items()}
    for condition, file in files.items():
        text = _lm_eval_task(tasks[condition], file, docs[condition], tokens)
        written.append(_write(folder / f"{Path(file).stem}.yaml", text))
    whole = [f"group: {group_name}", "task:", *(f"  - {task}" for task in tasks.values())]
    written.append(_write(folder / "all.yaml", "\n".join([*whole, ""])))
    return [*written, _write(folder / "utils.py", _template("lm_eval_utils.py.txt", scorer=scorer, answers=answers))]


def _doc(sample: Sample, system: str | None) -> dict[str, Any]:
    """Returns one question as the other tool sees it, after the run's system prompt where it brings none of its own."""
    o = sample.outcome
    asked = [call for call in sample.calls if call.get("purpose") in ("answer", "score")]
    if not asked:
        raise DataError(f"{o.question_id}: the run holds no prompt for it", "export a run that was made by llmkit")
    choices = [call["continuation"] for call in asked if call.get("continuation") is not None]
    if len(asked) > 1 and len(choices) < len(asked):
        raise UsageError(
            f"arm `{o.arm}` takes several requests for an answer, which one task cannot hold", "export `stand`"
        )
    try:
        messages = [{"role": m["role"], "content": m["content"]} for m in asked[-1]["messages"]]
    except (KeyError, TypeError):
        raise DataError(f"{o.question_id}: its prompt in samples.jsonl is damaged", "ask it again") from None
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system.strip()})
    doc = {
        "id": o.question_id,
        "draw": o.draw,
        "condition": o.condition,
        "text": sample.text,
        "changed": changed_by_noise(sample),
        "gold": o.gold,
        "kind": sample.kind,
        "options": list(sample.options),
        "labels": list(sample.labels),
        "messages": messages,
        "prompt": messages[-1]["content"],
        "system": "\n\n".join(m["content"] for m in messages[:-1]),
    }
    if choices:
        doc |= {"choices": choices, "gold_index": _gold_index(sample)}
    return doc


def _gold_index(sample: Sample) -> int:
    """Returns the place of the gold answer among the choices: (A) first, and "yes" before "no"."""
    o = sample.outcome
    gold = o.gold or ""
    kind = recorded_kind(sample.kind, gold, sample.options)
    question = Question(o.question_id, sample.question, gold, kind.name, sample.options)
    return [answer for answer, _ in kind.continuations(question)].index(kind.canonical(gold, sample.options))


def _lm_eval_task(name: str, file: str, doc: Mapping[str, Any], tokens: int) -> str:
    lines = [
        f"task: {name}",
        "custom_dataset: !function utils.dataset",
        "dataset_kwargs:",
        f"  file: {json.dumps(file)}",
        "test_split: test",
        "num_fewshot: 0",
        "doc_to_text: prompt",
    ]
    if doc["system"]:
        lines.append(f"description: {json.dumps(_literal(doc['system']))}")
    if "choices" in doc:
        lines += [
            "output_type: multiple_choice",
            "doc_to_choice: choices",
            "doc_to_target: gold_index",
            'target_delimiter: ""',
            "process_results: !function utils.likeliest",
        ]
    else:
        lines += [
            "output_type: generate_until",
            "doc_to_target: gold",
            "generation_kwargs:",
            "  until: []",
            "  do_sample: false",
            "  temperature: 0.0",
            f"  max_gen_toks: {tokens}",
            "process_results: !function utils.generated",
        ]
    lines += ["metric_list:", "  - metric: acc", "    aggregation: mean", "    higher_is_better: true", ""]
    return "\n".join(lines)


def _literal(text: str) -> str:
    """Returns a text that Jinja leaves as it is."""
    return "{{ " + json.dumps(text, ensure_ascii=True) + " }}"


def _template(file: str, **values: Any) -> str:
    """Returns a module of the other tool, with each @name@ replaced by its value as Python writes it."""
    text = (_EXPORTED / file).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", repr(value))
    return text


def _slug(condition: str, taken: Sequence[str] | Any) -> str:
    """Returns a name for files and tasks: ec@0.1 becomes ec_0p1."""
    slug = re.sub(r"\W+", "_", condition.replace(".", "p")).strip("_") or "condition"
    while f"{slug}.jsonl" in taken:
        slug += "_"
    return slug


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
