"""Questions under every condition of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from llmkit.errors import UsageError
from llmkit.perturb.engine import Perturbed, Perturber
from llmkit.perturb.spec import names
from llmkit.recipe.schema.data import PerturbSection
from llmkit.runs import Runner
from llmkit.types import CLEAN, Question, Steps, Variant

Place = tuple[int, str, int]  # question, condition, draw


def perturbers(section: PerturbSection, seed: int) -> dict[str, Perturber]:
    """One perturber per condition, by the condition's name: the spec, or `spec@rate` where there are several rates."""
    rates = section.rate if isinstance(section.rate, tuple) else (section.rate,)
    return {
        spec if len(rates) == 1 else f"{spec}@{rate:g}": Perturber(spec, rate, seed, section.protect, section.retries)
        for spec in names(section.conditions)
        for rate in rates
    }


def make_variants(
    questions: Iterable[Question], section: PerturbSection, seed: int, draws: int = 1, runner: Runner | None = None
) -> Iterator[Variant]:
    """For each question its clean variant, then `draws` noisy copies under each condition, in the recipe's order.

    Conditions that ask a model (`llm:ec`, `adversarial:4`) need the `runner`: UsageError without one.
    """
    by_condition = perturbers(section, seed)
    asking = {condition: p for condition, p in by_condition.items() if p.asks_model}
    written: Mapping[Place, Perturbed] = {}
    if asking:
        questions = list(questions)
        written = _written(questions, asking, draws, runner)
    for number, question in enumerate(questions):
        yield Variant(question, CLEAN, question.text)
        for condition, perturber in by_condition.items():
            for draw in range(draws):
                made = written.get((number, condition, draw)) or _apply(perturber, question, draw)
                why = made.reason if made.rejected else None
                yield Variant(question, condition, made.text, made.edits, made.strength, made.seed, draw, why)


def _apply(perturber: Perturber, question: Question, draw: int) -> Perturbed:
    return perturber.apply(question.text, question.id, options=question.options, gold=gold_text(question), copy=draw)


def _written(
    questions: Sequence[Question], asking: Mapping[str, Perturber], draws: int, runner: Runner | None
) -> dict[Place, Perturbed]:
    """What the model wrote, by place. A request that failed leaves its copy unchanged, with the error as reason."""
    if runner is None:
        hint = "write a file with `llmkit perturb --model MODEL`, then use `file:PATH`"
        raise UsageError(f"`{next(iter(asking))}` needs a model", hint)
    places = product(range(len(questions)), asking, range(draws))

    def steps(place: Place) -> Steps:
        question = questions[place[0]]
        return asking[place[1]].steps(
            question.text, question.id, options=question.options, gold=gold_text(question), copy=place[2]
        )

    return {
        done.key: done.result or Perturbed(questions[done.key[0]].text, rejected=True, reason=str(done.error))
        for done in runner.run((place, steps(place)) for place in places)
    }


def gold_text(question: Question) -> str:
    """What must not be given away: the option's text where the gold is a label."""
    if question.kind == "choice" and question.options and len(question.gold) == 1:
        place = ord(question.gold.upper()) - ord("A")
        return question.options[place] if 0 <= place < len(question.options) else question.gold
    return question.gold
