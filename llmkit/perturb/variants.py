"""Questions under every condition of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmkit.perturb.engine import Perturber
from llmkit.perturb.spec import names
from llmkit.recipe.schema.data import PerturbSection
from llmkit.types import CLEAN, Question, Variant


def perturbers(section: PerturbSection, seed: int) -> dict[str, Perturber]:
    """One perturber per condition, by the condition's name: the spec, or `spec@rate` where there are several rates."""
    rates = section.rate if isinstance(section.rate, tuple) else (section.rate,)
    return {
        spec if len(rates) == 1 else f"{spec}@{rate:g}": Perturber(spec, rate, seed, section.protect, section.retries)
        for spec in names(section.conditions)
        for rate in rates
    }


def make_variants(
    questions: Iterable[Question], section: PerturbSection, seed: int, draws: int = 1
) -> Iterator[Variant]:
    """For each question its clean variant, then `draws` noisy copies under each condition, in the recipe's order."""
    by_condition = perturbers(section, seed)
    for question in questions:
        yield Variant(question, CLEAN, question.text)
        for condition, perturber in by_condition.items():
            for draw in range(draws):
                made = perturber.apply(
                    question.text, question.id, options=question.options, gold=gold_text(question), copy=draw
                )
                yield Variant(
                    question,
                    condition,
                    made.text,
                    made.edits,
                    made.strength,
                    made.seed,
                    draw,
                    made.reason if made.rejected else None,
                )


def gold_text(question: Question) -> str:
    """What must not be given away: the option's text where the gold is a label."""
    if question.kind == "choice" and question.options and len(question.gold) == 1:
        place = ord(question.gold.upper()) - ord("A")
        return question.options[place] if 0 <= place < len(question.options) else question.gold
    return question.gold
