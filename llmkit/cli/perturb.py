"""`llmkit perturb`: noisy copies of questions, row by row, from files, pipes, tasks and the hub."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import common, flags, perturb_parts
from llmkit.errors import UsageError
from llmkit.recipe.schema import meaning

if TYPE_CHECKING:
    from llmkit.perturb.stream import ConditionStats, RowPerturber
    from llmkit.recipe import Recipe
    from llmkit.runs import Runner

Input = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="A .jsonl, .csv, .tsv or .parquet file (several with --out DIR), `-` (JSON lines on stdin), task:NAME, "
        "hub:OWNER/NAME, or a recipe (.yaml).",
    ),
]
Op = Annotated[str | None, flags.flag("op", "A,B", "`--list` names the operators. [ec,sc,woo,hw,uic]")]
Rate = Annotated[str | None, flags.flag("rate", "R", "Several as 0,0.1,0.2. [0.1; for `like:`, `asr`, `ocr` fitted]")]
Field = Annotated[str, typer.Option("--field", metavar="NAME", help="The field that holds the text.")]
Id = Annotated[str, typer.Option("--id", metavar="NAME", help="The field that tells rows apart.")]
Copies = Annotated[
    int, typer.Option("--copies", metavar="N", min=1, max=10_000, help="Noisy copies of each row and condition.")
]
Protect = Annotated[
    list[str] | None,
    typer.Option("--protect", metavar="REGEX", help=f"{meaning('perturb.protect')} Adds to these; may be repeated."),
]
Release = Annotated[
    list[str] | None,
    typer.Option("--release", metavar="KIND", help=f"{meaning('perturb.release')} May be repeated."),
]
Retries = Annotated[int | None, flags.flag("retries", "N")]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, max=1_024, help="Processes that do the work.")]
OutFile = Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", help="Write here instead of to stdout.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted --out FILE stopped.")]
Preview = Annotated[
    int, typer.Option("--preview", metavar="N", min=0, help="Only show N rows with coloured differences.")
]
Html = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write a page of coloured differences.")]
Stats_ = Annotated[bool, typer.Option("--stats", help="Strength, kinds of edits and rejects by condition, on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="--list and --stats for programs.")]
List_ = Annotated[bool, typer.Option("--list", help="Name the operators and what each does.")]


def perturb(
    sources: Input = None,
    op: Op = None,
    rate: Rate = None,
    seed: flags.Seed = None,
    field: Field = "question",
    id_: Id = "id",
    copies: Copies = 1,
    protect: Protect = None,
    release: Release = None,
    retries: Retries = None,
    lang: flags.Lang = None,
    workers: Workers = 1,
    model: flags.Model = None,
    adapter: flags.Adapter = None,
    engine: flags.EngineKind = None,
    base_url: flags.BaseUrl = None,
    revision: flags.Revision = None,
    model_id: flags.ModelId = None,
    dtype: flags.Dtype = None,
    no_cache: common.NoCache = False,
    limit: flags.Limit = None,
    split: flags.Split = None,
    data_dir: flags.DataDir = None,
    skip_bad_lines: flags.SkipBadLines = None,
    out: OutFile = None,
    resume: Resume = False,
    shard: perturb_parts.Shard = None,
    format_: perturb_parts.Format = None,
    compression: perturb_parts.Compression = None,
    no_edits: perturb_parts.NoEdits = False,
    compact_edits: perturb_parts.CompactEdits = False,
    check: perturb_parts.Check = False,
    preview: Preview = 0,
    html: Html = None,
    stats: Stats_ = False,
    list_: List_ = False,
    set_: common.Set = None,
    json_: Json = False,
) -> None:
    """Make noisy copies of questions without changing their answers.

    Writes one JSON line for each row, condition, rate and copy: the row's own fields, the noisy text in its field,
    and `perturbation`, which says what was done.
    """
    from llmkit.perturb import variants
    from llmkit.perturb.input_rows import InputRows, RowFields
    from llmkit.perturb.parts import job_digest
    from llmkit.perturb.shards import ShardRows, parse_shard
    from llmkit.perturb.stream import RowPerturber

    if list_:
        return _list(json_)
    edits = perturb_parts.edit_form(no_edits, compact_edits)
    into_folder = perturb_parts.is_folder(sources or [], out, shard, format_, compression, check)
    if check and not sources:
        return perturb_parts.check(perturb_parts.layout_of(out or "", None, None), None, json_)
    if not sources:
        raise UsageError(
            "no source of rows is given", "llmkit perturb FILE --op ec; `-` reads JSON lines from standard input"
        )
    source = sources[0]
    from_recipe = source.endswith((".yaml", ".yml"))
    loaded = flags.recipe_from(
        source if from_recipe else None,
        set_,
        op=op,
        rate=rate if rate or from_recipe else _default_rate(op),
        retries=retries,
        lang=lang,
        seed=seed,
        limit=limit,
        split=split,
        data_dir=data_dir,
        skip_bad_lines=skip_bad_lines,
        model=model,
        adapter=adapter,
        engine=engine,
        base_url=base_url,
        revision=revision,
        model_id=model_id,
        dtype=dtype,
    )
    recipe = loaded.recipe
    section = recipe.perturb.model_copy(
        update={
            "protect": (*recipe.perturb.protect, *(protect or ())),
            "release": (*recipe.perturb.release, *(release or ())),
        }
    )
    fields = RowFields(field, id_)
    if from_recipe:
        data = recipe.data
        source = data.path or f"task:{data.task}"
        if data.path:
            fields = RowFields(data.question, data.id or id_, data.options or fields.options, data.answer or "")
    if into_folder:
        part = parse_shard(shard or "1/1")
        rows: InputRows = ShardRows(perturb_parts.inputs_of(sources), part, fields, recipe.data, recipe.seed)
    else:
        rows = InputRows(source, fields, recipe.data, recipe.seed)
    made = variants.perturbers(section, recipe.seed, rows.texts, recipe.data.data_dir)
    job = RowPerturber(made, fields, copies, recipe.data.skip_bad_lines, edits)
    if not job.perturbers:
        raise UsageError("no operator is given", "`llmkit perturb --list` shows them")
    if html and not Path(html).resolve().parent.is_dir():
        raise UsageError(f"{html}: no such folder", "the page is written when all rows are done")
    asking = [condition for condition, perturber in job.perturbers.items() if perturber.most_calls]
    if asking and not (model or base_url or from_recipe):
        raise UsageError(f"`{asking[0]}` needs a model", "name one with --model, e.g. --model smollm2-135m")
    if isinstance(rows, ShardRows):
        layout = perturb_parts.layout_of(out or "", format_, compression)
        perturb_parts.refuse(asking=asking, resume=resume, preview=preview, html=html, stats=stats)
        if check:
            return perturb_parts.check(layout, job_digest(rows.inputs, job, layout), json_)
        return perturb_parts.write(job, rows, layout, part, workers, json_)
    if preview and not asking:
        return _preview(job, rows, preview)
    if preview:
        raise UsageError("--preview asks no model", "write to a file with --limit, then look at it with --html")
    with opened_runner(recipe, not no_cache) if asking else nullcontext() as runner:
        _write(job, rows, runner, workers, out, resume, html, stats, json_)
    return None


def _default_rate(op: str | None) -> str:
    """Returns the rate where none is given: 0.1, or that of the people or recogniser to whom all noise is fitted."""
    from llmkit.perturb import OPERATORS
    from llmkit.perturb.spec import spec_names

    names = [re.split(r"[:+(]", spec)[0] for spec in spec_names(op or "")]
    return "fitted" if names and all(name in OPERATORS and OPERATORS[name].fitted for name in names) else "0.1"


@contextmanager
def opened_runner(recipe: Recipe, use_cache: bool) -> Iterator[Runner]:
    """Opens the recipe's model, which starts at the first request that the cache cannot answer."""
    from llmkit.engines import ResponseCache, may_cache, open_engine
    from llmkit.runs import Runner

    with ExitStack() as stack:
        cached = use_cache and may_cache(recipe.engine)
        cache = stack.enter_context(ResponseCache()) if cached else None
        yield stack.enter_context(Runner({"answerer": open_engine(recipe.model, recipe.engine)}, cache))


