"""What a run will cost, before any model is asked: calls, tokens, and the first real prompt of each arm, with the
system prompt that the engine puts before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmkit.conditions import Condition
from llmkit.engines.chat import ChatStyle
from llmkit.evaluate import pools
from llmkit.evaluate.jobs import Job
from llmkit.evaluate.plan import Plan
from llmkit.measure import cost, looks
from llmkit.measure.arm_results import Tokens
from llmkit.measure.statistics import minimum_detectable_effect, worth
from llmkit.perturb.spec import spec_names
from llmkit.recipe.schema import EvalSection
from llmkit.rop.search import expected
from llmkit.runs.roles import ROLES, model_of
from llmkit.steps import drive
from llmkit.types import CLEAN, Message, Reply, Request, Role, Steps

Styles = Mapping[Role, ChatStyle]

_SAMPLE = 40  # answers of each arm whose prompts are measured
_CHARS_PER_TOKEN = 4.0  # of English, about; the estimate says "about"


@dataclass(frozen=True)
class ArmEstimate:
    """One arm, named after the user's own prompt where there is one ("support.stand"): calls in all, about how many
    prompt tokens, at most how many generated, and its first prompts."""

    arm: str
    answers: int
    calls: int
    prompt_tokens: int
    most_completion_tokens: int
    first: tuple[tuple[Message, ...], ...]


@dataclass(frozen=True)
class SearchEstimate:
    """All searches of a run: calls at most, about how many prompt tokens, at most how many generated."""

    calls: int
    prompt_tokens: int
    most_completion_tokens: int


@dataclass(frozen=True)
class Estimate:
    """A run before it starts. `effect` is the smallest gain that would be found in four of five such runs, if two arms
    disagree on a fifth of the questions; None where no gain would.

    `price` is what all calls cost at most by the recipe's prices, None where it has none; `rps` bounds how many are
    sent a second; `aside` counts the rows of the user's own file in other splits. `shows` says what rows without
    answers can show, "" where rows have answers; `looks` what looks may save (`eval.looks`), "" without them.
    `judge_calls` are at most those of the scorer `judge`, of another model at another price.
    """

    questions: int
    conditions: list[str]
    arms: list[ArmEstimate]
    search: SearchEstimate | None
    noise_calls: int
    effect: float | None
    price: float | None = None
    rps: float | None = None
    aside: Mapping[str, int] = field(default_factory=dict)
    shows: str = ""
    looks: str = ""
    judge_calls: int = 0

    @property
    def calls(self) -> int:
        searching = self.search.calls if self.search else 0
        return self.noise_calls + searching + sum(a.calls for a in self.arms)

    @property
    def minutes(self) -> float | None:
        """The least time that all calls take at the recipe's requests a second; None where it says none."""
        return None if self.rps is None else self.calls / self.rps / 60

    def json(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "conditions": self.conditions,
            "calls": self.calls,
            "search_calls": self.search.calls if self.search else 0,
            "search": asdict(self.search) if self.search else None,
            "noise_calls": self.noise_calls,
            **({"judge_calls": self.judge_calls} if self.judge_calls else {}),
            "minimum_detectable_effect": self.effect,
            "most_price": self.price,
            "minutes": self.minutes,
            "set_aside": dict(self.aside),
            **({"looks": self.looks} if self.looks else {}),
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
    styles = {role: ChatStyle.of(model_of(plan.recipe, role)) for role in ROLES}
    by_arm: dict[str, list[Job]] = {}
    for job in plan.jobs(plan.given):
        by_arm.setdefault(f"{job.prompt}.{job.arm.name}" if job.prompt else job.arm.name, []).append(job)
    questions = len({v.question.id for v in plan.variants})
    templates = len({v.question.cluster_id for v in plan.variants})
    asked = dict.fromkeys(v.condition for v in plan.variants)
    shown = [c for c in asked if c != CLEAN and Condition.parse(c).replicate == 1]
    arms = [_arm(name, jobs, styles) for name, jobs in by_arm.items()]
    search = _search(plan, styles) if plan.searches else None
    return Estimate(
        questions,
        [CLEAN, *shown],
        arms,
        search,
        plan.noise_calls,
        minimum_detectable_effect(worth(questions, templates), clusters=templates if templates < questions else None),
        _price([*arms, *([search] if search else [])], plan.recipe.eval),
        plan.recipe.engine.rps,
        plan.aside,
        plan.shows()[0] if pools.unlabelled(plan.questions) else "",
        looks.expected(plan.questions, plan.recipe.eval, plan.recipe.seed),
        2 * sum(arm.answers for arm in arms) if plan.recipe.eval.judge else 0,
    )


def _price(spent: Sequence[ArmEstimate | SearchEstimate], section: EvalSection) -> float | None:
    """Computes what calls cost at most; noise that a model writes is not among them."""
    prompt, completion = sum(s.prompt_tokens for s in spent), sum(s.most_completion_tokens for s in spent)
    return cost.price(Tokens(prompt=prompt, completion=completion), section)


def _arm(name: str, jobs: list[Job], styles: Styles) -> ArmEstimate:
    step = max(1, len(jobs) // _SAMPLE)  # spread over all jobs, because noise changes how long a question is
    asked = [_asked(job.steps(), job.variant.text) for job in jobs[::step]]
    spent = _spent([r for one in asked for r in one], len(jobs) / len(asked), styles)
    calls, prompt_tokens, most_completion_tokens = map(round, spent)
    first = tuple(styles[request.role].messages(request) for request in asked[0])
    return ArmEstimate(name, len(jobs), calls, prompt_tokens, most_completion_tokens, first)


def _spent(requests: Iterable[Request], scale: float, styles: Styles) -> tuple[float, float, float]:
    """Returns calls, prompt tokens and tokens generated at most, of `scale` times these requests."""
    calls = chars = longest = 0
    for request in requests:
        calls += 1
        chars += sum(len(m.content) for m in styles[request.role].messages(request))
        longest += 0 if request.continuation else request.sampling.max_tokens
    return calls * scale, chars / _CHARS_PER_TOKEN * scale, longest * scale


def _asked(steps: Steps, said: str) -> list[Request]:
    """Returns every request that is made where each reply says this."""
    asked: list[Request] = []

    def reply(request: Request) -> Reply:
        asked.append(request)
        # An arm that scores continuations takes the mean of their log-probabilities: there has to be one.
        return Reply(said, logprobs=(0.0,) if request.continuation else None)

    drive(steps, reply)
    return asked


def _search(plan: Plan, styles: Styles) -> SearchEstimate:
    """Estimates at most: two searches with their proposals, and the pools corrected in between."""
    recipe = plan.recipe
    kinds = spec_names(recipe.perturb.conditions)
    tuning = pools.noisy_pools(plan.train, plan.dev, kinds, recipe)
    parts = []
    likelihood, prompt = recipe.eval.answer == "likelihood", next(iter(plan.prompts), None)
    for examples, times in expected(recipe.rop, tuning, plan.scorer, likelihood=likelihood, prompt=prompt):
        asked = [request for steps, said in examples[:_SAMPLE] for request in _asked(steps, said)]
        parts.append(_spent(asked, times / max(1, len(examples[:_SAMPLE])), styles))
    sets = len(kinds) if recipe.rop.holdout == "one-out" or recipe.rop.scope == "per_type" else 1
    return SearchEstimate(*(round(sum(part) * sets * recipe.rop.search_seeds) for part in zip(*parts, strict=True)))
