"""What one run asks: its questions, the noise on them, its arms, and the pools that instructions are tuned on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from llmkit.conditions import REPLICATE, Condition
from llmkit.errors import DataError, UsageError
from llmkit.measure import changed
from llmkit.perturb import Perturber, make_variants, perturbers, spread_variants
from llmkit.recipe.schema import Recipe
from llmkit.rop import Arm, Pools
from llmkit.seeds import derive
from llmkit.tasks import Questions, kind_of, leaks, load
from llmkit.types import CLEAN, Ask, Question, Steps, Strength, Variant

_REPEATED = 1000  # rows without answers that are asked a second time: the share that differs is then known to .01


def nobody(jobs: Iterable[tuple[str, Steps]]) -> Iterator[tuple[str, Any]]:
    """Asks no model: conditions whose noise a model writes show the clean text, as in a plan that has not been run."""
    return ((name, None) for name, _ in jobs)


def needs_of(arms: Sequence[type[Arm]], recipe: Recipe) -> frozenset[str]:
    """Returns what must be searched or drawn before these arms can ask: correction, guidance, examples, shots."""
    needs = frozenset().union(*(a.needs for a in arms))
    if "guidance" in needs and recipe.rop.guidance_shots:
        needs |= {"examples"}
    if "correction" in needs and recipe.rop.correction_shots:
        needs |= {"shots"}
    return needs


def refuse_sampling(arms: Sequence[type[Arm]], questions: Sequence[Question], recipe: Recipe) -> None:
    """Raises UsageError for an arm that has to generate where questions are answered by the likeliest option."""
    names = [arm.name for arm in arms if arm.generates]
    if recipe.eval.answer == "likelihood" and names and any(kind_of(q).continuations(q) for q in questions):
        raise UsageError(
            f"arm `{names[0]}` votes by sampled answers, and eval.answer: likelihood has none: every vote is the same",
            "leave the arm out, or generate answers (eval.answer: generate)",
        )


def test_questions(recipe: Recipe) -> Questions:
    """Returns the questions that are measured. Raises DataError where there are none."""
    questions = load(recipe.data, seed=recipe.seed, noisy=recipe.perturb.fields)
    if not questions:
        raise DataError(f"{recipe.data.task or recipe.data.path}: split `{recipe.data.split}` holds no question")
    return questions


def test_variants(questions: Sequence[Question], recipe: Recipe, ask: Ask) -> list[Variant]:
    """Returns every question clean and under every condition, `eval.draws` noisy copies each; `ask` has a model write
    noise."""
    variants = make_variants(questions, recipe.perturb, recipe.seed, recipe.eval.draws, ask, recipe.data.data_dir)
    if recipe.perturb.target != "question":
        if written := [c for c, p in perturbers_of(recipe).items() if p.most_calls]:
            raise UsageError(
                f"`{written[0]}` falls on questions only, not on perturb.target: {recipe.perturb.target}",
                "it needs a question to write noise for; take conditions without a model here",
            )
        # The noise falls on what stands around the question; the condition only names it.
        variants = [replace(v, text=v.question.text, edits=(), strength=Strength(), rejected=None) for v in variants]
    if unlabelled(questions):
        return variants + _again(variants, questions, recipe.seed)
    if recipe.eval.replicate_clean:
        variants += [Variant.unchanged(q, REPLICATE) for q in questions]
    return variants


def unlabelled(questions: Iterable[Question]) -> bool:
    """Returns whether rows have no answers, so that a run measures which answers change."""
    return any(q.gold is None for q in questions)


def _again(variants: Sequence[Variant], questions: Sequence[Question], seed: int) -> list[Variant]:
    """Returns the variants of at most `_REPEATED` rows a second time, as sent and under each noise: what differs there
    changes by itself."""
    # By a hash of each row, so that a shard, a smaller limit or one more row repeats the same ones.
    ranked = sorted(questions, key=lambda q: derive(seed, "again", q.id))
    chosen = {q.id for q in ranked[:_REPEATED]}
    return [
        replace(v, condition=str(Condition.parse(v.condition).again))
        for v in variants
        if v.question.id in chosen and v.draw == 0
    ]


def refuse_unlabelled(questions: Sequence[Question], arms: Sequence[type[Arm]], searches: bool) -> None:
    """Raises UsageError where rows have no answers and an arm, or the search for its guidance, needs some."""
    if not unlabelled(questions):
        return
    for arm in arms:
        if "examples" in arm.needs or ("guidance" in arm.needs and searches):
            raise UsageError(
                f"arm `{arm.name}` needs rows with answers, and these have none (data.answer)",
                "measure the arms that only correct, or give the instructions of an earlier run (rop.instructions)",
            )


def refuse_hidden(recipe: Recipe, searches: bool) -> None:
    """Raises UsageError where texts are not to be kept and something has to be found again by its text."""
    written = [c for c, p in perturbers_of(recipe).items() if p.most_calls]
    if recipe.output.texts != "full" and (searches or written):
        what = f"noise that a model writes (`{written[0]}`)" if written else "a search for instructions"
        raise UsageError(
            f"output.texts: {recipe.output.texts} goes with no {what}: their texts have to be kept",
            "give the instructions of an earlier run (rop.instructions), or noise that needs no model",
        )


def perturbers_of(recipe: Recipe) -> dict[str, Perturber]:
    """Returns the perturber of each condition of a recipe."""
    return perturbers(recipe.perturb, recipe.seed, data_dir=recipe.data.data_dir)


def refuse_unchanged(variants: Sequence[Variant], questions: Sequence[Question], recipe: Recipe) -> None:
    """Raises DataError where noise that needs no model changes none of the `questions`; `variants` are those asked
    here.

    A shard may hold no question that can be changed, where the whole run does: then all questions are looked at.
    """
    known = {CLEAN, *(c for c, p in perturbers_of(recipe).items() if not p.most_calls)}
    try:
        changed.refuse_unchanged([v for v in variants if v.condition in known])
    except DataError:
        if len({v.question.id for v in variants}) == len(questions):
            raise
        whole = test_variants(questions, recipe, nobody)
        changed.refuse_unchanged([v for v in whole if v.condition in known])


def tuning_questions(recipe: Recipe, questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Returns the train and dev pools. Raises DataError where one of their questions is asked in the test as well."""
    size = recipe.rop.search.pool
    data = recipe.data.model_copy(update={"limit": None})  # the limit is for the test; pools have a size of their own
    pools = []
    for split in ("train", "dev"):
        pool = load(data, split, recipe.seed, recipe.perturb.fields)
        # A seed of its own for each split: the pools stay the same whatever else is drawn.
        pools.append(Random(derive(recipe.seed, "pool", split)).sample(pool, min(size, len(pool))))
    leaks.refuse_leaks(pools[0] + pools[1], questions)
    return pools[0], pools[1]


def noisy_pools(
    train: Sequence[Question], dev: Sequence[Question], conditions: Sequence[str], recipe: Recipe, ask: Ask = nobody
) -> Pools:
    """Returns each tuning question under one of the conditions in turn, so that `conditions` share the pools evenly."""

    def spread(questions: Sequence[Question], split: str) -> list[Variant]:
        section = recipe.perturb.model_copy(update={"conditions": tuple(conditions)})
        return spread_variants(questions, section, derive(recipe.seed, "tune", split), ask, recipe.data.data_dir)

    return Pools(spread(train, "train"), spread(dev, "dev"))