def _list(json_: bool) -> None:
    from llmkit.perturb.show import listing

    if json_:
        return common.print_json(listing())
    columns = ["name", "level", "rate", "paper_rate", "people", "languages", "example", "source"]
    operators = listing()
    rows = [[o[column] for column in columns] for o in operators]
    measured_on = next((o["measured_on"] for o in operators if o["measured_on"]), None)
    common.note(f"AUC to people: .50 where a classifier cannot distinguish them; measured on {measured_on}")
    names = ["operator", "level", "rate", "paper", "AUC to people", "languages", "example", "source"]
    return common.print_table(names, rows)


def _preview(job: RowPerturber, rows: Any, count: int) -> None:
    import itertools
    import os

    from llmkit.perturb.show import coloured
    from llmkit.terminal import write_coloured

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for row in itertools.islice(rows, count):
        for made in job.rows(row):
            record = made["perturbation"]
            words = record["strength"]["words"]
            state = record.get("rejected") or record.get("short")
            remark = f"  ({state})" if state else ""
            print(f"{row.id}  {record['operator']}@{record['rate']}  {words:.0%} of words{remark}")
            write_coloured(coloured(made[job.fields.question], record["edits"], colour) + "\n", sys.stdout)


def _write(
    job: RowPerturber,
    rows: Any,
    runner: Runner | None,
    workers: int,
    out: str | None,
    resuming: bool,
    html: str | None,
    stats: bool,
    json_: bool,
) -> None:
    from llmkit.perturb.output import open_output, resume
    from llmkit.perturb.row_progress import RowProgress
    from llmkit.perturb.show import Page
    from llmkit.perturb.stream import ConditionStats, perturb_rows, perturb_rows_asking

    done, totals = 0, {condition: ConditionStats() for condition in job.perturbers}
    reading = iter(rows) if resuming or runner else rows.unread()
    sink = open_output(out, resuming)
    if resuming:
        done = resume(Path(out or ""), job, reading)
    page = Page(f"{rows.source}: {', '.join(job.perturbers)}", job.fields.question) if html else None
    try:
        with RowProgress("perturb", rows, quiet=common.settings.quiet) as progress:
            progress.advance(done)
            chunks = perturb_rows_asking(job, reading, runner) if runner else perturb_rows(job, reading, workers)
            for made in chunks:
                sink.write(made.lines)
                sink.flush()
                progress.advance(made.rows)
                rows.skipped += made.skipped
                if page:
                    page.add(made.lines)
                for condition, counted in made.stats.items():
                    totals[condition] += counted
    except KeyboardInterrupt:
        if out not in (None, "-"):
            common.note(f"perturb: {out} holds what was finished; the same command with --resume goes on from there")
        raise
    finally:
        if out not in (None, "-"):
            sink.close()
    if page and html:
        Path(html).write_text(page.render(*_table(totals)), encoding="utf-8")
    _report(totals, rows.skipped, done, stats, json_)


