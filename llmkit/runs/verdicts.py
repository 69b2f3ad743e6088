"""judged.jsonl: what a model said, as judge, of pairs of answers, one line for each pair. The only reader.

Like labels.jsonl it holds digests and no text. Only the lines of one judge count, the one that was asked last: a judge
is its model, its rubric and its prompt. Where rows have answers, the second of a pair is the gold answer, and the
verdict is the score `judge` of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from llmkit.files import text_digest
from llmkit.runs import names
from llmkit.runs.labels import pair_digest, records
from llmkit.runs.samples import Sample
from llmkit.types import Preference

SCORE = "judge"
"""The name of the score that verdicts on answers and gold answers give."""
Judgement = Literal["first", "second", "tie", "none"]
""" "none": the judge gave no verdict in at least one of the two orders."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one pair: `text`, `first` and `second` as in a label.

    `in_order` and `swapped` are what the judge said in each order, of the answers as they are named here; "none" where
    it gave no verdict. `judge` is a digest of model, rubric and prompt, `model` its name; `tokens` is the number of
    tokens that asking used, and `when` is UTC.
    """

    text: str
    first: str
    second: str
    verdict: str
    in_order: str
    swapped: str
    judge: str
    model: str
    tokens: str
    when: str

    @property
    def pair(self) -> str:
        """The name of the pair, whatever its order."""
        return pair_digest(self.text, self.first, self.second)

    @property
    def better(self) -> str | None:
        """The digest of the better answer; None where none is, or nobody knows."""
        return {"first": self.first, "second": self.second}.get(self.verdict)

    @property
    def inconsistent(self) -> bool:
        """Whether the judge gave two verdicts that disagree: its choice followed the order."""
        return self.verdict != "none" and self.in_order != self.swapped


def tokens_used(judged: Iterable[Judged]) -> int:
    """Returns how many tokens were used by asking, by every judge and in every start."""
    return sum(int(line.tokens) for line in judged if line.tokens.isdecimal())


def of_orders(in_order: Preference | None, swapped: Preference | None) -> Judgement:
    """Returns the verdict of both orders together, each of the same answer as first: inconsistent ones are a tie.

    >>> of_orders("first", "first"), of_orders("first", "second"), of_orders("first", None)
    ('first', 'tie', 'none')
    """
    if in_order is None or swapped is None:
        return "none"
    return in_order if in_order == swapped else "tie"


def read(folder: Path) -> Verdicts | None:
    """Returns what judges said of the answers of a run; None where none was asked. DataError for a damaged file."""
    file = folder / names.JUDGED
    return Verdicts(records(file, Judged, get_args(Judgement))) if file.is_file() else None


class Verdicts:
    """The verdicts of one judge, by default the one that was asked last. Of one pair the latest counts."""

    def __init__(self, judged: Iterable[Judged], judge: str | None = None) -> None:
        lines = list(judged)
        self.judge = judge or (lines[-1].judge if lines else "")
        self.pairs = {line.pair: line for line in lines if line.judge == self.judge}
        self.model = next((line.model for line in self.pairs.values()), "")

    def of(self, text: str, ones: Iterable[str], others: Iterable[str]) -> Judged | None:
        """Returns the verdict on two answers to a text, each by the digests of its equal forms; None where there is
        none."""
        mine = sorted(others)
        pairs = (pair_digest(text, one, other) for one in sorted(ones) for other in mine)
        return next((self.pairs[pair] for pair in pairs if pair in self.pairs), None)


def has_score(sample: Sample) -> bool:
    """Returns whether a judge has to compare a reply with its gold answer: not where the call failed, where there is no
    reply, or where the two are equal letter by letter."""
    outcome = sample.outcome
    if SCORE not in outcome.scores or outcome.gold is None or outcome.error is not None:
        return False
    return sample.answer.strip() not in ("", outcome.gold.strip())


def with_gold(sample: Sample) -> tuple[str, str, str]:
    """Returns the digests of a row's text, a reply to it and its gold answer, as judged.jsonl names them."""
    text, said, gold = sample.question, sample.answer.strip(), (sample.outcome.gold or "").strip()
    return text_digest(text), text_digest(said), text_digest(gold)


def scored(samples: Iterable[Sample], verdicts: Verdicts | None) -> Iterator[Sample]:
    """Yields samples with the score `judge` that verdicts give: 1 for a reply that is better than the gold answer, 0
    for one that is worse, and the middle for a tie. Without a verdict the middle too, but `unknown`."""
    return (_scored(sample, verdicts) if has_score(sample) else sample for sample in samples)


def _scored(sample: Sample, verdicts: Verdicts | None) -> Sample:
    text, said, gold = with_gold(sample)
    line = verdicts.of(text, [said], [gold]) if verdicts else None
    known = line is not None and line.verdict != "none"
    value = 0.5 if line is None or line.better is None else float(line.better == said)
    outcome = replace(sample.outcome, scores={**sample.outcome.scores, SCORE: value})
    unknown = sample.unknown - {SCORE} if known else sample.unknown | {SCORE}
    return replace(sample, outcome=outcome, unknown=unknown)
