"""Counts of the noisy copies that noise really changed, and the consequences where it changed few.

A copy that could not be changed is asked as the clean text. Counting it as noisy would make every loss look smaller, so
the share changed stands beside each number, and a condition that hardly happened has no loss and no gain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmkit.conditions import Condition
from llmkit.errors import DataError
from llmkit.measure.cells import NOISY, number, take_out
from llmkit.runs.samples import Sample
from llmkit.types import Variant

FEW = 0.95  # a share below this is a warning
LEAST = 0.5  # below this, the condition is not measured


@dataclass(frozen=True)
class Copies:
    """The noisy copies of one condition: how many there are, how many differ from their clean text, and why the others
    do not, the most frequent reason first."""

    copies: int
    changed: int
    reasons: Mapping[str, int]

    @property
    def share(self) -> float:
        return self.changed / self.copies

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "share": number(self.share)}

    def why(self) -> str:
        """The reasons in words, three at most."""
        return ", ".join(f"{reason} ({count})" for reason, count in list(self.reasons.items())[:3])


def of_variants(variants: Iterable[Variant]) -> dict[str, Copies]:
    """The copies of each noisy condition, as they are about to be asked."""
    return _count((v.condition, (v.question.id, v.draw), v.text != v.question.text, v.rejected) for v in variants)


def of_samples(samples: Iterable[Sample]) -> dict[str, Copies]:
    """The copies of each noisy condition, as they were asked; each once, however many arms asked it."""
    return _count(
        (s.outcome.condition, (s.outcome.question_id, s.outcome.draw), s.text != s.question, s.rejected)
        for s in samples
    )


def changed_by_noise(sample: Sample) -> bool | None:
    """Returns whether noise changed the question of this answer; None under a condition that is not noisy."""
    return sample.text != sample.question if Condition.parse(sample.outcome.condition).noisy else None


def _count(copies: Iterable[tuple[str, Hashable, bool, str | None]]) -> dict[str, Copies]:
    """Conditions in which nothing was to be changed are left out: strength 0, and noise that falls on the instruction
    or the examples. There no copy differs, and none was rejected."""
    found: dict[str, dict[Hashable, tuple[bool, str | None]]] = defaultdict(dict)
    for condition, name, changed, rejected in copies:
        if Condition.parse(condition).noisy:
            found[condition].setdefault(name, (changed, rejected))
    counted = {}
    for condition, group in found.items():
        changed = sum(c for c, _ in group.values())
        reasons = Counter(why or "nothing changed" for c, why in group.values() if not c)
        if changed or any(why for _, why in group.values()):
            counted[condition] = Copies(len(group), changed, dict(reasons.most_common()))
    return counted


def refuse_unchanged(variants: Sequence[Variant]) -> None:
    """DataError where noise changed no copy of a condition: there is no such condition, and a loss of 0 would be wrong.

    For noise that is known before a model is asked. What a model was to write and did not is not measured instead.
    """
    for condition, copies in of_variants(variants).items():
        if copies.changed:
            continue
        if condition.startswith("file:") and all(why.startswith("file: ") for why in copies.reasons):
            raise DataError(
                f"`{condition}` matches none of the {copies.copies} questions",
                "its original_question must be a question of this set; options may stand in any order, or be left out",
            )
        raise DataError(
            f"`{condition}` changed none of {copies.copies} copies: {copies.why()}",
            "leave this condition out, or take noise that these texts have words for (`llmkit perturb --list`)",
        )


def warnings(noise: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each condition of which too little was changed. `noise` is what metrics.json has under that name."""
    lines = []
    for condition, row in noise.items():
        if row["share"] >= FEW:
            continue
        copies = Copies(row["copies"], row["changed"], row["reasons"])
        line = f"{condition} changed {copies.changed} of {copies.copies} questions ({row['share']:.3f})"
        follows = "it is not measured" if row["share"] < LEAST else "its loss and gain are diluted by clean ones"
        lines.append(f"{line}, {follows}: {copies.why()}")
    return lines


def of_runs(runs: Mapping[str, Iterable[Sample]], questions: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By run, then condition: how many of these questions its noise changed, as JSON."""
    return {
        name: {
            condition: copies.row()
            for condition, copies in of_samples(s for s in samples if s.outcome.question_id in questions).items()
        }
        for name, samples in runs.items()
    }


def lines(runs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Returns what several runs' tables say below them: the share changed by run and condition, then the warnings."""
    told = []
    for name, noise in runs.items():
        if noise:
            shares = ", ".join(f"{condition} {row['share']:.3f}" for condition, row in noise.items())
            told.append(f"{name}: share of questions that noise changed: {shares}")
        told += [f"warning: {name}: {line}" for line in warnings(noise)]
    return told


def unmeasured(noise: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Returns why the loss and the gain under a condition are not known, by condition. The average over all of them is
    not known either where one is not."""
    reasons = {
        condition: f"`{condition}` changed only {row['changed']} of {row['copies']} questions"
        for condition, row in noise.items()
        if row["share"] < LEAST
    }
    return reasons | ({NOISY: "; ".join(reasons.values())} if reasons else {})


def without_unmeasured(arms: Mapping[str, dict[str, Any]], reasons: Mapping[str, str]) -> None:
    """Takes the values of conditions that are not measured out of the arms of a run, and puts the reason there."""
    for arm in arms.values():
        for condition, reason in reasons.items():
            take_out(arm, ("drop", "gain", "recovery", "flips"), condition, reason)
