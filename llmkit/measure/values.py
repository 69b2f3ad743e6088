"""Measured values and the places of those that do not exist: what metrics.json is built from.

Rates and differences are fractions, rounded to six places, so that files are the same on every machine. The string
under a field is its documentation, here and in the schema. The order of fields is the order of keys in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    from llmkit.measure.statistics import Mean


def number(x: float) -> float:
    """Rounds to six places, and turns -0.0 into 0.0."""
    return round(float(x), 6) + 0.0


def rounded_p(p: float) -> float:
    """Rounds a p-value to four significant figures, which keeps small ones apart from 0."""
    return float(f"{p:.4g}")


def _describe_written(schema: dict[str, Any], part: type[Part]) -> None:
    """Makes a schema one of what is written, where every key is there unless it is one that is left out."""
    schema["required"] = [name for name in part.model_fields if name not in part.OMITTED]
    for field in schema["properties"].values():
        field.pop("title", None)
        field.pop("default", None)


class Part(BaseModel):
    """A part of metrics.json. Unknown keys, which a later llmkit may write, are ignored when one is read."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra=_describe_written,
    )

    OMITTED: ClassVar[frozenset[str]] = frozenset()
    """Fields that the file does not have where they are None or empty; any other None is a null."""

    @model_serializer(mode="wrap")
    def _serialize(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = dump(self)
        return {key: value for key, value in written.items() if key not in self.OMITTED or value not in (None, {})}

    def as_dict(self) -> dict[str, Any]:
        """Returns the values as JSON has them, the keys in the order of the file."""
        return self.model_dump(mode="json")


class Interval(Part):
    """A measured value with its interval."""

    value: float
    """The estimate."""
    low: float
    """The lower end of the interval at the run's level."""
    high: float
    """The upper end of the interval."""

    @classmethod
    def of(cls, value: float, low: float, high: float) -> Interval:
        """Rounds a value and the ends of its interval."""
        return Interval(value=number(value), low=number(low), high=number(high))


class Unmeasured(Part):
    """The place of a value that does not exist, and why it does not."""

    value: None = None
    """Always null."""
    low: None = None
    """Always null."""
    high: None = None
    """Always null."""
    reason: str
    """Why there is no value, in words."""


class Estimate(Interval):
    """The mean of a quantity that every question has, with its interval."""

    se: float
    """The standard error, robust to questions of one template."""
    n: int
    """Questions behind the value."""
    clusters: int
    """Independent units among them: templates, or the questions themselves."""

    @classmethod
    def from_mean(cls, mean: Mean) -> Estimate:
        """Rounds the mean of a contrast."""
        ends = {"low": number(mean.low), "high": number(mean.high)}
        return Estimate(value=number(mean.value), **ends, se=number(mean.se), n=mean.n, clusters=mean.clusters)


class Difference(Estimate):
    """A paired difference of two accuracies, and its test against 0."""

    OMITTED = frozenset({"better", "worse"})

    better: int | None = None
    """Pairs of answers right on the first side only; absent for averages over several conditions."""
    worse: int | None = None
    """Pairs of answers right on the second side only; absent for averages over several conditions."""
    p: float
    """The two-sided p-value, not adjusted for other tests, to four significant figures."""
    test: Literal["mcnemar", "sign_flip"]
    """McNemar's exact test for lone pairs, a sign-flip test over clusters for anything else."""
    undecided: bool = False
    """Whether test and interval disagree. The verdict is the interval's."""


class Drop(Difference):
    """The loss to noise: accuracy on clean questions minus accuracy under a condition."""

    relative: Interval | Unmeasured
    """The drop divided by accuracy on clean questions."""


class UnmeasuredDrop(Unmeasured):
    """The place of a drop under a condition that was not measured."""

    relative: Unmeasured
    """The same, for the relative drop."""


class FlipRate(Part):
    """The share of answers that turn, among the questions where they can."""

    OMITTED = frozenset({"reason"})

    of: float
    """Questions where it can happen, each counting by the share of its clean answers that can turn."""
    value: float | None
    """The share that turned; null where none can, or where the condition was not measured."""
    low: float | None
    """The lower end of its interval; null where the condition was not measured."""
    high: float | None
    """The upper end of its interval; null where the condition was not measured."""
    reason: str | None = None
    """Why the condition was not measured; absent where it was."""


class Change(Interval):
    """A paired change from a stored run to this one, and its test against 0."""

    OMITTED = frozenset({"better", "worse"})

    n: int
    """Questions behind the value."""
    clusters: int
    """Independent units among them."""
    better: int | None = None
    """Pairs of answers right (where rows have no answers: unchanged) in the later run only; absent for drops and
    averages."""
    worse: int | None = None
    """Pairs of answers right (where rows have no answers: unchanged) in the stored run only; absent for drops and
    averages."""
    p: float
    """The two-sided p-value, to four significant figures."""
    undecided: bool = False
    """Whether test and interval disagree. The verdict is the interval's."""


def negated(gain: Difference) -> Difference:
    """Turns a gain on clean questions round: the accuracy lost there."""
    ends = {"value": 0.0 - gain.value, "low": 0.0 - gain.high, "high": 0.0 - gain.low}
    return gain.model_copy(update={**ends, "better": gain.worse, "worse": gain.better})
