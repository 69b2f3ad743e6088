"""The result of a measurement: what metrics.json holds, as types. docs/metrics.schema.json is made from them.

The values in it, each with its interval, are in `values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from llmkit.errors import DataError
from llmkit.measure.arm_results import ArmResult
from llmkit.measure.judged_results import Judge
from llmkit.measure.values import (
    Change,
    Interval,
    Part,
    number,
)
from llmkit.parsing import parse_json

Verdict = Literal["pass", "fail", "undecided"]


class Copies(Part):
    """The noisy copies of one condition."""

    copies: int
    """How many there are."""
    changed: int
    """How many differ from their clean text."""
    reasons: dict[str, int] = Field(default_factory=dict)
    """Why the others do not, the most frequent reason first."""
    share: float
    """`changed` divided by `copies`."""

    @classmethod
    def of(cls, copies: int, changed: int, reasons: Mapping[str, int]) -> Copies:
        """Computes the share changed."""
        return Copies(copies=copies, changed=changed, reasons=dict(reasons), share=number(changed / copies))

    def why(self) -> str:
        """Returns the reasons in words, three at most."""
        return ", ".join(f"{reason} ({count})" for reason, count in list(self.reasons.items())[:3])


class DetectableEffect(Part):
    """The smallest gain that a run of this size finds."""

    n: int
    """Lone questions that the run's questions are worth."""
    discordance: float
    """Share of pairs whose two answers differ in verdict, as seen."""
    power: float
    """The probability of finding a gain of this size."""
    value: float | None
    """The gain; null where none can be told from chance."""


class HolmTest(Part):
    """One test of the family that the recipe declares."""

    metric: Literal["gain", "drop", "clean_drop"]
    """What is compared."""
    arm: str
    """The arm it is of."""
    condition: str
    """The condition it is under."""
    p: float
    """The p-value on its own."""
    adjusted: float
    """The p-value adjusted by Holm's method over the family."""
    significant: bool
    """Whether the adjusted p-value is at most 1 minus the level."""


class NoiseFloor(Part):
    """The engine's difference from itself: clean questions asked twice."""

    n: int
    """Pairs of answers to one and the same prompt."""
    verdict_differs: Interval
    """Share of pairs of which one answer is right and the other wrong."""
    answer_differs: Interval
    """Share of pairs with different answers."""


class BaselineArm(Part):
    """The changes of one arm since the stored run, by condition."""

    OMITTED = frozenset({"accuracy_change", "drop_change", "changed_change"})

    accuracy_change: dict[str, Change] = Field(default_factory=dict)
    """Change of accuracy."""
    drop_change: dict[str, Change] = Field(default_factory=dict)
    """Change of the drop under noise."""
    changed_change: dict[str, Change] = Field(default_factory=dict)
    """Change of the share of answers that say something else than as sent, where rows have no answers."""


class Baseline(Part):
    """The changes since a stored run, on the questions that both have."""

    OMITTED = frozenset({"made_by"})

    questions: int
    """Questions that both runs have with the same clean text."""
    left_out: int
    """Questions of both runs whose clean texts differ."""
    arms: dict[str, BaselineArm]
    """By arm."""
    made_by: str | None = None
    """The version of llmkit that made the stored run; absent where it is the one that made this run."""


class Timing(Part):
    """All that may differ between two equal runs, of one arm under one condition."""

    engine_seconds: float | None = None
    """Seconds that these answers take at the run's mean pace; null where the model answered nothing."""
    prefix_cached_tokens: int = 0
    """Prompt tokens that the engine's prefix cache served."""
    cached_calls: int = 0
    """Calls that llmkit's response cache answered."""


class EngineFacts(Part):
    """The engine that answered."""

    kind: str | None = None
    """The engine: vllm, transformers, openai."""
    dtype: str | None = None
    """The dtype that it computed in; null for a server, which does not say."""


class ErrorCount(Part):
    """One error and how many answers it cost."""

    error: str
    """What the server or model said."""
    answers: int
    """Answers that failed with it."""


class Failed(Part):
    """The answers that failed. They count as wrong in every number."""

    answers: int
    """How many failed."""
    of: int
    """How many were asked for."""
    share: float
    """`answers` divided by `of`."""
    said: tuple[ErrorCount, ...]
    """The commonest errors, three at most, the commonest first."""


class GateResult(Part):
    """One gate under one condition: what was measured, and what follows."""

    gate: str
    """The gate in one line, as a command line takes it."""
    metric: str
    """Arm and metric: `rop.gain`."""
    condition: str | None
    """The condition it is about; null for metrics that have none."""
    bound: Literal["low", "point", "high"]
    """The end of the interval that must clear the limit."""
    verdict: Verdict
    """What follows."""
    value: float | None = None
    """The measured value; null where nothing was measured."""
    low: float | None = None
    """The lower end of its interval."""
    high: float | None = None
    """The upper end of its interval."""
    reason: str | None = None
    """Why the gate is undecided."""


