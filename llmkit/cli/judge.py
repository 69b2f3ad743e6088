"""`llmkit judge`: a model compares the answers that changed by a rubric; labels say how far people agree with it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import common, flags
from llmkit.cli.label import Folder, Run
from llmkit.cli.measure import FLAGS, takes

if TYPE_CHECKING:
    from llmkit.measure.results import Metrics
    from llmkit.recipe import Loaded
    from llmkit.recipe.schema import JudgeSection
    from llmkit.runs import Run as RunOf

Rubric = Annotated[
    Path, typer.Option("--rubric", metavar="FILE", help="A text that says what makes one answer better than another.")
]

_OF_THE_JUDGE = ("model", "adapter", "revision", "engine", "dtype", "base_url", "max_tokens_total")


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

    Asks --model about each pair of unequal answers of a run without answers, or of a run with answers about each reply
    and its gold answer (the score `judge`), in both orders: verdicts that disagree are a tie. Its gates stay undecided
    until people have labelled 50 of the pairs (`llmkit label`) and agree with it better than by chance. The same
    command resumes what was interrupted.
    """
    from llmkit.evaluate.conclusion import conclude
    from llmkit.judging import judge as judging
    from llmkit.judging import refuse_failed, refuse_itself, tokens_in, unreadable
    from llmkit.labels import labelling
    from llmkit.labels.judge import ask, open_pairs, pairs_of
    from llmkit.measure import gates
    from llmkit.measure.stability import unlabelled
    from llmkit.recipe import load
    from llmkit.recipe.schema import JudgeSection
    from llmkit.runs import Progress, names, terminable
    from llmkit.runs.listing import find

    chosen = find(run, Path(folder))
    loaded = load(chosen.recipe_file, flags.overrides(None, gates=gate))
    own = flags.recipe_from(None, set_, **given).recipe
    section = JudgeSection(rubric=str(rubric), model=own.model, engine=own.engine, max_tokens=own.rop.max_tokens)
    budget, use_cache = own.eval.max_tokens_total, not no_cache
    refuse_itself(loaded.recipe, section)
    if not unlabelled(chosen.samples()):
        _score(chosen, _with_judge(loaded, section, budget), use_cache, json_)
        return
    file = chosen.folder / names.JUDGED
    with ExitStack() as stack:
        stack.enter_context(terminable())
        opened = stack.enter_context(labelling(chosen, loaded.recipe))
        used = tokens_in(chosen.folder)
        asked_by = stack.enter_context(judging(section, file, budget=budget, tokens=used, use_cache=use_cache))
        every = pairs_of(opened)
        pairs = open_pairs(every, asked_by)
        common.note(f"{len(every)} pairs of unequal answers, {len(pairs)} to judge now, each in both orders")
        with Progress("judge", len(pairs), quiet=common.settings.quiet) as asked_by.runner.progress:
            asked = ask(pairs, asked_by)
        common.note(unreadable(asked))
        measured = conclude(opened.recipe, opened.samples, opened.folder, opened.looked)
        _print(measured, chosen.folder, json_)
    refuse_failed(asked, len(pairs), loaded.recipe.eval.max_errors)
    gates.enforce(measured.gates)


def _with_judge(loaded: Loaded, section: JudgeSection, budget: int | None) -> Loaded:
    """Returns the recipe of a run with the scorer `judge` among its scores."""
    scores = tuple(dict.fromkeys((*loaded.recipe.eval.scores, "judge")))
    update = {"scores": scores, "judge": section, "max_tokens_total": budget}
    measured = loaded.recipe.eval.model_copy(update=update)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"eval": measured}))


def _score(chosen: RunOf, loaded: Loaded, use_cache: bool, json_: bool) -> None:
    """Adds the score `judge` to a run whose rows have answers, as `llmkit eval score` would."""
    from llmkit.evaluate import rescore
    from llmkit.measure import gates
    from llmkit.runs import terminable

    with terminable():
        measured = rescore(chosen.folder, loaded, use_cache=use_cache, quiet=common.settings.quiet).metrics
    _print(measured, chosen.folder, json_)
    gates.enforce(measured.gates)


def _print(measured: Metrics, folder: Path, json_: bool) -> None:
    if json_:
        common.print_json({"run": str(folder), **measured.as_dict()})
        return
    from llmkit.report import summary
    from llmkit.report.terminal import console

    console().print(summary(measured))
    print(f"\nrun: {folder}")
