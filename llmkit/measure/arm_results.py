"""The measurements of one arm: its cells, losses, gains, corrections, curves and repeats."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field

from llmkit.measure.judged_results import Preferred
from llmkit.measure.retrieval_results import Retrieval
from llmkit.measure.stability_results import Repair, Stability
from llmkit.measure.values import (
    Difference,
    Drop,
    Estimate,
    FlipRate,
    Interval,
    Part,
    Unmeasured,
    UnmeasuredDrop,
)


class Flips(Part):
    """The shares of answers that noise turns, from clean to noisy."""

    right_to_wrong: FlipRate
    """Among right clean answers, those wrong under noise."""
    wrong_to_right: FlipRate
    """Among wrong clean answers, those right under noise."""


class Tokens(Part):
    """Tokens of some calls, whoever answered them: the model or a cache."""

    prompt: int
    """Tokens of the prompts."""
    completion: int
    """Tokens generated."""


class CellResult(Part):
    """One arm under one condition; `noisy` is the average over all noisy conditions."""

    OMITTED = frozenset({"commonest", "refused"})

    n: int
    """Different questions asked."""
    outcomes: int
    """Answers: questions times draws, search seeds and kinds held out."""
    accuracy: Interval | None
    """Share of right answers, each question weighing the same. Null for `noisy` where the arm lacks a condition, and
    where rows have no answers."""
    unparsed: int
    """Replies without a readable answer, which count as wrong."""
    cut: int = 0
    """Replies that ended at the limit of new tokens."""
    errors: int
    """Calls that failed, which count as wrong."""
    fallbacks: int = 0
    """Answers whose correction was not used."""
    calls: int = 0
    """Calls of a model, those that a cache answered included."""
    tokens: Tokens = Tokens(prompt=0, completion=0)
    """Tokens of these calls."""
    price: float | None = None
    """What these tokens cost by the recipe's prices, in its currency; null where it has none."""
    strength: float | None = None
    """Mean share of words that noise changed; null where nothing was to be changed."""
    rejected: int = 0
    """Noisy copies that were left as they were, because a check refused them."""
    commonest: float | None = None
    """Share of the commonest answer, where rows have no answers: a constant answer never changes."""
    refused: float | None = None
    """Share of replies that refuse, where rows have no answers."""


class OverCorrection(Part):
    """The effect of a correction on questions that needed none."""

    n: int
    """Corrected clean questions."""
    altered: Interval | None
    """Share whose text differs from the question's."""
    numbers_altered: Interval | None
    """Share whose numbers differ from the question's."""


class Correction(Part):
    """The restoration of one condition's questions by one arm, measured on the texts."""

    n: int
    """Corrected texts."""
    cer_before: float
    """Mean character error rate of the noisy text against the clean one."""
    cer_after: float
    """Mean character error rate of the corrected text against the clean one."""
    restored: Interval | None
    """Share that equals the clean text."""
    numbers_kept: Interval | None
    """Share that still has every number of the question."""
    options_kept: Interval | None
    """Share that still has every option, of the questions with options; null where none has."""
    answered_instead: Interval | None
    """Share of corrector replies that answer the question."""
    refused: Interval | None
    """Share of corrector replies that refuse."""
    fallback: dict[str, int]
    """Corrections that were not used, by reason."""


class CurvePoint(Part):
    """Accuracy at one strength of noise."""

    strength: float
    """The strength that the condition's name states; 0 is clean."""
    accuracy: Interval | None
    """Accuracy under that condition."""


class Curve(Part):
    """Accuracy along the strength of one kind of noise."""

    points: tuple[CurvePoint, ...]
    """From the least strength to the greatest."""
    area: Estimate | None
    """The area under the line through the points, divided by the range of strengths."""


class Repeat(Part):
    """Variation between repeats of one kind, on the same questions."""

    accuracy: tuple[float, ...]
    """Accuracy of each repeat."""
    sd: float
    """The standard deviation between them."""


class Repeats(Part):
    """Variation that is not one of sampling questions."""

    OMITTED = frozenset({"draws", "search_seeds"})

    draws: Repeat | None = None
    """Between noise draws; absent where there is one."""
    search_seeds: Repeat | None = None
    """Between instruction searches; absent where there is one."""
    sampling_se_of_drop: float | None
    """The standard error of the drop, for comparison; null where there is no drop."""


class ScoreResult(Part):
    """One score of an arm in [0, 1], as `eval.scores` and the kind of answer give it. Keys are conditions."""

    OMITTED = frozenset({"drop", "gain", "clean_drop"})

    conditions: dict[str, Estimate]
    """Its mean, each question weighing the same."""
    drop: dict[str, Difference | Unmeasured] = Field(default_factory=dict)
    """What noise takes from it."""
    gain: dict[str, Difference | Unmeasured] = Field(default_factory=dict)
    """What the arm wins over `stand` under noise."""
    clean_drop: Difference | Unmeasured | None = None
    """What the arm loses against `stand` on clean questions."""

    def without(self, metrics: Collection[str], condition: str, reason: str) -> ScoreResult:
        """Returns the result with the reason in place of these metrics under a condition that was not measured."""
        gone = {condition: Unmeasured(reason=reason)}
        named = {name: getattr(self, name) for name in ("drop", "gain") if name in metrics}
        return self.model_copy(update={name: {**v, **gone} for name, v in named.items() if condition in v})


