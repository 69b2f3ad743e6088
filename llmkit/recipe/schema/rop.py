"""`rop`: the arms and the instruction search. `eval`: intervals and gates. `output`: where runs go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from llmkit.recipe.schema.base import CONTENT, LATER, NEUTRAL, Section
from llmkit.recipe.schema.model import EngineSection, ModelSection


class SearchSection(Section):
    """The automatic search for instructions (arXiv 2506.03627, 3.3 and 3.4; APE, arXiv 2211.01910)."""

    method: Annotated[Literal["ape", "gepa"], LATER] = "ape"
    """`ape` writes instructions from examples, in a search for each; `gepa` rewrites both together, from what they led
    to (arXiv 2507.19457), in one search with the budget of both. It wants a strong `rop.optimizer`."""
    budget: int = Field(300, ge=0)
    """Scored sequences a search may spend, half of them on the final comparison. 0: take the first hand-written one."""
    strategy: Literal["halving", "ucb"] = "halving"
    """How the budget is spread: over fewer candidates in each round, or by upper confidence bounds."""
    score: Literal["execution", "likelihood"] = "execution"
    """What a candidate is scored by: the answers it leads to, or the likelihood of the right ones."""
    queries: int = Field(2, ge=0)
    """Prompts that ask the model for candidates."""
    completions: int = Field(4, ge=1)
    """Candidates asked for by each prompt."""
    demos: int = Field(5, ge=1)
    """Input and output pairs shown in each prompt."""
    pool: int = Field(100, ge=2)
    """Train questions the pairs come from; dev questions the scores come from, two thirds held back for the end."""
    max_tokens: int = Field(50, ge=8)
    """Longest candidate, in tokens."""
    temperature: float = Field(0.9, ge=0)
    """Sampling temperature for candidates."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus sampling for candidates."""
    rounds: int = Field(20, ge=1)
    """Rounds of `ucb`."""
    fraction: float = Field(0.334, gt=0, le=1)
    """Share of the candidates scored in each round of `ucb`."""
    items: int = Field(5, ge=1)
    """Questions a candidate is scored on in each round."""
    exploration: float = Field(1.0, ge=0)
    """The constant c of `ucb`."""
    noisy_share: Annotated[float, LATER] = Field(0.5, ge=0, le=1)
    """Share of noisy questions in the traffic, p: a correction scores p x restored - (1 - p) x altered clean ones."""

    @model_validator(mode="after")
    def _asks_for_answers(self) -> SearchSection:
        if self.method == "gepa" and self.score == "likelihood":
            raise ValueError("method: gepa learns from answers, and goes with score: execution only")
        return self


class RopSection(Section):
    """Ways to put a question, and how their instructions are found."""

    arms: tuple[str, ...] = ("stand", "zero_shot_cot", "correct_only", "guide_only", "rop")
    """Ways to put the question that `llmkit rop` measures; `llmkit eval` takes `eval.arms`."""
    scope: Literal["pooled", "per_type"] = "pooled"
    """One instruction for all kinds of noise, or one for each (the paper's; it needs to know the kind at run time)."""
    search: SearchSection = SearchSection()
    instructions: str | None = None
    """An instructions.json of an earlier run, to use instead of a search."""
    repair: Annotated[str | None, LATER, CONTENT] = None
    """A repair.json, or the name of a shipped adapter that has one: the arm `repair`, measured beside the others."""
    optimizer: str | None = None
    """The model that writes candidate instructions. Default: the answering model."""
    corrector: str | None = None
    """The model that corrects, or the folder of an adapter to put on the answering model's weights for it. Default: the
    answering model."""
    correction_shots: int = Field(0, ge=0)
    """Worked examples in a request for a correction."""
    guidance_shots: int = Field(0, ge=0)
    """Worked examples in a question under a guidance instruction."""
    few_shot: int = Field(4, ge=0)
    """Worked examples of the arm `few_shot_cot`."""
    votes: int = Field(3, ge=1, le=1_000)
    """Votes of the arm `self_consistency`. Two, RoP's number of calls, are no vote: if they differ, the first wins."""
    max_tokens: int = Field(256, ge=1)
    """Longest answer, in tokens."""
    temperature: Annotated[float, LATER] = Field(0.0, ge=0, le=2)
    """Sampling temperature of answers: the one that your application uses. 0 takes the likeliest token."""
    correction_max_tokens: int = Field(256, ge=1)
    """Longest correction, in tokens."""
    correction_votes: Annotated[int, LATER] = Field(5, ge=1, le=1_000)
    """Sampled corrections of the corrector `vote`, which keeps what more than half of them change."""
    holdout: Literal["none", "one-out"] = "none"
    """`one-out`: instructions tuned on all kinds of noise but one, tested on each."""
    search_seeds: int = Field(1, ge=1, le=1_000)
    """Repeat the instruction search with this many seeds and report the variation."""


class IntervalSection(Section):
    """How sure one can be: the intervals around every rate and difference."""

    level: float = Field(0.95, gt=0, lt=1)
    """Share of such intervals that hold the true value."""
    draws: int = Field(10_000, ge=100, le=1_000_000)
    """Random sign flips behind a p-value of more than 12 clusters; intervals need none."""


