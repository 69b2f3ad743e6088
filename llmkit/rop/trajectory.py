"""The course of one question under a correction and a guidance: its score, and remarks that a model can learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from llmkit.perturb.numerals import numbers
from llmkit.perturb.pairs import differences
from llmkit.repair.replies import no_correction
from llmkit.rop.arms import Arm
from llmkit.rop.candidates import Example
from llmkit.rop.instructions import NO_CORRECTION, InstructionPair
from llmkit.rop.scoring import cer, corrections, squash, worth
from llmkit.tasks import Scorer, as_asked, gold_text, wording
from llmkit.types import Steps, Texts, Variant

WORST = -0.5
"""The score of a question whose call failed: it altered everything and was answered wrongly."""

_SHOWN = 5  # differences that a remark lists
_LONGEST = 1_200  # characters of a text in a prompt, so that a passage leaves room for the others


class Case(NamedTuple):
    """The course of a question in a prompt: as asked, as corrected, the reply, and the remarks on it."""

    asked: str
    corrected: str
    said: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The course of one question: `kept` is its clean text after correction, `corrected` the noisy one, `fallback` the
    reason why the correction was not used, and `said` the reply, with the answer that was `parsed` from it.

    `worth` is the score of the correction, p x restored - (1 - p) x broken.
    """

    variant: Variant
    kept: Texts
    corrected: Texts
    fallback: str | None
    said: str
    cut: bool
    parsed: str | None
    right: bool
    worth: float

    @property
    def score(self) -> float:
        """The mean of the correction's score and the answer's (1 right, 0 wrong), in [-0.5, (1 + p) / 2]."""
        return (self.worth + self.right) / 2

    def remarks(self) -> list[str]:
        """Returns what was good and bad about both steps, a sentence each."""
        return [*self._of_correction(), *self._of_answer()]

    def _of_correction(self) -> list[str]:
        clean, asked, corrected = self.variant.question.text, self.variant.text, wording(self.corrected)
        remarks = [f"Wrong characters: {cer(asked, clean):.1%} as asked, {cer(corrected, clean):.1%} after correction."]
        if self.fallback:
            remarks.append(f"The correction could not be used ({self.fallback}), so the question went on as asked.")
        elif reason := no_correction(squash(asked), squash(corrected)):
            remarks.append(f"This is no correction: the model {reason} instead.")
        if lost := (numbers(clean) & numbers(asked)) - numbers(corrected):
            remarks.append(f"Numbers lost: {', '.join(sorted(lost))}.")
        if wrong := _listed(squash(corrected), squash(clean), "should be"):
            remarks.append(f"Still wrong: {wrong}.")
        if altered := _listed(squash(clean), squash(wording(self.kept)), "became"):
            remarks.append(f"The same question without errors was altered: {altered}.")
        return remarks

    def _of_answer(self) -> list[str]:
        verdict = "right" if self.right else f"wrong; the right answer is {gold_text(self.variant.question)}"
        remarks = ["The reply was cut by the token limit."] if self.cut else []
        if self.parsed is None:
            return [*remarks, f"No answer could be read from the reply. It counts as {verdict}."]
        return [*remarks, f"The answer read from the reply, {_excerpt(self.parsed)}, is {verdict}."]

    def shown(self) -> Case:
        """Returns the course as a prompt shows it."""
        return Case(
            _excerpt(self.variant.text), _excerpt(wording(self.corrected)), _excerpt(self.said), tuple(self.remarks())
        )

    def example(self) -> Example:
        """Returns the texts of the question, which no instruction may copy."""
        question = self.variant.question
        return Example(self.variant.text, question.text, gold_text(question))


PairTrial = Callable[[InstructionPair, Variant], Steps]
"""Puts one question under a pair of instructions; returns its Trajectory."""


def pair_trial(arm: Arm, scorer: Scorer, noisy_share: float) -> PairTrial:
    """Returns a trial that corrects a question, noisy and clean, and answers the corrected noisy one."""

    def run(pair: InstructionPair, variant: Variant) -> Steps:
        kept, corrected, fallback = yield from corrections(arm, pair.correction, variant)
        worded = variant.worded(corrected)
        answer = yield from arm.answer(worded.texts, worded, pair.guidance)
        judged = scorer.judge(answer.reply.said, answer.parsed, as_asked(variant))
        return Trajectory(
            variant,
            kept,
            corrected,
            fallback,
            answer.reply.said,
            answer.reply.finish_reason == "length",
            judged.parsed,
            bool(judged.correct),
            worth(variant, kept, corrected, noisy_share),
        )

    return run


def sequences(pair: InstructionPair) -> int:
    """Returns the number of sequences that one trial takes: an answer, and two corrections unless there is none."""
    return 1 if pair.correction == NO_CORRECTION else 3


def _listed(text: str, new_text: str, how: str) -> str:
    """Lists the differences between two texts, word by word, the first few of them."""
    changes = [
        f'"{_excerpt(text[change.start : change.end].strip())}" {how} "{_excerpt(change.new.strip())}"'
        for change in differences(text, new_text)
    ]
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(changes[:_SHOWN]) + more


def _excerpt(text: str) -> str:
    """Returns a text without line breaks, and without its middle where it is long: replies end with the answer."""
    line = squash(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
