"""Pairs of answers that no run has asked: those of a proxy's log, to be labelled as those of a run are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmkit.files import text_digest
from llmkit.measure.answers import ChangedRow, Pair, answer_digest
from llmkit.runs.labels import Judgements
from llmkit.runs.samples import Sample
from llmkit.seeds import derive
from llmkit.types import CLEAN, Outcome

_SENT, _REPAIRED = 0, 1


@dataclass(frozen=True)
class Change:
    """A text and the two answers to it: as sent, and as a repair left it."""

    text: str
    sent: str
    repaired: str


@dataclass(frozen=True)
class Judged:
    """The labels of some changes, counted: the repaired answer is better, worse or as good as the other one."""

    changes: int
    better: int
    worse: int
    equal: int
    skipped: int

    @property
    def labelled(self) -> int:
        return self.better + self.worse + self.equal + self.skipped


def pairs_of(changes: Iterable[Change], seed: int = 7) -> list[Pair]:
    """Returns each pair once, in a random order and each in a random one, so that nobody sees which is which."""
    pairs = {}
    for change in changes:
        answers = tuple((_sample(change.text, said),) for said in (change.sent, change.repaired))
        row = ChangedRow(text_digest(change.text), change.text, text_digest(change.text), answers, {}, ())
        pair = Pair(row, (_SENT, _REPAIRED))
        draw = derive(seed, "label", *pair.digests)
        pairs[pair.digests] = draw, pair if draw % 2 else pair.swapped()
    return [pair for _, pair in sorted(pairs.values(), key=lambda drawn: drawn[0])]


def unlabelled(pairs: Sequence[Pair], known: Judgements) -> list[Pair]:
    """Returns the pairs of which at least one answer has no label."""
    return [pair for pair in pairs if None in _states(pair, known)]


def judged(pairs: Sequence[Pair], known: Judgements) -> Judged:
    """Counts what the labels say of the pairs."""
    states = [_states(pair, known) for pair in pairs]
    whole = [(sent, repaired) for sent, repaired in states if sent is not None and repaired is not None]
    clear = [pair for pair in whole if "skipped" not in pair]
    return Judged(
        len(pairs),
        sum(pair == ("wrong", "right") for pair in clear),
        sum(pair == ("right", "wrong") for pair in clear),
        sum(sent == repaired for sent, repaired in clear),
        len(whole) - len(clear),
    )


def _states(pair: Pair, known: Judgements) -> tuple[str | None, str | None]:
    """Returns what is known of the answer as sent and of the other one."""
    digests = [answer_digest(sample) for (sample,) in pair.row.answers]
    sent, repaired = (known.state(pair.row.digest, [digest]) for digest in digests)
    return sent, repaired


def _sample(text: str, said: str) -> Sample:
    name = text_digest(text)
    outcome = Outcome(name, name, CLEAN, "proxy", 0, parsed=said or None, correct=None, gold=None)
    return Sample(outcome, question=text, text=text, kind="text", reply=said)
