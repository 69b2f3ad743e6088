"""The stored run that a run is compared with (`eval.baseline`): a run folder, or a baseline.json made of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import llmkit
from llmkit.errors import DataError
from llmkit.files import text_digest
from llmkit.measure import flags, looks
from llmkit.measure.baseline import ID_BYTES, SAID_BYTES, TEXT_BYTES, BaselineFile, CellAnswers, read
from llmkit.measure.compared import failed, signature
from llmkit.measure.packed import pack_digests, pack_flags, short_digest
from llmkit.measure.results import Metrics
from llmkit.measure.settings import differences, digest, settings
from llmkit.measure.stability import unlabelled
from llmkit.recipe import Recipe, load
from llmkit.runs import Run
from llmkit.runs.generations import mixed
from llmkit.runs.samples import Hidden, Sample
from llmkit.types import CLEAN, Outcome

_SENT = "sent"
"""The journal key of every answer to a row as sent, in the answers of a file."""

_STORED = "stored"
"""The policy of replies of which a file holds a digest only."""

CellKey = tuple[str, str, str, int, int, str]


def check(recipe: Recipe) -> None:
    """Raises DataError where the stored run that a recipe names cannot be read, must not be compared with, or is of
    another recipe. A recipe without one passes."""
    if recipe.eval.baseline is None:
        return
    path = Path(recipe.eval.baseline)
    if path.is_file():
        _refuse_other(path, read(path), recipe)
        return
    if not path.exists():
        raise DataError(
            f"no run folder and no file `{path}` to compare with",
            "`llmkit runs baseline RUN -o FILE` makes a file of a finished run",
        )
    Run(path).samples()
    refuse(Run(path))


def answers(recipe: Recipe, now: Sequence[Sample]) -> list[Sample] | None:
    """Returns the stored answers to the rows of a run; None where its recipe names no stored run."""
    if recipe.eval.baseline is None:
        return None
    path = Path(recipe.eval.baseline)
    if not path.is_file():
        return list(Run(path).samples())
    stored = read(path)
    _refuse_other(path, stored, recipe)
    return samples(stored, now)


def marked(measured: Metrics, recipe: Recipe) -> Metrics:
    """Says in the metrics which version of llmkit made the stored run, where it is not this one: the noise of another
    version may be another."""
    if recipe.eval.baseline is None or measured.baseline is None:
        return measured
    path = Path(recipe.eval.baseline)
    version = read(path).llmkit if path.is_file() else (Run(path).environment or {}).get("llmkit")
    other = str(version) if version and version != llmkit.__version__ else None
    return measured.model_copy(update={"baseline": measured.baseline.model_copy(update={"made_by": other})})


def refuse(run: Run) -> None:
    """Raises DataError for a run that others must not be compared with: one that is unfinished or a part, of which too
    many answers failed, or that two models answered."""
    if not run.exists:  # a folder of answers alone, of which nothing is known
        return
    if run.state == "unfinished":
        shard = run.facts.get("shard")
        reason = "is one shard of a run" if shard else "is unfinished"
        hint = "`llmkit runs merge` joins shards" if shard else "the same llmkit command finishes it"
        raise DataError(f"the run in `{run.folder}` {reason}, so it can be no baseline", hint)
    measured = run.metrics or {}
    share = (measured.get("failed") or {}).get("share") or 0
    most = run.section("eval").get("max_errors", Recipe().eval.max_errors)
    if share > most:
        raise DataError(
            f"{share:.3f} of the answers of `{run.folder}` failed, more than eval.max_errors, so it can be no baseline",
            "the command that made it asks the failed calls again",
        )
    if mixed(run.folder):
        raise DataError(
            f"two models answered the run in `{run.folder}` (--keep), so it can be no baseline",
            "--anew asks everything again",
        )
    looks.refuse_stopped(run)


def of_run(run: Run) -> BaselineFile:
    """Returns a finished run as a file. DataError for one that `refuse` refuses, and for one that failed a gate: its
    level would become the accepted one."""
    refuse(run)
    measured = run.metrics or {}
    if "arms" not in measured:
        raise DataError(f"{run.folder}: has no answers to compare with", "a baseline is made of an `eval` or `rop` run")
    if lost := [gate["gate"] for gate in measured.get("gates") or () if gate.get("verdict") == "fail"]:
        raise DataError(
            f"the run in `{run.folder}` failed {', '.join(lost)}, so it can be no baseline",
            "if that is the new level, change the gate, and judge the run again: `llmkit eval score RUN --gate GATE`",
        )
    version = str((run.environment or {}).get("llmkit") or llmkit.__version__)
    return packed(load(run.recipe_file).recipe, list(run.samples()), run.name, version)


def packed(recipe: Recipe, found: Sequence[Sample], name: str, version: str = llmkit.__version__) -> BaselineFile:
    """Returns the answers of a run, with its name and the version of llmkit that made it, as a file."""
    texts = {sample.outcome.question_id: _text(sample) for sample in found}
    ids = sorted(texts, key=lambda row_id: short_digest(row_id, ID_BYTES))
    row = {row_id: i for i, row_id in enumerate(ids)}
    known = [text for row_id in ids if (text := texts[row_id]) is not None]
    values = settings(recipe)
    return BaselineFile(
        llmkit_baseline=1,
        llmkit=version,
        run=name,
        settings=values,
        digest=digest(values),
        rows=len(ids),
        ids=pack_digests(short_digest(row_id, ID_BYTES) for row_id in ids),
        texts=pack_digests(known) if len(known) == len(ids) else None,
        answers=tuple(_with_replies(found, row) if unlabelled(found) else _with_verdicts(found, row)),
    )


def samples(stored: BaselineFile, now: Sequence[Sample]) -> list[Sample]:
    """Returns the answers of a file to the rows of a run, with that run's ids, clusters and texts.

    A row with the same id and another text gets a text of its own, so that it is left out and counted.
    """
    places = {name: place for place, name in enumerate(stored.row_ids)}
    texts = stored.row_texts
    rows: dict[int, Sample] = {}
    copies: dict[tuple[str, str, int], Sample] = {}
    for sample in now:
        o = sample.outcome
        place = places.get(short_digest(o.question_id, ID_BYTES))
        if place is not None:
            copies.setdefault((o.question_id, o.condition, o.draw), sample)
            if place not in rows:
                here = _text(sample)
                other = texts is not None and here is not None and here != texts[place]
                rows[place] = replace(sample, question="(another text)") if other else sample
    sent = {c.of_search: c.spoken(stored.rows) for c in stored.answers if c.condition == CLEAN and c.said is not None}
    return [answer for cell in stored.answers for answer in _of_cell(cell, stored.rows, rows, copies, sent)]


def said(sample: Sample) -> bytes | None:
    """Returns the digest of an answer in the form in which equal ones count as one; None for a failed call, and where
    the run keeps no digest that another run could compare (`output.texts: none`)."""
    if failed(sample) or (sample.hidden and sample.hidden.policy == "none"):
        return None
    if sample.hidden and sample.hidden.policy == _STORED:
        return bytes.fromhex(sample.hidden.signature) if sample.hidden.signature else None
    # A run that keeps digests has them of the very texts that a run with texts is hashed by here.
    form = signature(sample) if sample.hidden else text_digest(signature(sample))
    return short_digest(form, SAID_BYTES)


def _refuse_other(path: Path, stored: BaselineFile, recipe: Recipe) -> None:
    if others := differences(stored.settings, recipe):
        raise DataError(
            f"{path} is the baseline of another recipe: {'; '.join(others)}",
            "rows pair only where questions, noise, seed and scorer agree: `llmkit runs baseline RUN -o FILE` makes it "
            "again from a run of this recipe",
        )


def _text(sample: Sample) -> bytes | None:
    """Returns the digest of a row's text as sent; None where the run keeps none that another run could compare."""
    if sample.hidden and sample.hidden.policy == "none":
        return None
    return short_digest(sample.question if sample.hidden else text_digest(sample.question), TEXT_BYTES)


