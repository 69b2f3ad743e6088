"""report.html: one file that holds its data, its style and its script, and loads nothing.

Questions and replies are data: they stand as JSON in a script element that no browser runs, every "<" escaped, and the
page's own script puts them on the screen as text only. A content security policy allows no other script or address.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from llmkit import __version__
from llmkit.conditions import Condition
from llmkit.errors import DataError
from llmkit.measure.cells import STAND, Cells, pair_key
from llmkit.measure.restoration import squash
from llmkit.measure.results import GateResult
from llmkit.parsing import parse_json
from llmkit.report.terminal import headlines, notes
from llmkit.rop.instructions import shown
from llmkit.runs.samples import Sample, recipe_of
from llmkit.secrets import scrub
from llmkit.types import CLEAN

FLAGS = {
    name: 1 << place
    for place, name in enumerate(
        (
            "right",
            "unparsed",
            "cut",
            "error",
            "right_to_wrong",
            "wrong_to_right",
            "over_corrected",
            "won",
            "lost",
            "fallback",
        )
    )
}
_LONGEST = 20_000  # characters shown of one text; a reply rarely has a tenth of it
_HERE = Path(__file__).parent


def page(
    samples: Sequence[Sample], metrics: Mapping[str, Any], facts: Mapping[str, Any], gates: Sequence[GateResult] = ()
) -> str:
    """The whole page. `facts` is what `facts(folder)` gives."""
    data = {
        "metrics": metrics,
        "facts": facts,
        "gates": [g.as_dict() for g in gates],
        "notes": [*headlines(metrics), *notes(metrics)],
        "browser": browser(samples),
    }
    style, charts, questions = (
        (_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js", "browser.js")
    )
    script = charts + questions
    parts = {
        "title": escape(f"{facts['title']} · llmkit"),
        "version": escape(__version__),
        "style-hash": _digest(style),
        "script-hash": _digest(script),
        "style": style,
        "script": script,
        "data": embedded(data),
    }
    pieces = (_HERE / "page.html").read_text(encoding="utf-8").split("@")
    return "".join(parts.get(piece, piece) if i % 2 else piece for i, piece in enumerate(pieces))


def embedded(data: Any) -> str:
    """JSON that can stand in a script element: no "<"."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def browser(samples: Sequence[Sample]) -> dict[str, Any]:
    """Every answer in a compact form: texts once, answers as rows.

    A row is [question, condition, arm, text or -1 for the clean one, flags, parsed, corrected, reply, note].
    """
    cells = Cells(samples)
    right = {
        (s.outcome.arm, s.outcome.condition, s.outcome.meta.get("holdout"), *pair_key(s)): s.outcome.correct
        for s in samples
    }
    questions: dict[str, int] = {}
    texts: dict[str, int] = {}
    shown: list[list[str]] = []
    rows = []
    place = {c: i for i, c in enumerate(cells.conditions)}
    ordered = sorted(samples, key=lambda s: (s.outcome.question_id, place[s.outcome.condition], *pair_key(s)[1:]))
    arms = {arm: i for i, arm in enumerate(cells.arms)}
    for sample in ordered:
        o = sample.outcome
        if o.question_id not in questions:
            questions[o.question_id] = len(shown)
            shown.append([o.question_id, _cut(sample.question), o.gold])
        asked = -1 if sample.text == sample.question else texts.setdefault(_cut(sample.text), len(texts))
        corrected = None if o.corrected_text is None else _cut(o.corrected_text)
        reply = sample.said("")
        rows.append(
            [
                questions[o.question_id],
                place[o.condition],
                arms[o.arm],
                asked,
                _flags(sample, right),
                o.parsed,
                corrected,
                _cut(reply) if reply else None,
                _note(sample),
            ]
        )
    return {
        "arms": cells.arms,
        "conditions": cells.conditions,
        "questions": shown,
        "texts": list(texts),
        "rows": rows,
        "flags": FLAGS,
    }


def facts(folder: Path) -> dict[str, Any]:
    """Returns what a run folder's files say of the run: title, rows of facts, and the instructions that it used.

    DataError where they say it in no form that llmkit writes.
    """
    try:
        return _facts(folder)
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = f"{folder}: env.json, run.json, instructions.json or recipe.resolved.yaml was changed"
        raise DataError(problem, "the same llmkit command writes them again") from None