class Gate(Section):
    """A measured value that must clear a limit, with the end of its interval that `bound` names."""

    metric: str
    """`accuracy`, `drop`, `gain` … with an arm before it: `rop.accuracy`, `rop.gain`, `rop.clean_drop`."""
    condition: str | None = None
    """A condition, `noisy` (the average over all noisy ones) or `each`. Default: `clean` for accuracy, else `noisy`."""
    min: float | None = None
    """The value must be at least this; a fraction."""
    max: float | None = None
    """The value must be at most this."""
    bound: Literal["low", "point", "high"] | None = None
    """The end of the interval that must clear the limit. Default: the careful one, `low` with min, `high` with max."""

    @model_validator(mode="before")
    @classmethod
    def _careful(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("bound") is None:
            return {**given, "bound": "low" if given.get("min") is not None else "high"}
        return given

    @model_validator(mode="after")
    def _one_limit(self) -> Gate:
        if (self.min is None) == (self.max is None):
            raise ValueError("a gate has either `min` or `max`")
        return self


class JudgeSection(Section):
    """The model that the scorer `judge` asks, and what it goes by. It must not be the model that is measured."""

    rubric: Annotated[str, CONTENT]
    """A text file that says what makes one answer better than another."""
    model: ModelSection = ModelSection()
    engine: EngineSection = EngineSection()
    max_tokens: int = Field(256, ge=1)
    """Longest verdict, in tokens. A verdict is one word; a model that reasons before needs room for it."""


class EvalSection(Section):
    """What is measured, how sure one can be of it, and what it must clear."""

    arms: tuple[str, ...] = ("stand",)
    """Ways to put the question that `llmkit eval` measures; `llmkit rop` takes `rop.arms`."""
    answer: Literal["generate", "likelihood"] = "generate"
    """How `choice` and `boolean` questions are answered: by generating, or by the likeliest option."""
    scorer: str = "answer"
    """How a reply becomes a verdict: `answer` reads it by the kind of answer. Installed packages add scorers."""
    scores: Annotated[tuple[str, ...], LATER] = ()
    """Further scorers, whose scores are measured beside the verdict: `exact`, `contains`, `regex`, `f1`, `rouge_l`,
    `judge`."""
    pattern: Annotated[str | None, LATER] = None
    """The pattern of the scorer `regex`, in the syntax of RE2. Default: the gold answer of each row."""
    judge: Annotated[JudgeSection | None, LATER] = None
    """The scorer `judge`: a model that compares each reply with the gold answer by a rubric (docs/judge.md)."""
    interval: Annotated[IntervalSection, NEUTRAL] = IntervalSection()
    gates: Annotated[tuple[Gate, ...], NEUTRAL] = ()
    """Limits that measured values must clear. Exit 3 where one fails, 5 where one stays undecided."""
    draws: int = Field(1, ge=1, le=1_000)
    """Independent noisy copies of each question."""
    family: Annotated[tuple[Literal["gain", "drop", "clean_drop"], ...], NEUTRAL] = ("gain",)
    """Comparisons in Holm's correction: `gain` (each arm against stand under noise), `drop` (noise against clean), or
    `clean_drop` (each arm against stand on clean questions)."""
    replicate_clean: bool = False
    """Ask the clean questions twice, so that the engine's own noise is known."""
    baseline: Annotated[str | None, NEUTRAL] = None
    """A run folder, or a baseline.json made of one, that this run is paired with row by row."""
    looks: Annotated[int, NEUTRAL] = Field(1, ge=1, le=20)
    """Looks at the gates while a run is under way, after equal shares of the questions: it stops at the first one where
    all of them are decided. 1 asks every question."""
    max_same: Annotated[float, NEUTRAL] = Field(0.9, ge=0, le=1)
    """The share of rows that one and the same answer may have, where rows have no answers: above it a gate stays
    undecided, because a constant answer changes under no noise."""
    max_errors: Annotated[float, NEUTRAL] = Field(0.02, ge=0, le=1)
    """The share of answers that may fail; above it the run ends as incomplete (exit 4), whatever its gates say."""
    max_tokens_total: Annotated[int | None, NEUTRAL] = Field(None, ge=1)
    """Stop cleanly, exit 4, once this many tokens were used by asking: all sets and all starts of a run together."""
    price_prompt: Annotated[float, NEUTRAL] = Field(0.0, ge=0)
    """Price of a million prompt tokens, for the cost table."""
    price_completion: Annotated[float, NEUTRAL] = Field(0.0, ge=0)
    """Price of a million generated tokens."""
    ask_above: Annotated[float | None, NEUTRAL] = Field(None, ge=0)
    """On a terminal, a run that may cost more than this is asked about once before it starts, by these prices."""


def _folder_name(name: str) -> str:
    if not name.strip(". ") or not name.isprintable() or any(char in "/\\" for char in name):
        raise ValueError("should be the name of one folder, without / and \\")
    return name


class OutputSection(Section):
    """Where results go: `<dir>/<name>-<digest>/`."""

    dir: str = "runs"
    """The folder that holds the run folders."""
    texts: Literal["full", "hash", "none"] = "full"
    """The form in which run folder, report and response cache keep rows and replies: the texts; digests, by which a run
    resumes and compares; or digests that only the process that made them can compare."""
    name: Annotated[str, AfterValidator(_folder_name)] | None = None
    """The run's name. Default: the command and the question set; for a training, its method."""
