"""Counts of the noisy copies that noise really changed, and the consequences where it changed few.

A copy that could not be changed is asked as the clean text. Counting it as noisy would make every loss look smaller, so
the share changed stands beside each number, and a condition that hardly happened has no loss and no gain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from llmkit.conditions import Condition
from llmkit.errors import DataError
from llmkit.measure.arm_results import ArmResult
from llmkit.measure.cells import NOISY
from llmkit.measure.results import Copies
from llmkit.runs.samples import Sample
from llmkit.types import Variant

FEW = 0.95  # a share below this is a warning
LEAST = 0.5  # below this, the condition is not measured


def of_variants(variants: Iterable[Variant]) -> dict[str, Copies]:
    """Counts the copies of each noisy condition, as they are about to be asked."""
    return _count((v.condition, (v.question.id, v.draw), v.text != v.question.text, v.rejected) for v in variants)


def of_samples(samples: Iterable[Sample]) -> dict[str, Copies]:
    """Counts the copies of each noisy condition, as they were asked; each once, however many arms asked it."""
    return _count(
        (s.outcome.condition, (s.outcome.question_id, s.outcome.draw), s.text != s.question, s.rejected)
        for s in samples
    )


def changed_by_noise(sample: Sample) -> bool | None:
    """Returns whether noise changed the question of this answer; None under a condition that is not noisy."""
    return sample.text != sample.question if Condition.parse(sample.outcome.condition).noisy else None


def _count(copies: Iterable[tuple[str, Hashable, bool, str | None]]) -> dict[str, Copies]:
    """Counts copies by condition.

    Conditions in which nothing was to be changed are left out: strength 0, and noise that falls on the instruction or
    the examples. There no copy differs, and none was rejected.
    """
    copies_of: dict[str, dict[Hashable, tuple[bool, str | None]]] = defaultdict(dict)
    for condition, name, changed, rejected in copies:
        if Condition.parse(condition).noisy:
            copies_of[condition].setdefault(name, (changed, rejected))
    counts = {}
    for condition, group in copies_of.items():
        differing = sum(changed for changed, _ in group.values())
        reasons = Counter(rejected or "nothing changed" for changed, rejected in group.values() if not changed)
        if differing or any(rejected for _, rejected in group.values()):
            counts[condition] = Copies.of(len(group), differing, dict(reasons.most_common()))
    return counts


def refuse_unchanged(variants: Sequence[Variant]) -> None:
    """Raises DataError where noise changed no copy of a condition, because a loss of 0 under it would be wrong.

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


def warnings(noise: Mapping[str, Copies]) -> list[str]:
    """Returns one line for each condition of which too little was changed."""
    lines = []
    for condition, copies in noise.items():
        if copies.share >= FEW:
            continue
        line = f"{condition} changed {copies.changed} of {copies.copies} questions ({copies.share:.3f})"
        follows = "it is not measured" if copies.share < LEAST else "its loss and gain are diluted by clean ones"
        lines.append(f"{line}, {follows}: {copies.why()}")
    return lines


def of_runs(runs: Mapping[str, Iterable[Sample]], questions: Collection[str]) -> dict[str, dict[str, Copies]]:
    """Counts, by run and then condition, how many of these questions noise changed."""
    return {
        name: of_samples(s for s in samples if s.outcome.question_id in questions) for name, samples in runs.items()
    }


def as_json(runs: Mapping[str, Mapping[str, Copies]]) -> dict[str, dict[str, Any]]:
    """Returns the counts of several runs as JSON."""
    return {name: {condition: copies.as_dict() for condition, copies in noise.items()} for name, noise in runs.items()}


def lines(runs: Mapping[str, Mapping[str, Copies]]) -> list[str]:
    """Returns what several runs' tables say below them: the share changed by run and condition, then the warnings."""
    below = []
    for name, noise in runs.items():
        if noise:
            shares = ", ".join(f"{condition} {copies.share:.3f}" for condition, copies in noise.items())
            below.append(f"{name}: share of questions that noise changed: {shares}")
        below += [f"warning: {name}: {line}" for line in warnings(noise)]
    return below


def unmeasured(noise: Mapping[str, Copies]) -> dict[str, str]:
    """Returns, by condition, why its loss and gain are not known.

    The average over all conditions is not known either where one is not.
    """
    reasons = {
        condition: f"`{condition}` changed only {copies.changed} of {copies.copies} questions"
        for condition, copies in noise.items()
        if copies.share < LEAST
    }
    return reasons | ({NOISY: "; ".join(reasons.values())} if reasons else {})


def without_unmeasured(arms: Mapping[str, ArmResult], reasons: Mapping[str, str]) -> dict[str, ArmResult]:
    """Takes the values of conditions that are not measured out of the arms of a run, and puts the reason there."""
    results = dict(arms)
    for condition, reason in reasons.items():
        for name, arm in results.items():
            results[name] = arm.without(("drop", "gain", "recovery", "flips", "retrieval"), condition, reason)
    return results