def _cells(found: Sequence[Sample]) -> Mapping[CellKey, list[Sample]]:
    """Returns the answers by prompt, arm, condition, draw, search seed and what was held out ("" for nothing)."""
    cells: dict[CellKey, list[Sample]] = defaultdict(list)
    for sample in found:
        o = sample.outcome
        seed, out = int(o.meta.get("search_seed") or 0), str(o.meta.get("holdout") or "")
        cells[o.prompt, o.arm, o.condition, o.draw, seed, out].append(sample)
    return dict(sorted(cells.items()))


def _names(key: CellKey) -> dict[str, str | int | None]:
    prompt, arm, condition, draw, seed, out = key
    named = {"prompt": prompt, "arm": arm, "condition": condition}
    return {**named, "draw": draw, "search_seed": seed, "holdout": out or None}


def _planes(group: Mapping[int, Sample], count: int) -> dict[str, str]:
    """Returns which rows a cell has, and which of their calls failed, where that is not all and none."""
    planes = {}
    if len(group) < count:
        planes["asked"] = pack_flags([i in group for i in range(count)])
    if any(map(failed, group.values())):
        planes["failed"] = pack_flags([i in group and failed(group[i]) for i in range(count)])
    return planes


def _with_verdicts(found: Sequence[Sample], row: Mapping[str, int]) -> list[CellAnswers]:
    """Returns which answers are right."""
    made = []
    for key, cell in _cells(found).items():
        group = {row[s.outcome.question_id]: s for s in cell}
        right = pack_flags([i in group and bool(group[i].outcome.correct) for i in range(len(row))])
        made.append(CellAnswers.model_validate({**_names(key), **_planes(group, len(row)), "right": right}))
    return made


