"""lm-evaluation-harness: any of its tasks on noisy text, and two files of its samples as paired statistics.

A noisy task is a YAML file that includes the original and has `process_docs: !function noise.process_docs`; `noise.py`
beside it makes that function with `noisy`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.integrations.copies import PERTURBATION, Copies, held_in, text_in
from llmkit.integrations.pairs import Paired, Score, pair
from llmkit.perturb.engine import PerturbationRecord
from llmkit.records import decode, json_lines

Docs = Any
"""Rows as lm-eval hands them over: a `datasets.Dataset`, or a list of dicts."""
Hook = Callable[[Docs], Docs]
Row = Mapping[str, Any]
"""A row of a task, or one of its samples."""

_ROW = "a row of the task"
_LOGGED = "run both tasks with `lm_eval run --log_samples --output_path FOLDER`"


def noisy(
    field: str | Sequence[str],
    noise: str,
    seed: int = 7,
    *,
    options: str | None = None,
    answer: str | None = None,
    process_docs: Hook | None = None,
) -> Hook:
    """Returns a `process_docs` hook that puts noise on a field of every row, or on several, and keeps its answer.

    `options` and `answer` name fields whose texts noise must neither change nor give away. `process_docs` is the hook
    of the original task, which an `include` would otherwise replace: it runs first. Each row gets a field
    `perturbation`, JSON with the original and the edits of each field. Equal texts get equal noise, whatever their
    order. The hook raises DataError for rows without these fields and for a split without rows.
    """
    fields = [field] if isinstance(field, str) else list(field)
    copies = Copies(noise, seed)

    def perturbed(row: Row) -> Row:
        new: dict[str, str] = {}
        records: dict[str, PerturbationRecord] = {}
        for name in fields:
            text = text_in(row, name, _ROW)
            new[name], records[name] = copies.of(text, text, _options(row, options), _answer(row, answer))
        return {**new, PERTURBATION: json.dumps(records, ensure_ascii=False)}

    def hook(docs: Docs) -> Docs:
        rows = process_docs(docs) if process_docs else docs
        if not len(rows):
            raise DataError("the task has no rows", "check its split, and what its own process_docs leaves")
        copies.fit(text_in(row, name, _ROW) for row in rows for name in fields)
        # A list stays one; of a Dataset nothing is kept on disk, where it would outlive this release's operators.
        if hasattr(rows, "map"):
            return rows.map(perturbed, load_from_cache_file=False, keep_in_memory=True)
        return [{**row, **perturbed(row)} for row in rows]

    return hook


def _options(row: Row, field: str | None) -> list[str]:
    """Returns the texts of a row's options: a list, or a dict with a list `text`, as ARC has them."""
    if field is None:
        return []
    held = held_in(row, field, _ROW)
    if isinstance(held, Mapping):
        held = held.get("text")
    if not isinstance(held, Sequence) or not all(isinstance(text, str) for text in held):
        raise DataError(f"{_ROW}: `{field}` holds no list of texts", "name the field of the options")
    return list(held)


def _answer(row: Row, field: str | None) -> str | None:
    return None if field is None else str(held_in(row, field, _ROW))


def paired(
    clean: Path | str,
    noisy: Path | str,
    metric: str | None = None,
    *,
    filter: str | None = None,
    cluster: str | None = None,
    level: float = 0.95,
) -> Paired:
    """Reads two `samples_*.jsonl` of lm-eval, of a task and of its noisy copy, and pairs them by `doc_id`.

    `metric` and `filter` name one of several (the first otherwise); `cluster` a field of the rows whose equal values
    are one unit, as questions of one template are. DataError where a file is not one, where the second is not a noisy
    copy of the first, or where they share no row; UsageError for a metric or filter that is not there.
    """
    first, second = _samples(Path(clean), filter), _samples(Path(noisy), filter)
    chosen = metric or next(iter(next(iter(first.values()))["metrics"]), "")
    shared = first.keys() & second.keys()
    changed = sum(_is_changed(first[id], second[id], Path(noisy)) for id in shared) / max(1, len(shared))
    before, after = ({id: _score(row, chosen, cluster) for id, row in side.items()} for side in (first, second))
    return pair(chosen, before, after, changed, level)


def _samples(path: Path, filter: str | None) -> dict[str, Row]:
    """Reads one file of samples by the id of their rows."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", _LOGGED)
    rows: dict[str, dict[str, Row]] = {}
    for place, row in json_lines(decode(path.read_bytes(), str(path)).split("\n"), str(path)):
        if isinstance(row, DataError):
            raise DataError(f"{place}: {row.message}", _LOGGED)
        if not (
            isinstance(row, dict)
            and "doc_id" in row
            and isinstance(row.get("doc"), dict)
            and isinstance(row.get("metrics"), list)
        ):
            raise DataError(f"{place}: not a sample of lm-eval", _LOGGED)
        rows.setdefault(str(row.get("filter", "none")), {})[str(row["doc_id"])] = row
    if not rows:
        raise DataError(f"{path} holds no samples", _LOGGED)
    if filter is not None and filter not in rows:
        raise UsageError(f"{path} has no filter `{filter}`", f"it has {', '.join(rows)}")
    return rows[filter] if filter is not None else next(iter(rows.values()))


def _is_changed(clean: Row, noisy: Row, path: Path) -> bool:
    """Returns whether noise changed a row. DataError where the noisy row is no copy of the clean one."""
    try:
        records = json.loads(noisy["doc"][PERTURBATION])
        originals = {field: record["original"] for field, record in records.items()}
    except (KeyError, TypeError, ValueError):
        hint = "give the clean samples first, then those of the task with `llmkit.integrations.lm_eval.noisy`"
        raise DataError(f"{path}: the row {noisy['doc_id']} has no record of noise", hint) from None
    if any(clean["doc"].get(field) != original for field, original in originals.items()):
        raise DataError(
            f"{path}: the row {noisy['doc_id']} is a noisy copy of another text than the clean row of this number",
            "run both tasks on the same split of the same data",
        )
    return any(noisy["doc"].get(field) != original for field, original in originals.items())


def _score(row: Row, metric: str, cluster: str | None) -> Score:
    if metric not in row["metrics"] or not isinstance(row.get(metric), int | float):
        known = [name for name in row["metrics"] if isinstance(row.get(name), int | float)]
        raise UsageError(f"no metric `{metric}` with one number for each row", f"there are {_listed(known)}")
    unit = str(row["doc_id"]) if cluster is None else str(row["doc"].get(cluster, row["doc_id"]))
    return Score(float(row[metric]), unit)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