def _table(totals: dict[str, ConditionStats]) -> tuple[list[str], list[list[Any]]]:
    rows = []
    for condition, made in totals.items():
        facts = made.as_dict()
        shares = [f"{facts[key]:.1%}" if facts[key] is not None else "-" for key in ("words", "chars")]
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["edits"].items())
        reasons = ", ".join(f"{count} {reason}" for reason, count in facts["rejected"].items())
        rows.append([condition, facts["rows"], *shares, kinds, reasons])
    return ["condition", "rows", "words", "characters", "edits", "rejected"], rows


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _report(totals: dict[str, ConditionStats], skipped: int, done: int, stats: bool, json_: bool) -> None:
    """Prints what a person should know at the end, on stderr, because stdout carries the rows."""
    from llmkit.terminal import json_text

    if stats and json_:
        print(json_text({condition: made.as_dict() for condition, made in totals.items()}), file=sys.stderr)
    elif stats:
        common.print_table(*_table(totals), stderr=True)
    rejected = sum(sum(made.rejected.values()) for made in totals.values())
    rows = sum(made.rows for made in totals.values())
    parts = [_counted(rows, "row") + " written"]
    if done:
        parts.append(_counted(done, "input") + " done before")
    if rejected:
        parts.append(f"{rejected} unchanged (--stats says why)" if not stats else f"{rejected} unchanged")
    not_served = sum((made.not_served for made in totals.values()), Counter[str]())
    parts += [f"{reason} ({_counted(count, 'row')})" for reason, count in not_served.most_common()]
    if skipped:
        parts.append(_counted(skipped, "bad line") + " skipped")
    common.note("perturb: " + ", ".join(parts))