def _with_replies(found: Sequence[Sample], row: Mapping[str, int]) -> list[CellAnswers]:
    """Returns which answers changed, and a digest of each one that is not equal to the answer to the row as sent."""
    by_prompt: dict[str, list[Sample]] = defaultdict(list)
    for sample in found:
        by_prompt[sample.outcome.prompt].append(sample)
    changed = {
        s.key
        for group in by_prompt.values()
        for s in flags.flagged({"this run": group})["this run"]
        if s.outcome.correct
    }
    cells = {key: {row[s.outcome.question_id]: s for s in cell} for key, cell in _cells(found).items()}
    made = []
    for key, group in cells.items():
        prompt, arm, condition, _, seed, out = key
        sent = {} if condition == CLEAN else cells.get((prompt, arm, CLEAN, 0, seed, out), {})
        spoken = {i: said(s) for i, s in group.items()}
        same = {i for i, one in spoken.items() if i in sent and one is not None and one == said(sent[i])}
        planes = _planes(group, len(row))
        if turned := {i for i, s in group.items() if s.key in changed}:
            planes["changed"] = pack_flags([i in turned for i in range(len(row))])
        if same:
            planes["same"] = pack_flags([i in same for i in range(len(row))])
        own = [spoken[i] for i in sorted(group) if i not in same and not failed(group[i])]
        if kept := [one for one in own if one is not None]:
            planes["said"] = pack_digests(kept)
        made.append(CellAnswers.model_validate({**_names(key), **planes}))
    return made


def _of_cell(
    cell: CellAnswers,
    count: int,
    rows: Mapping[int, Sample],
    copies: Mapping[tuple[str, str, int], Sample],
    sent: Mapping[tuple[str, str, int, str | None], Sequence[bytes | None]],
) -> list[Sample]:
    """Returns the answers of one cell to the rows of the present run, by their places in the file."""
    asked, lost, right, changed, same = (
        cell.flags(name, count) for name in ("asked", "failed", "right", "changed", "same")
    )
    spoken = cell.spoken(count)
    meta = {name: value for name in ("search_seed", "holdout") if (value := getattr(cell, name))}
    made = []
    for place, sample in rows.items():
        if not asked[place]:
            continue
        o = sample.outcome
        copy = copies.get((o.question_id, cell.condition, cell.draw), sample)
        said_here = sent[cell.of_search][place] if same[place] and cell.of_search in sent else spoken[place]
        made.append(
            Sample(
                Outcome(
                    o.question_id,
                    o.cluster_id,
                    cell.condition,
                    cell.arm,
                    cell.draw,
                    None,
                    right[place] if cell.right is not None else None,
                    o.gold,
                    error="the call failed" if lost[place] else None,
                    meta=meta,
                    prompt=cell.prompt,
                ),
                sample.question,
                copy.text,
                sample.options,
                kind=sample.kind,
                rejected=copy.rejected,
                key=_SENT if cell.condition == CLEAN else "",
                hidden=None if cell.right is not None else _reply(said_here, changed[place]),
            )
        )
    return made


def _reply(digest_of_it: bytes | None, changed: bool) -> Hidden:
    """Returns what is known of a reply: its digest, and whether it says something else than that to the row as sent."""
    verdict = ("facts", "label") if changed else ("same",)
    return Hidden(_STORED, digest_of_it.hex() if digest_of_it else None, False, False, {_SENT: verdict})
