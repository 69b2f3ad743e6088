"""Questions under every condition of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from llmkit.errors import EngineError, UsageError
from llmkit.perturb.engine import Perturbed, Perturber
from llmkit.perturb.spec import names
from llmkit.recipe.schema.data import PerturbSection
from llmkit.tasks import gold_text
from llmkit.types import CLEAN, Ask, Question, Steps, Variant

Place = tuple[Question, str, int]  # question, condition, draw


def perturbers(section: PerturbSection, seed: int) -> dict[str, Perturber]:
    """One perturber per condition, by the condition's name: the spec, or `spec@rate` where there are several rates."""
    rates = section.rate if isinstance(section.rate, tuple) else (section.rate,)
    return {
        spec if len(rates) == 1 else f"{spec}@{rate:g}": Perturber(spec, rate, seed, section.protect, section.retries)
        for spec in names(section.conditions)
        for rate in rates
    }


def make_variants(
    questions: Iterable[Question], section: PerturbSection, seed: int, draws: int = 1, ask: Ask | None = None
) -> list[Variant]:
    """For each question its clean variant, then `draws` noisy copies under each condition, in the recipe's order.

    Conditions that ask a model (`llm:ec`, `adversarial:4`) need `ask`: UsageError without it. Where it gives no result
    for a copy, or the request fails, the copy is the clean text, with the reason.
    """
    by_condition = perturbers(section, seed)
    shown = [(CLEAN, 0), *product(by_condition, range(draws))]
    return _made([(q, condition, draw) for q in questions for condition, draw in shown], by_condition, ask)


def spread_variants(
    questions: Iterable[Question], section: PerturbSection, seed: int, ask: Ask | None = None
) -> list[Variant]:
    """Each question once, under one of the conditions in turn, so that they share the questions evenly."""
    by_condition = perturbers(section, seed)
    shown = list(by_condition) or [CLEAN]
    return _made([(q, shown[i % len(shown)], 0) for i, q in enumerate(questions)], by_condition, ask)


def _made(places: Sequence[Place], by_condition: Mapping[str, Perturber], ask: Ask | None) -> list[Variant]:
    written = _written([p for p in places if p[1] != CLEAN and by_condition[p[1]].asks_model], by_condition, ask)
    variants = []
    for question, condition, draw in places:
        if condition == CLEAN:
            variants.append(Variant(question, CLEAN, question.text))
            continue
        made = written.get(_name(question, condition, draw)) or by_condition[condition].apply(
            question.text, question.id, options=question.options, gold=gold_text(question), copy=draw
        )
        why = made.reason if made.rejected else None
        variants.append(Variant(question, condition, made.text, made.edits, made.strength, made.seed, draw, why))
    return variants


def _written(places: Sequence[Place], by_condition: Mapping[str, Perturber], ask: Ask | None) -> dict[str, Perturbed]:
    """What the model wrote, by name."""
    if not places:
        return {}
    if ask is None:
        hint = "write a file with `llmkit perturb --model MODEL`, then use `file:PATH`"
        raise UsageError(f"`{places[0][1]}` needs a model", hint)
    texts = {_name(*place): place[0].text for place in places}
    jobs = ((_name(*place), _steps(by_condition[place[1]], place[0], place[2])) for place in places)
    return {name: made or Perturbed(texts[name], rejected=True, reason="not written") for name, made in ask(jobs)}


def _name(question: Question, condition: str, draw: int) -> str:
    return f"noise/{condition}/{draw}/{question.id}"


def _steps(perturber: Perturber, question: Question, draw: int) -> Steps:
    """One copy. A request that fails costs this copy its noise, not the run."""
    try:
        return (
            yield from perturber.steps(
                question.text, question.id, options=question.options, gold=gold_text(question), copy=draw
            )
        )
    except EngineError as error:
        return Perturbed(question.text, rejected=True, reason=error.message)
