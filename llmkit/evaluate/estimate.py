"""What a run will cost, before any model is asked: calls, tokens, and the first real prompt of each arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.evaluate.conditions import REPLICATE
from llmkit.evaluate.jobs import Job
from llmkit.evaluate.pipeline import Plan
from llmkit.evaluate.statistics import minimum_detectable_effect
from llmkit.perturb.spec import names
from llmkit.types import CLEAN, Message, Reply, Request

_SAMPLE = 40  # answers of each arm whose prompts are measured
_CHARS_PER_TOKEN = 4.0  # of English, about; the estimate says "about"


@dataclass(frozen=True)
class ArmEstimate:
    """One arm: calls in all, about how many prompt tokens, at most how many generated, and its first prompts."""

    arm: str
    answers: int
    calls: int
    prompt_tokens: int
    most_completion_tokens: int
    first: tuple[tuple[Message, ...], ...]


@dataclass(frozen=True)
class Estimate:
    """A run before it starts. `effect` is the smallest gain that would be found in four of five such runs, if two arms
    disagree on a fifth of the questions; None where no gain would."""

    questions: int
    conditions: list[str]
    arms: list[ArmEstimate]
    search_calls: int
    noise_calls: int
    effect: float | None

    @property
    def calls(self) -> int:
        return self.noise_calls + self.search_calls + sum(a.calls for a in self.arms)

    def json(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "conditions": self.conditions,
            "calls": self.calls,
            "search_calls": self.search_calls,
            "noise_calls": self.noise_calls,
            "minimum_detectable_effect": self.effect,
            "arms": {
                a.arm: {
                    "answers": a.answers,
                    "calls": a.calls,
                    "prompt_tokens": a.prompt_tokens,
                    "most_completion_tokens": a.most_completion_tokens,
                    "first_prompts": [[{"role": m.role, "content": m.content} for m in p] for p in a.first],
                }
                for a in self.arms
            },
        }


def estimate(plan: Plan) -> Estimate:
    """Counts what each arm would ask, by letting it ask and answering with its own question. Shared calls, such as one
    correction that two arms need, are counted for each: the cache makes the run cheaper than this."""
    by_arm: dict[str, list[Job]] = {}
    for job in plan.jobs(plan.given):
        by_arm.setdefault(job.arm.name, []).append(job)
    questions = len({v.question.id for v in plan.variants})
    shown = list(dict.fromkeys(v.condition for v in plan.variants if v.condition not in (CLEAN, REPLICATE)))
    return Estimate(
        questions,
        [CLEAN, *shown],
        [_arm(name, jobs) for name, jobs in by_arm.items()],
        _search_calls(plan) if plan.searches else 0,
        plan.noise_calls,
        minimum_detectable_effect(questions),
    )


def _arm(name: str, jobs: list[Job]) -> ArmEstimate:
    step = max(1, len(jobs) // _SAMPLE)
    asked = [_asked(job) for job in jobs[::step]]
    scale = len(jobs) / len(asked)
    requests = [r for one in asked for r in one]
    chars = sum(len(m.content) for r in requests for m in r.messages)
    return ArmEstimate(
        name,
        len(jobs),
        round(len(requests) * scale),
        round(chars / _CHARS_PER_TOKEN * scale),
        round(sum(0 if r.continuation else r.sampling.max_tokens for r in requests) * scale),
        tuple(r.messages for r in asked[0]),
    )


def _asked(job: Job) -> list[Request]:
    """Every request that a job makes when each reply repeats the question."""
    asked: list[Request] = []

    def reply(request: Request) -> Reply:
        asked.append(request)
        return Reply(job.variant.text, logprobs=(0.0,) if request.continuation else None)

    steps = job.steps()
    sent: Any = None
    try:
        while True:
            wanted = steps.send(sent)
            sent = [reply(r) for r in wanted] if isinstance(wanted, list) else reply(wanted)
    except StopIteration:
        return asked


def _search_calls(plan: Plan) -> int:
    """At most: two searches with their proposals, and the pools corrected in between."""
    recipe = plan.recipe
    search, kinds = recipe.rop.search, len(names(recipe.perturb.conditions))
    sets = kinds if recipe.rop.holdout == "one-out" or recipe.rop.scope == "per_type" else 1
    each = 2 * (search.queries * search.completions + search.budget) + len(plan.train) + len(plan.dev)
    return sets * recipe.rop.search_seeds * each