class ClassFlip(Part):
    """One label that noise turns into another."""

    before: str | None
    """The answer to the clean question; null for a reply without a label."""
    after: str | None
    """The answer under noise; null for a reply without a label."""
    answers: int
    """How many turned so."""
    right_before: int
    """Those of them that were right."""


class ClassFlips(Part):
    """The labels that noise turns into others, under one condition."""

    pairs: int
    """Answers, each with the one to the same clean question; failed calls are left out."""
    turned: int
    """Those that are another label under noise."""
    most: tuple[ClassFlip, ...]
    """By label before and after, the commonest first, twenty at most."""


class ArmResult(Part):
    """Everything measured of one arm. Keys of the inner objects are conditions, unless said otherwise."""

    OMITTED = frozenset({
        "drop", "flips", "gain", "recovery", "clean_drop", "over_correction", "correction", "curves", "holdout",
        "repeats", "stability", "repeated", "repair", "touched", "retrieval", "scores", "turned", "restored", "mark",
        "judged_drop", "judged_gain",
    })  # fmt: skip

    conditions: dict[str, CellResult]
    """What was asked, and how it was answered."""
    drop: dict[str, Drop | UnmeasuredDrop] = Field(default_factory=dict)
    """What noise takes from the arm."""
    flips: dict[str, Flips] = Field(default_factory=dict)
    """How often noise turns the arm's answers."""
    gain: dict[str, Difference | Unmeasured] = Field(default_factory=dict)
    """What the arm wins over `stand` under noise."""
    recovery: dict[str, Interval | Unmeasured] = Field(default_factory=dict)
    """The share of what noise took from `stand` that the arm wins back."""
    clean_drop: Difference | Unmeasured | None = None
    """What the arm loses against `stand` on clean questions."""
    over_correction: OverCorrection | None = None
    """What the arm's correction does to clean questions."""
    correction: dict[str, Correction] = Field(default_factory=dict)
    """How well the arm's correction restores noisy questions."""
    curves: dict[str, Curve] = Field(default_factory=dict)
    """By operator: accuracy along its strength."""
    holdout: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    """By kind of noise that tuning never saw, then by condition: the gain over `stand`."""
    repeats: dict[str, Repeats] = Field(default_factory=dict)
    """Variation between noise draws and between search seeds."""
    stability: dict[str, Stability] = Field(default_factory=dict)
    """Changes of the arm's answers under noise, where rows have no answers."""
    repeated: dict[str, Interval] = Field(default_factory=dict)
    """Share of texts of which two answers to the same text differ, where rows have no answers."""
    repair: dict[str, Repair] = Field(default_factory=dict)
    """Of arms that correct, where rows have no answers: how often their answers come back under noise."""
    touched: Interval | None = None
    """Of arms that correct, where rows have no answers: share of rows as sent to which `stand` answers differently."""
    retrieval: dict[str, Retrieval] = Field(default_factory=dict)
    """Documents retrieved under noise beside those retrieved for the rows as sent, where replies name documents."""
    judged_drop: dict[str, Preferred] = Field(default_factory=dict)
    """How far a judge prefers the answers to the rows as sent to those under noise, where rows have no answers."""
    judged_gain: dict[str, Preferred] = Field(default_factory=dict)
    """How far a judge prefers the arm's answers to those of `stand`, where rows have no answers."""
    scores: dict[str, ScoreResult] = Field(default_factory=dict)
    """By name: what the arm's answers are worth beside their verdicts."""
    turned: dict[str, ClassFlips] = Field(default_factory=dict)
    """Which labels noise turns into which, of answers that are labels."""
    restored: float | None = None
    """Of arms that have the model correct: mean share of errors removed under noise, as the search scores it."""
    mark: str | None = None
    """A word of warning where `restored` is 0 or less."""

    def without(self, metrics: Collection[str], condition: str, reason: str) -> ArmResult:
        """Returns the result with the reason in place of these metrics under a condition that was not measured; its
        retrieval is left out."""
        gone = Unmeasured(reason=reason)
        changes: dict[str, object] = {}
        if "drop" in metrics and condition in self.drop:
            changes["drop"] = {**self.drop, condition: UnmeasuredDrop(reason=reason, relative=gone)}
        if "flips" in metrics and condition in self.flips:
            turned = FlipRate(of=0.0, value=None, low=None, high=None, reason=reason)
            changes["flips"] = {**self.flips, condition: Flips(right_to_wrong=turned, wrong_to_right=turned)}
        if "gain" in metrics and condition in self.gain:
            changes["gain"] = {**self.gain, condition: gone}
        if "recovery" in metrics and condition in self.recovery:
            changes["recovery"] = {**self.recovery, condition: gone}
        if "retrieval" in metrics:
            changes["retrieval"] = {name: retrieval for name, retrieval in self.retrieval.items() if name != condition}
            changes["turned"] = {name: flips for name, flips in self.turned.items() if name != condition}
        if self.scores:
            changes["scores"] = {name: one.without(metrics, condition, reason) for name, one in self.scores.items()}
        return self.model_copy(update=changes)