def _facts(folder: Path) -> dict[str, Any]:
    recipe, environment = recipe_of(folder), _json(folder / "env.json")
    written = _json(folder / "instructions.json")
    told = written.get("instructions") or []
    ran = _json(folder / "run.json")  # what `auto` stood for

    def of(*path: str) -> Any:
        value: Any = recipe
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    task = of("data", "task") or Path(str(of("data", "path") or folder.name)).stem
    model = of("model", "path")
    packages, hardware = (environment.get(key) or {} for key in ("packages", "hardware"))
    limit = f"limit {of('data', 'limit')}" if of("data", "limit") else None
    rows = {
        "Run": folder.name,
        "Model": model,
        "Revision": of("model", "revision"),
        "Adapter": of("model", "adapter"),
        "Engine": _joined(ran.get("engine") or of("engine", "kind"), ran.get("dtype") or of("engine", "dtype")),
        "Questions": _joined(task, of("data", "split"), limit),
        "Rows set aside": ", ".join(f"{count} in {split}" for split, count in (ran.get("set_aside") or {}).items()),
        "Noise": _joined(_listed(of("perturb", "conditions")), f"rate {_listed(of('perturb', 'rate'))}"),
        "Seed": of("seed"),
        "Instructions from": of("rop", "instructions"),
        "Instructions found with": written.get("model") if written.get("used_by") else None,
        "Optimizer": of("rop", "optimizer"),
        "Corrector": of("rop", "corrector"),
        "llmkit": environment.get("llmkit"),
        "Python": environment.get("python"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Hardware": _joined(hardware.get("cpu"), *hardware.get("gpus", [])),
    }
    instructions = [
        {
            "name": _joined(
                stage.capitalize(), f"tuned on {i.get('trained_on')}", f"search {i.get('seed', 0)}", search.get("why")
            ),
            "text": search["best"] or shown(search["best"]),
        }
        for i in told
        for stage in ("correction", "guidance")
        if "best" in (search := i.get(stage) or {})
    ]
    return {
        "title": f"{task}, asked of {Path(model).name}" if model else task,
        "kicker": f"llmkit run {folder.name}",
        "rows": [[name, str(value)] for name, value in rows.items() if value not in (None, "", [])],
        "instructions": instructions,
    }


def _flags(sample: Sample, right: Mapping[tuple, bool]) -> int:
    o = sample.outcome
    question, draw, seed = pair_key(sample)

    def same(arm: str, condition: str, out: str | None) -> bool | None:
        """The verdict this answer is paired with."""
        keys = ((draw, seed), (draw, 0), (0, seed), (0, 0))
        return next((right[k] for d, s in keys if (k := (arm, condition, out, question, d, s)) in right), None)

    on_clean = same(o.arm, CLEAN, o.meta.get("holdout")) if Condition.parse(o.condition).noisy else None
    stand = same(STAND, o.condition, None) if o.arm != STAND else None
    named = {
        "right": o.correct,
        "unparsed": o.parsed is None and o.error is None,
        "cut": o.cut,
        "error": o.error is not None,
        "right_to_wrong": on_clean is True and not o.correct,
        "wrong_to_right": on_clean is False and o.correct,
        "over_corrected": Condition.parse(o.condition).clean
        and o.corrected_text is not None
        and squash(o.corrected_text) != squash(sample.question),
        "won": stand is False and o.correct,
        "lost": stand is True and not o.correct,
        "fallback": o.fallback is not None,
    }
    return sum(FLAGS[name] for name, on in named.items() if on)


def _note(sample: Sample) -> str | None:
    o = sample.outcome
    seed, out = o.meta.get("search_seed"), o.meta.get("holdout")
    said = [
        f"draw {o.draw + 1}" if o.draw else None,
        f"search seed {seed}" if seed else None,
        f"tuned without {out}" if out else None,
        f"correction not used: {o.fallback}" if o.fallback else None,
        f"failed: {scrub(o.error)}" if o.error else None,
        f"left unchanged: {sample.rejected}" if sample.rejected else None,
    ]
    return "; ".join(part for part in said if part) or None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(path: Path) -> Mapping[str, Any]:
    """A file's content, or nothing: a report is still of use without one of a run's records."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _joined(*parts: Any) -> str:
    return " · ".join(str(part) for part in parts if part)
