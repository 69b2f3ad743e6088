"""`llmkit judge`: a model compares the answers that changed by a rubric; labels say how far people agree with it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import common, flags
from llmkit.cli.label import Folder, Run
from llmkit.cli.measure import FLAGS, takes
from llmkit.terminal import visible

if TYPE_CHECKING:
    from llmkit.labels import Judging
    from llmkit.measure.results import Metrics

Rubric = Annotated[
    Path, typer.Option("--rubric", metavar="FILE", help="A text that says what makes one answer better than another.")
]

_OF_THE_JUDGE = ("model", "adapter", "revision", "engine", "dtype", "base_url", "max_tokens_total")
_SHOWN = 60  # characters of a reply that is no verdict


@takes({name: FLAGS[name] for name in _OF_THE_JUDGE})
def judge(
    run: Run,
    rubric: Rubric,
    gate: flags.Gates = None,
    folder: Folder = "runs",
    set_: common.Set = None,
    no_cache: common.NoCache = False,
    json_: common.Json = False,
    **given: Any,
) -> None:
    """Have a model judge which of two answers is better, by a rubric.

    Asks --model about each pair of unequal answers of a run without answers, in both orders: verdicts that disagree are
    a tie. Its gates stay undecided until people have labelled 50 of the pairs (`llmkit label`) and agree with it better
    than by chance. The same command resumes what was interrupted.
    """
    from llmkit.engines import ResponseCache, may_cache, open_engine
    from llmkit.labels import Judge, labelling
    from llmkit.labels.judge import read_rubric, refuse_failed
    from llmkit.measure import gates
    from llmkit.recipe import load
    from llmkit.runs import Progress, Runner, terminable
    from llmkit.runs.listing import find

    chosen, text = find(run, Path(folder)), read_rubric(rubric)
    recipe = load(chosen.recipe_file, flags.overrides(None, gates=gate)).recipe
    own = flags.recipe_from(None, set_, **given).recipe
    with ExitStack() as stack:
        stack.enter_context(terminable())
        opened = stack.enter_context(labelling(chosen, recipe))
        engine = stack.enter_context(closing(open_engine(own.model, own.engine)))
        cache = stack.enter_context(ResponseCache()) if not no_cache and may_cache(own.engine) else None
        runner = Runner({"answerer": engine}, cache, budget=own.eval.max_tokens_total)
        asked = Judge(opened, text, runner, own.rop.max_tokens)
        pairs = asked.open_pairs()
        common.note(f"{len(asked.pairs)} pairs of unequal answers, {len(pairs)} to judge now, each in both orders")
        with Progress("judge", len(pairs), quiet=common.settings.quiet) as runner.progress:
            judging = asked.ask(pairs)
        common.note(_unreadable(judging))
        measured = opened.conclude()
        if json_:
            common.print_json({"run": str(chosen.folder), **measured.as_dict()})
        else:
            _print(measured, chosen.folder)
    refuse_failed(judging, recipe.eval.max_errors)
    gates.enforce(measured.gates)


def _unreadable(judging: Judging) -> str:
    if not judging.unreadable:
        return "every reply was a verdict"
    first = visible(" ".join(judging.unreadable[0].split()))[:_SHOWN]
    return f"{len(judging.unreadable)} replies were no verdict, such as: {first}"


def _print(measured: Metrics, folder: Path) -> None:
    from llmkit.report import summary
    from llmkit.report.terminal import console

    console().print(summary(measured))
    print(f"\nrun: {folder}")