class Looked(Part):
    """The looks at a run that might have stopped early (`eval.looks`)."""

    of: int
    """Looks that were planned."""
    shares: tuple[float, ...]
    """The share of the planned questions that had been asked at each look; the last one is that of these numbers."""
    asked: int
    """Questions that were asked."""
    planned: int
    """Questions that would have been asked without a stop."""
    nominal: float
    """The level at which each interval here is computed, so that those of all looks hold at once with `level`."""

    @property
    def number(self) -> int:
        """The look that these numbers are of, from 1."""
        return len(self.shares)

    @property
    def stopped(self) -> bool:
        """True where the run stopped before all questions were asked."""
        return self.number < self.of


class Labelled(Part):
    """The labels of a run without answers, which its losses and gains rest on."""

    pairs: int
    """Pairs of unequal answers that a person has to look at for every difference to be known."""
    labelled: int
    """Those of them that have a label."""
    skipped: int
    """Pairs among these of which the person could not tell: they count as they hurt most."""
    rows: int
    """Rows with such pairs."""
    used: int
    """Rows that count, in the random order in which rows are labelled: all, or those before the first one without a
    label."""
    conflicts: int
    """Labels that a later one contradicts; the later one counts."""


class PromptResult(Part):
    """The answers under another prompt than the first."""

    OMITTED = frozenset({"changes"})

    arms: dict[str, ArmResult]
    """By arm: everything measured of it under this prompt."""
    holm: tuple[HolmTest, ...] = ()
    """The tests of the family that the recipe declares, under this prompt."""
    changes: Baseline | None = None
    """Changes from the first prompt (from the stored run where there is one), by arm."""


class Metrics(Part):
    """metrics.json: every number of a run. `noisy` stands for the average over all noisy conditions."""

    OMITTED = frozenset({"unlabelled", "constant", "labels", "judge", "prompt", "prompts", "looks"})

    version: int = 1
    """The version of this format."""
    level: float
    """The level of all intervals: 0.95 for 95 % intervals."""
    looks: Looked | None = None
    """The looks at a run that might have stopped early; absent where every question was to be asked at once."""
    questions: int
    """Different questions."""
    clusters: int
    """Independent units among them: templates, or the questions themselves."""
    outcomes: int
    """Answers."""
    chance: float
    """The rate of right answers by blind guessing."""
    unlabelled: int | None = None
    """Rows without answers: nothing in them is right or wrong. Absent where rows have answers."""
    labels: Labelled | None = None
    """The labels of a run without answers; absent where nobody gave any."""
    judge: Judge | None = None
    """The model that was asked, as judge, which answers are better; absent where none was."""
    engine: EngineFacts | None = None
    """What answered; null where it is not known."""
    conditions: tuple[str, ...]
    """The conditions asked, clean ones first."""
    noise: dict[str, Copies] = Field(default_factory=dict)
    """By noisy condition: what the noise changed."""
    unmeasured: dict[str, str] = Field(default_factory=dict)
    """By condition of which less than half was changed: why nothing is measured under it."""
    unreadable: dict[str, str] = Field(default_factory=dict)
    """By arm of whose clean replies more than .2 gave no answer: why its losses and gains are not measured."""
    constant: dict[str, str] = Field(default_factory=dict)
    """By arm of which one answer has more than `eval.max_same` of the rows: why its gates are undecided."""
    minimum_detectable_effect: DetectableEffect | None = None
    """The smallest gain that this run finds with power 0.8; null where no gain is measured."""
    arms: dict[str, ArmResult]
    """By arm: everything measured of it."""
    holm: tuple[HolmTest, ...] = ()
    """The tests of the family that the recipe declares, with adjusted p-values."""
    noise_floor: dict[str, NoiseFloor] = Field(default_factory=dict)
    """By arm that was asked the clean questions twice: how much its answers differ."""
    prompt: str | None = None
    """The user's own prompt that `arms` and all above are about: the first; null without one."""
    prompts: dict[str, PromptResult] = Field(default_factory=dict)
    """By further prompt: what it comes to, and how it differs from the first."""
    baseline: Baseline | None = None
    """What changed since a stored run; null without one."""
    timing: dict[str, dict[str, Timing]] = Field(default_factory=dict)
    """By arm, then condition: all that may differ between two equal runs."""
    failed: Failed | None = None
    """The answers that failed; null where none did."""
    gates: tuple[GateResult, ...] = ()
    """The verdicts of the recipe's gates."""

    @classmethod
    def read(cls, source: Path | Mapping[str, Any]) -> Self:
        """Reads a metrics.json, of this llmkit or an earlier one: keys that came later get their defaults.

        DataError names the file and the key that is missing or damaged.
        """
        where, content = "metrics.json", source
        if isinstance(source, Path):
            where = str(source)
            try:
                content = parse_json(source.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise DataError(f"{source}: cannot be read: {error}", _AGAIN) from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = _key(first["loc"], content)
            raise DataError(f"{where}: {f'`{key}`: ' if key else ''}{first['msg']}", _AGAIN) from None


_AGAIN = "the `llmkit rop` or `llmkit eval` command that made the run writes it again"


def _key(location: Sequence[str | int], content: Any) -> str:
    """Returns the path of a faulty key, without the names of the types that pydantic tried there."""
    keys = []
    for step in location:
        inside = isinstance(content, Mapping) and step in content
        if inside or (isinstance(content, list) and isinstance(step, int)):
            content = content[step]
        elif step != location[-1]:
            continue  # the name of a type
        keys.append(str(step))
    return ".".join(keys)
