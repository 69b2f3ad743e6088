"""`llmkit repair`: rows through a repair, to see it work on text."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from llmkit.cli import common, flags
from llmkit.cli.perturb import Id, Workers, opened_runner
from llmkit.errors import Incomplete, UsageError

if TYPE_CHECKING:
    from llmkit.perturb.input_rows import InputRows
    from llmkit.repair import RepairFile
    from llmkit.repair.rows import RowRepairer
    from llmkit.runs import Runner

Rows = Annotated[
    str,
    typer.Argument(
        metavar="ROWS", help="A .jsonl, .csv, .tsv or .parquet file, `-` (JSON lines on stdin), task:NAME or hub:NAME."
    ),
]
Field = Annotated[str, typer.Option("--field", metavar="NAME", help="The field that holds the text.")]
With = Annotated[
    str | None, typer.Option("--with", metavar="FILE", help="A repair.json, or the name of a shipped adapter with one.")
]
ChainName = Annotated[
    str | None, typer.Option("--chain", metavar="A+B", help="Try a chain such as fold+spell, without a gate.")
]
ChainLang = Annotated[
    str | None,
    typer.Option(
        "--lang", metavar="auto|CODE", help="With --chain: the language of the texts, or auto. Default: English."
    ),
]
OutFile = Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", help="Write here instead of to stdout.")]
Preview = Annotated[
    int, typer.Option("--preview", metavar="N", min=0, help="Only show N rows with coloured differences.")
]


def repair(
    source: Rows,
    field: Field = "question",
    with_: With = None,
    chain: ChainName = None,
    lang: ChainLang = None,
    id_: Id = "id",
    workers: Workers = 1,
    model: flags.Model = None,
    adapter: flags.Adapter = None,
    engine: flags.EngineKind = None,
    base_url: flags.BaseUrl = None,
    revision: flags.Revision = None,
    dtype: flags.Dtype = None,
    no_cache: common.NoCache = False,
    limit: flags.Limit = None,
    split: flags.Split = None,
    skip_bad_lines: flags.SkipBadLines = None,
    out: OutFile = None,
    preview: Preview = 0,
    set_: common.Set = None,
    json_: common.Json = False,
) -> None:
    """Repair texts, row by row, as a repair.json says.

    Writes one JSON line for each row: the row's own fields, the repaired text in its field, and `repair`, which says
    what was done, in the place of any field of that name. On a terminal it shows the differences instead.
    """
    from llmkit.perturb.input_rows import InputRows, RowFields
    from llmkit.repair.rows import FIELD, RowRepairer

    if FIELD in (field, id_):
        raise UsageError(
            f"the field `{FIELD}` of an output row says what was done, and so cannot hold the text",
            "give it another name in your rows",
        )
    document = _document(with_, chain, lang, model)
    model_flags = {"model": model, "adapter": adapter, "engine": engine, "base_url": base_url, "revision": revision}
    loaded = flags.recipe_from(
        None, set_, limit=limit, split=split, skip_bad_lines=skip_bad_lines, dtype=dtype, **model_flags
    )
    recipe = loaded.recipe
    fields = RowFields(field, id_)
    rows = InputRows(source, fields, recipe.data, recipe.seed)
    work = RowRepairer(document, fields, recipe.data.skip_bad_lines)
    asks = work.repair.asks_model
    if asks and not (model or base_url or engine):
        raise UsageError(
            f"the repair `{document.chain}` asks a model", "name one with --model or --base-url URL --model NAME"
        )
    shows = bool(preview) or (out is None and not json_ and sys.stdout.isatty())
    if preview and not recipe.data.limit:
        rows.data = recipe.data.model_copy(update={"limit": preview})
    with opened_runner(recipe, not no_cache) if asks else nullcontext() as runner:
        _write(work, rows, runner, workers, out, _differences(field, everything=bool(preview)) if shows else None)


def _document(with_: str | None, chain: str | None, lang: str | None, model: str | None) -> RepairFile:
    """Returns the repair that is named, and prints its guarantee on stderr."""
    from llmkit.repair import RepairFile, describe, document
    from llmkit.rop.instructions import hand_written

    if (with_ is None) == (chain is None):
        raise UsageError(
            "a repair is needed: --with FILE, or --chain to try one without a gate", "llmkit repair ROWS --chain fold"
        )
    if with_ is not None and lang is not None:
        raise UsageError(f"--lang goes with --chain: {with_} says in which language it repairs", "leave --lang out")
    if with_ is not None:
        repair_file = document.read(with_)
    else:
        # The first hand-written instruction, as `llmkit rop` without a search takes it.
        repair_file = RepairFile(chain=chain or "", lang=lang or "en", instruction=hand_written("correction")[0])
        describe.cost(repair_file.chain)  # an unknown name is said before anything is read
    calibrated = repair_file.model and repair_file.model.corrector
    is_other = model is not None and calibrated is not None and model != calibrated
    void = f"it was calibrated with another corrector ({model}, not {calibrated})" if is_other else None
    common.note(f"repair: {describe.guarantee(repair_file, void)}")
    return repair_file


def _write(
    work: RowRepairer,
    rows: InputRows,
    runner: Runner | None,
    workers: int,
    out: str | None,
    show: Callable[[bytes], None] | None,
) -> None:
    from llmkit.perturb.output import open_output
    from llmkit.perturb.row_progress import RowProgress
    from llmkit.perturb.stream import perturb_rows, perturb_rows_asking

    counts: dict[str, Counter[str]] = {"actions": Counter(), "detectors": Counter()}
    sink = open_output(out, resuming=None)
    try:
        # A bar would be drawn between the differences.
        with RowProgress("repair", rows, quiet=common.settings.quiet or show is not None) as progress:
            asking = perturb_rows_asking(work, rows, runner) if runner else None
            for result in asking or perturb_rows(work, rows.unread(), workers):
                if show:
                    show(result.lines)
                else:
                    sink.write(result.lines)
                    sink.flush()
                progress.advance(result.rows)
                rows.skipped += result.skipped
                counts["actions"] += result.actions
                counts["detectors"] += result.detectors
    finally:
        if out not in (None, "-"):
            sink.close()
    _report(counts["actions"], counts["detectors"], rows.skipped)


def _differences(field: str, *, everything: bool) -> Callable[[bytes], None]:
    """Returns a function that shows output lines: `everything`, or only the texts on which the gate fired."""
    from llmkit.perturb.show import coloured
    from llmkit.repair.rows import FIELD
    from llmkit.terminal import write_coloured

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def show(lines: bytes) -> None:
        for row in map(json.loads, lines.splitlines()):
            record = row[FIELD]
            if everything or record["action"] != "passed":
                why = ", ".join(filter(None, map(record.get, ("detector", "fallback", "reason"))))
                print(record["action"] + (f" ({why})" if why else ""))
                write_coloured(coloured(row[field], record["edits"], colour) + "\n", sys.stdout)

    return show


def _report(actions: Counter[str], detectors: Counter[str], skipped: int) -> None:
    """Prints the summary on stderr, because stdout carries the rows. Incomplete where a model did not answer."""
    texts = sum(actions.values())
    by_detector = ", ".join(f"{name} {count:,}" for name, count in detectors.most_common())
    parts = [
        f"{texts:,} {'text' if texts == 1 else 'texts'}",
        f"fired on {texts - actions['passed']:,}" + (f" ({by_detector})" if by_detector else ""),
        f"repaired {actions['repaired']:,}",
    ]
    if skipped:
        parts.append(f"bad lines skipped {skipped:,}")
    common.note("repair: " + ", ".join(parts))
    if actions["failed"]:
        raise Incomplete(
            f"{actions['failed']:,} texts passed as they came, because the model did not answer",
            "their rows say why; the same command asks for these alone, the rest is cached",
        )
