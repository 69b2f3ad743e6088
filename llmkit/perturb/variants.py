"""Questions under every condition of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, product

from llmkit.conditions import Condition
from llmkit.errors import UsageError
from llmkit.perturb.engine import Guarded, Perturbed, Perturber
from llmkit.perturb.english import is_english
from llmkit.perturb.spec import spec_names
from llmkit.perturb.text import strength
from llmkit.recipe.schema import Recipe
from llmkit.recipe.schema.data import PerturbSection
from llmkit.tasks import gold_text, wording
from llmkit.types import CLEAN, Ask, Edit, Question, Strength, Variant

Place = tuple[Question, str, int]  # question, condition, draw


def perturbers(
    section: PerturbSection,
    seed: int,
    texts: Callable[[], Iterable[str]] | None = None,
    data_dir: str | None = None,
) -> dict[str, Perturber]:
    """Creates one perturber per condition, by the condition's name: the spec, or `spec@rate` where there are several
    rates.

    `texts` gives the set, which decides whether operators that work from English words apply; it is called only where
    there is such an operator, and no language is given: then each text decides.
    """
    by_condition = _perturbers(section, seed, data_dir, english=True)
    for_english = [name for perturber in by_condition.values() for name in perturber.for_english]
    if texts and for_english and not section.lang and not is_english(texts(), for_english):
        return _perturbers(section, seed, data_dir, english=False)
    return by_condition


def _perturbers(section: PerturbSection, seed: int, data_dir: str | None, english: bool) -> dict[str, Perturber]:
    rates = section.rate if isinstance(section.rate, tuple) else (section.rate,)

    def name(spec: str, rate: float | str) -> str:
        return spec if len(rates) == 1 or isinstance(rate, str) else str(Condition(spec, rate))

    return {
        name(spec, rate): Perturber(
            spec, rate, seed, section.protect, section.retries, section.release, english, data_dir, section.lang
        )
        for spec in spec_names(section.conditions)
        for rate in rates
    }


def make_variants(
    questions: Iterable[Question],
    section: PerturbSection,
    seed: int,
    draws: int = 1,
    ask: Ask | None = None,
    data_dir: str | None = None,
) -> list[Variant]:
    """Makes each question's clean variant, then `draws` noisy copies under each condition, in the recipe's order.

    Conditions that ask a model (`llm:ec`, `adversarial:4`) need `ask`: UsageError without it. Where it gives no result,
    the copy is the clean text and says so.
    """
    questions = list(questions)
    by_condition = perturbers(section, seed, lambda: (question.text for question in questions), data_dir)
    shown = [(CLEAN, 0), *product(by_condition, range(draws))]
    return _made(
        [(question, condition, draw) for question in questions for condition, draw in shown], by_condition, ask
    )


def spread_variants(
    questions: Iterable[Question],
    section: PerturbSection,
    seed: int,
    ask: Ask | None = None,
    data_dir: str | None = None,
) -> list[Variant]:
    """Makes one variant of each question, under one of the conditions in turn, so that they share the questions
    evenly."""
    questions = list(questions)
    by_condition = perturbers(section, seed, lambda: (question.text for question in questions), data_dir)
    shown = list(by_condition) or [CLEAN]
    return _made([(question, shown[i % len(shown)], 0) for i, question in enumerate(questions)], by_condition, ask)


def _made(wanted_copies: Sequence[Place], by_condition: Mapping[str, Perturber], ask: Ask | None) -> list[Variant]:
    """Makes the wanted copies. The parts of a divided question are perturbed each by itself, with a seed of its own."""
    pieces = [[(piece, condition, draw) for piece in _pieces(q)] for q, condition, draw in wanted_copies]
    made = iter(_made_whole(list(chain.from_iterable(pieces)), by_condition, ask))
    return [
        _joined(place[0], list(islice(made, len(part)))) if place[0].divided else next(made)
        for place, part in zip(wanted_copies, pieces, strict=True)
    ]


def _pieces(question: Question) -> list[Question]:
    """Returns a question for each text that noise falls on."""
    if not question.divided:
        return [question]
    return [
        replace(question, id=f"{question.id}/{number}", text=part.text, options=(), fields={}, parts=())
        for number, part in enumerate(question.parts)
    ]


def _joined(question: Question, made: Sequence[Variant]) -> Variant:
    """Returns the variant of a divided question that those of its parts make up. Its strength is that of all."""
    texts = tuple(variant.text for variant in made)
    edits: list[Edit] = []
    start = 0
    for variant in made:
        if variant.text.strip():  # `wording` leaves an empty part out
            edits += (edit._replace(start=edit.start + start, end=edit.end + start) for edit in variant.edits)
            start += len(variant.text) + len("\n\n")
    text = wording(texts, question.options)
    refused = [variant.rejected for variant in made if variant.question.text.strip()]
    first = made[0]
    return Variant(
        question,
        first.condition,
        text,
        tuple(edits),
        strength(question.text, text, edits, None) if edits else Strength(),
        first.seed,
        first.draw,
        refused[0] if all(refused) else None,
        texts,
    )


def _made_whole(
    wanted_copies: Sequence[Place], by_condition: Mapping[str, Perturber], ask: Ask | None
) -> list[Variant]:
    written = _written(
        [place for place in wanted_copies if place[1] != CLEAN and by_condition[place[1]].most_calls], by_condition, ask
    )
    variants = []
    for question, condition, draw in wanted_copies:
        if condition == CLEAN:
            variants.append(Variant(question, CLEAN, question.text))
            continue
        perturber = by_condition[condition]
        if perturber.most_calls:
            perturbed = written[_name(perturber, question, condition, draw)]
        else:
            options, gold = _guarded(question)
            perturbed = perturber.apply(question.text, question.id, options=options, gold=gold, copy=draw)
        rejection = perturbed.reason if perturbed.rejected else None
        variants.append(
            Variant(
                question,
                condition,
                perturbed.text,
                perturbed.edits,
                perturbed.strength,
                perturbed.seed,
                draw,
                rejection,
            )
        )
    return variants


def _written(
    wanted_copies: Sequence[Place], by_condition: Mapping[str, Perturber], ask: Ask | None
) -> dict[str, Perturbed]:
    """Runs the copies that a model writes. Returns them by name."""
    if not wanted_copies:
        return {}
    if ask is None:
        hint = "write a file with `llmkit perturb --model MODEL`, then use `file:PATH`"
        raise UsageError(f"`{wanted_copies[0][1]}` needs a model", hint)
    texts, pending_steps = {}, {}
    for question, condition, draw in wanted_copies:
        perturber = by_condition[condition]
        copy_name = _name(perturber, question, condition, draw)
        texts[copy_name] = question.text
        options, gold = _guarded(question)
        pending_steps[copy_name] = perturber.steps(question.text, question.id, options=options, gold=gold, copy=draw)
    results = dict(ask(pending_steps.items()))
    return {
        copy_name: results.get(copy_name) or Perturbed(question_text, rejected=True, reason="nothing was written")
        for copy_name, question_text in texts.items()
    }


def _guarded(question: Question) -> Guarded:
    return Guarded(question.options, gold_text(question))


def _name(perturber: Perturber, question: Question, condition: str, draw: int) -> str:
    """Names one copy for good: another text, seed or rate has another name."""
    return f"noise/{condition}/{draw}/{question.id}/{perturber.fingerprint(question.text):016x}"


def noise_on(recipe: Recipe) -> Callable[[str, Variant], str]:
    """Returns a function that changes a text as the variant's condition asks, for noise on instructions and
    examples."""

    def change(text: str, variant: Variant) -> str:
        if Condition.parse(variant.condition).clean:
            return text
        asked = Question(f"{variant.draw}:{text}", text, "", "text")
        made = make_variants([asked], recipe.perturb, recipe.seed, draws=1, data_dir=recipe.data.data_dir)
        return next(v.text for v in made if v.condition == variant.condition)

    return change
