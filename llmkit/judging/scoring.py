"""The score `judge` of a run whose rows have answers: each reply beside its gold answer."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmkit.engines import ResponseCache, engine_class, is_application
from llmkit.errors import Incomplete, UsageError
from llmkit.judging.judging import Asked, Comparison, judge, lines, settings, tokens_in
from llmkit.recipe import Recipe
from llmkit.recipe.schema import EngineSection, JudgeSection, ModelSection
from llmkit.runs import Progress, names
from llmkit.runs.labels import append
from llmkit.runs.samples import Sample
from llmkit.runs.verdicts import SCORE, Verdicts, has_score, scored, with_gold
from llmkit.terminal import visible

_SHOWN = 60  # characters of a reply that is no verdict


def refuse(recipe: Recipe, *, unlabelled: bool) -> None:
    """Raises UsageError where a run cannot have the score `judge` that its recipe names."""
    section = recipe.eval.judge
    if section is None:
        return
    refuse_itself(recipe, section)
    if section.model.path is None and not is_application(section.engine):
        raise UsageError("eval.judge names no model", "say who judges: eval.judge.model.path")
    if unlabelled:
        raise UsageError(
            "the scorer `judge` compares replies with gold answers, and these rows have none",
            "run it without, and then `llmkit judge RUN` compares the answers that changed with each other",
        )
    if recipe.output.texts != "full":
        raise UsageError(
            f"the scorer `judge` reads replies, and output.texts: {recipe.output.texts} does not keep them",
            "leave output.texts at full, or leave the scorer out",
        )
    if recipe.eval.answer == "likelihood":
        raise UsageError(
            "the scorer `judge` reads replies, and eval.answer: likelihood asks for none",
            "let answers be generated, or leave the scorer out",
        )


def refuse_itself(recipe: Recipe, section: JudgeSection) -> None:
    """Raises UsageError where the judge is the model that it judges: models prefer their own answers."""
    if _who(section.model, section.engine) == _who(recipe.model, recipe.engine):
        raise UsageError(
            f"the judge is the model that is judged ({recipe.model.path or recipe.engine.kind}), and models prefer "
            "their own answers",
            "name another model as judge",
        )


def _who(model: ModelSection, engine: EngineSection) -> tuple[object, ...]:
    kind = engine_class(model, engine).kind if engine.kind == "auto" else engine.kind
    asked = None if is_application(engine) else (model.path, model.adapter)
    return asked, kind, engine.base_url, engine.url


def judged(
    recipe: Recipe,
    samples: Sequence[Sample],
    folder: Path,
    *,
    use_cache: bool = True,
    cache: ResponseCache | None = None,
    quiet: bool = False,
    tokens: int | None = None,
) -> tuple[list[Sample], int]:
    """Asks the judge of a recipe about every reply that it has not seen, and returns the samples with the score
    `judge`, as it was last given, and how many tokens are used by now. `tokens` is how many were before, by default
    those that judges used on this run. `cache` is one that is open already.

    No model is needed where every verdict is there. Raises as `Judging.ask`, and Incomplete where more comparisons
    failed than answers may (`eval.max_errors`); of fewer the score is unknown.
    """
    file = folder / names.JUDGED
    used = tokens_in(folder) if tokens is None else tokens
    section = recipe.eval.judge
    if section is not None and SCORE in recipe.eval.scores:
        pairs = {digests: sample for sample in samples if has_score(sample) for digests in [with_gold(sample)]}
        known = Verdicts(lines(file))
        mine = known.judge.startswith(f"{settings(section)}.")
        if any(not (mine and _given(known, pair)) for pair in pairs):
            budget = recipe.eval.max_tokens_total
            with judge(section, file, budget=budget, tokens=used, use_cache=use_cache, cache=cache) as judging:
                known = judging.known()
                to_ask = [
                    Comparison(sample.question, sample.answer.strip(), (sample.outcome.gold or "").strip(), pair)
                    for pair, sample in pairs.items()
                    if not _given(known, pair)
                ]
                with Progress("judging", len(to_ask), quiet=quiet) as judging.runner.progress:
                    asked = judging.ask(to_ask)
                used = judging.runner.tokens
            if not quiet:
                print(unreadable(asked), file=sys.stderr)
            refuse_failed(asked, len(pairs), recipe.eval.max_errors)
    return list(scored(samples, Verdicts(lines(file)))), used


def joined(shards: Iterable[Path], folder: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Adds the verdicts of the shards of a run to those of the whole, and returns its samples with the score `judge`.
    Asks nothing: of replies that no shard had judged the score is unknown."""
    file = folder / names.JUDGED
    known = set(lines(file))
    new = [line for shard in shards for line in lines(shard / names.JUDGED) if line not in known]
    if new:
        append(file, new)
    return list(scored(samples, Verdicts(lines(file))))


def _given(known: Verdicts, pair: tuple[str, str, str]) -> bool:
    text, one, other = pair
    return known.of(text, [one], [other]) is not None


def unreadable(asked: Asked) -> str:
    """Returns in a line what a judge said that was no verdict."""
    if not asked.unreadable:
        return "every reply was a verdict"
    first = visible(" ".join(asked.unreadable[0].split()))[:_SHOWN]
    return f"{len(asked.unreadable)} replies were no verdict, such as: {first}"


def refuse_failed(asked: Asked, pairs: int, most: float) -> None:
    """Raises Incomplete where more than the share `most` of the comparisons of these pairs failed."""
    if len(asked.errors) > most * pairs:
        raise Incomplete(
            f"{len(asked.errors)} of {pairs} comparisons failed: {asked.errors[0].message}",
            "the same command asks them again",
        )
