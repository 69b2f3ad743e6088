"""Harm to one row: its answer changed because of the repair, or got worse by the word of a person or of its label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from llmkit.errors import DataError
from llmkit.files import text_digest
from llmkit.measure.answers import alike, answer_digest, is_unread
from llmkit.measure.compared import compared, failed
from llmkit.runs.labels import Judgements, read
from llmkit.runs.samples import Sample

Definition = Literal["changed", "worse", "worse_of_clean", "changed_of_all"]
"""The definition of harm (`llmkit.repair.document.Guarantee`)."""

WORSE: frozenset[Definition] = frozenset({"worse", "worse_of_clean"})
"""Definitions by which a changed answer is no harm unless it is worse."""


def same(one: Sample, other: Sample) -> bool:
    """Returns whether two answers to a row are equal; not where a call failed, or where neither could be read and the
    replies differ."""
    if failed(one) or failed(other):
        return False
    if is_unread(one) and is_unread(other):
        return compared(one, other).verdict == "same"
    return alike(one, other)


def harmed(sent: Sample, repaired: Sample, definition: Definition, judgements: Judgements) -> bool:
    """Returns whether a row's answer was harmed. A call that failed and a changed answer without a label count as harm.

    A text that the chain leaves as it is asks nothing else, so its answer cannot change.
    """
    if repaired.outcome.error is None and repaired.outcome.corrected_text == sent.text:
        return False
    if same(sent, repaired):
        return False
    if definition not in WORSE:
        return True
    return _right(sent, judgements) is not False and _right(repaired, judgements) is not True


def unjudged(sent: Sample, repaired: Sample, judgements: Judgements) -> bool:
    """Returns whether a label is missing that would decide whether a changed answer got worse."""
    return None in (_right(sent, judgements), _right(repaired, judgements))


def _right(sample: Sample, judgements: Judgements) -> bool | None:
    """Returns whether an answer is right; None where the call failed, or where neither the row nor a label decides
    it."""
    if failed(sample):
        return None
    if sample.outcome.correct is not None:
        return sample.outcome.correct
    if is_unread(sample):
        return False
    state = judgements.state(text_digest(sample.question), [answer_digest(sample)])
    return {"right": True, "wrong": False}.get(state or "")


def judgements_of(files: Sequence[Path]) -> Judgements:
    """Returns the sum of the labels in these files. DataError for one that is damaged or not there."""
    for file in files:
        if not file.is_file():
            raise DataError(f"there is no file {file}", "labels are in the labels.jsonl of a run folder")
    return Judgements([label for file in files for label in read(file)])
