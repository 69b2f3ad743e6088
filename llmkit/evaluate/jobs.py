"""The answers that a run wants: every variant, put by every arm, under every set of instructions that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from llmkit.conditions import POOLED, Condition
from llmkit.evaluate import pools
from llmkit.perturb.english import is_english
from llmkit.perturb.variants import noise_on
from llmkit.recipe import Recipe
from llmkit.rop import Arm, ArmContext, Instructions
from llmkit.runs import Finished
from llmkit.secrets import scrub
from llmkit.steps import mapped
from llmkit.tasks import OwnPrompt, Scorer, as_asked, worked_examples
from llmkit.types import Answer, Ask, Outcome, Question, Request, Steps, Usage, Variant

TextPairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Job:
    """One variant put by one arm under one set of instructions."""

    arm: Arm
    variant: Variant
    instructions: Instructions

    @property
    def meta(self) -> dict[str, Any]:
        """What tells this answer apart beside arm and condition. Empty in the plain case: one pooled search."""
        if not self.arm.needs & {"correction", "guidance"}:
            return {}
        found = self.instructions
        meta: dict[str, Any] = {"search_seed": found.seed} if found.seed else {}
        if held_out := Condition.parse(found.trained_on).held_out:
            meta["holdout"] = held_out
        return meta

    @property
    def key(self) -> str:
        # A resumed run finds its answers by this text, also in journals of earlier releases: its form is fixed.
        v = self.variant
        found = (self.instructions.trained_on, str(self.instructions.seed)) if self.meta else ("", "")
        under = (self.prompt,) if self.prompt else ()
        return "/".join((*under, self.arm.name, *found, v.condition, str(v.draw), v.question.id))

    @property
    def prompt(self) -> str:
        """The name of the user's own prompt; "" without one."""
        own = self.arm.context.prompt
        return own.name if own else ""

    def steps(self) -> Steps:
        """Returns the arm's requests; a replicate's are marked as such, so that no cache answers them with the first
        ones."""
        steps = self.arm.ask(self.variant)
        again = Condition.parse(self.variant.condition).replicate > 1
        return mapped(steps, _asked_again) if again else steps


def _asked_again(request: Request) -> Request:
    # Far above the replicates that an arm asks for itself, as the votes of self_consistency are.
    return replace(request, replicate=request.replicate + 1_000_000)


def demos(
    recipe: Recipe, needs: frozenset[str], train: list[Question], ask: Ask = pools.nobody
) -> tuple[TextPairs, TextPairs]:
    """Returns worked examples and (noisy, clean) pairs from the train pool, where an arm shows them."""
    count = max(recipe.rop.few_shot, recipe.rop.guidance_shots)
    examples = worked_examples(train, count, bool(recipe.prompts)) if "examples" in needs else []
    if "shots" not in needs:
        return examples, []
    shown = train[: recipe.rop.correction_shots]
    noisy = pools.noisy_pools(shown, [], recipe.perturb.conditions, recipe, ask).train
    return examples, [(v.text, v.question.text) for v in noisy]


def wanted(
    recipe: Recipe,
    arms: Sequence[type[Arm]],
    variants: Sequence[Variant],
    found: Sequence[Instructions],
    examples: Sequence[tuple[str, str]],
    shots: Sequence[tuple[str, str]],
    prompts: Sequence[OwnPrompt] = (),
) -> list[Job]:
    """Returns every answer that is wanted, in the order in which results are kept."""
    noise = noise_on(recipe) if recipe.perturb.target != "question" else None
    for_english = [cls.name for cls in arms if cls.english]
    # Judged by the clean questions: noise makes English look like another language.
    clean = {v.question.id: v.question.text for v in variants}
    lang = recipe.perturb.lang or ("en" if is_english(clean.values(), for_english) else "")

    def made(cls: type[Arm], instructions: Instructions, prompt: OwnPrompt | None) -> Arm:
        likelihood = recipe.eval.answer == "likelihood"
        target = recipe.perturb.target
        section, seed = recipe.rop, recipe.seed
        return cls(ArmContext(section, instructions, examples, shots, likelihood, seed, target, noise, lang, prompt))

    jobs = []
    under: Sequence[OwnPrompt | None] = prompts or [None]
    for prompt, cls in product(under, arms):
        searched = cls.needs & {"correction", "guidance"}
        # An arm that uses nothing searched asks the same under every set of instructions: once is enough.
        sets = {id(i): made(cls, i, prompt) for i in (found if searched else found[:1])}
        for variant in variants:
            for instructions in fitting(found, variant) if searched else found[:1]:
                jobs.append(Job(sets[id(instructions)], variant, instructions))
    return jobs


def fitting(found: Sequence[Instructions], variant: Variant) -> list[Instructions]:
    """Returns the instruction sets that this variant is put with: of its own kind of noise where there are such, else
    all.

    Clean questions have no kind: of sets for one kind each, they get the one whose guidance did best in its search.
    """
    kind = Condition.parse(variant.condition).spec
    own = [i for i in found if i.trained_on == kind]
    if own or all(Condition.parse(i.trained_on).spec == POOLED for i in found):
        return own or list(found)
    # Log-likelihoods are below 0: what was not scored comes after all of them.
    best = max(found, key=lambda i: -math.inf if i.guidance.mean is None else i.guidance.mean).trained_on
    return [i for i in found if i.trained_on == best]


def outcome_from(job: Job, done: Finished, scorer: Scorer) -> Outcome:
    """Scores a finished job. What failed or could not be parsed is wrong, and says so."""
    variant, question = job.variant, as_asked(job.variant)
    answer: Answer | None = done.result
    judged = scorer.judge(answer.reply.said if answer else None, answer.parsed if answer else None, question)
    return Outcome(
        question_id=question.id,
        cluster_id=question.cluster_id,
        condition=variant.condition,
        arm=job.arm.name,
        draw=variant.draw,
        parsed=judged.parsed,
        correct=judged.correct,
        gold=question.gold,
        calls=len(done.calls),
        usage=sum((c.reply.usage for c in done.calls), Usage()),
        cut=bool(answer and answer.reply.finish_reason == "length"),
        corrected_text=answer.corrected_text if answer else None,
        fallback=answer.fallback if answer else None,
        error=scrub(done.error.message) if done.error else None,  # a server may quote the key it was sent
        meta=job.meta,
        prompt=job.prompt,
        scores=judged.scores,
    )
