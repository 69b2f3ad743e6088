"""Has a model, as judge, say which of two answers is better: each pair in both orders, the answers fenced as data.

A judge is no person: its verdicts have a file and numbers of their own, and no gate rests on them before people have
agreed with it on enough pairs (`measure.doubts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import DataError, EngineError, Incomplete
from llmkit.files import text_digest
from llmkit.labels.labelling import Labelling
from llmkit.measure.answers import Pair
from llmkit.measure.compared import reply
from llmkit.measure.judged import JudgedRun
from llmkit.prompts import render
from llmkit.runs import Runner, names
from llmkit.runs.labels import append, now, records
from llmkit.runs.verdicts import Judged, Judgement, Preference, Verdicts, of_orders, tokens_used
from llmkit.tasks.answers import without_reasoning
from llmkit.types import Call, Message, Reply, Request, Sampling, Steps

PROMPT = "judge/compare-v1"
_SAID: Mapping[str, Preference] = {"first": "first", "second": "second", "tie": "tie"}
_SWAPPED: Mapping[Preference, Preference] = {"first": "second", "second": "first", "tie": "tie"}
_LONGEST = 20_000  # characters of a rubric


@dataclass(frozen=True)
class Judging:
    """What came of asking: how many pairs were `asked` now and got a line, and what was said where it was no verdict;
    `errors` are the calls that failed, so that their pairs stay open."""

    asked: int
    unreadable: Sequence[str]
    errors: Sequence[EngineError]


class Judge:
    """A model with a rubric, for the pairs of one run. `max_tokens` is the longest reply that it may give."""

    def __init__(self, opened: Labelling, rubric: str, runner: Runner, max_tokens: int) -> None:
        self.opened, self.rubric, self.runner, self.max_tokens = opened, rubric, runner, max_tokens
        self.file = opened.folder.path / names.JUDGED
        self.pairs = JudgedRun(opened.run).pairs()
        runner.tokens = tokens_used(self._lines())

    @property
    def name(self) -> str:
        """A digest of all that makes the judge: its model, its rubric, its prompt, and the length of its replies."""
        identity = self.runner.engine("answerer").identity
        asked = request(self.rubric, "", "", "", self.max_tokens)
        return text_digest(f"{identity}\n{asked.messages}\n{asked.sampling}")

    def open_pairs(self) -> list[Pair]:
        """Returns the pairs that this judge has not been asked about."""
        known = Verdicts(self._lines(), self.name)
        return [pair for pair in self.pairs if JudgedRun.verdict(pair, known) is None]

    def ask(self, pairs: Sequence[Pair]) -> Judging:
        """Asks about pairs in both orders. Each verdict is in judged.jsonl before the next one is taken.

        Raises Incomplete where the engine dies or the budget is spent; what was judged is saved.
        """
        model, judge = self.runner.engine("answerer").identity.model, self.name
        unreadable: list[str] = []
        errors: list[EngineError] = []
        jobs = ((number, compared(self.rubric, pair, self.max_tokens)) for number, pair in enumerate(pairs))
        asked = 0
        append(self.file, self._taken_up(judge))
        for done in self.runner.run(jobs):
            if done.error:
                errors.append(done.error)
                continue
            in_order, swapped = done.result
            unreadable += [call.reply.text for call in done.calls if verdict_of(call.reply) is None]
            append(
                self.file,
                [
                    Judged(
                        *pairs[int(str(done.key))].digests,
                        verdict=of_orders(in_order, swapped),
                        in_order=in_order or "none",
                        swapped=swapped or "none",
                        judge=judge,
                        model=model,
                        tokens=str(sum(_tokens(call) for call in done.calls)),
                        when=now(),
                    )
                ],
            )
            asked += 1
        return Judging(asked, unreadable, errors)

    def _taken_up(self, judge: str) -> list[Judged]:
        """Returns the line to add where another judge was asked since: the last of this one, again. The judge of the
        last line counts, and this one may have nothing left to be asked."""
        lines = self._lines()
        mine = [line for line in lines if line.judge == judge]
        return mine[-1:] if lines and lines[-1].judge != judge else []

    def _lines(self) -> list[Judged]:
        return records(self.file, Judged, _JUDGEMENTS)


_JUDGEMENTS: tuple[Judgement, ...] = ("first", "second", "tie", "none")


def _tokens(call: Call) -> int:
    return 0 if call.cached else call.reply.usage.prompt + call.reply.usage.completion


def compared(rubric: str, pair: Pair, max_tokens: int) -> Steps:
    """Asks about a pair in both orders at once; returns both verdicts, None for a reply that is none, each of the same
    answer as first."""
    one, other = map(reply, pair.answers)
    orders = ((one, other), (other, one))
    replies = yield [request(rubric, pair.row.text, *order, max_tokens) for order in orders]
    in_order, swapped = map(verdict_of, replies)
    return in_order, swapped and _SWAPPED[swapped]


def request(rubric: str, text: str, first: str, second: str, max_tokens: int) -> Request:
    """Returns the request for a verdict on two answers in this order."""
    fence = fence_for((rubric, text, first, second))
    content = render(PROMPT, fence=fence, rubric=rubric, text=text, first=first, second=second)
    return Request((Message("user", content),), Sampling(max_tokens=max_tokens), purpose="judge")


def fence_for(texts: Iterable[str]) -> str:
    """Returns a mark that none of the texts contains: a digest of them, so that equal requests stay equal.

    Who writes an answer would have to know the other texts, and to put a digest into what it is the digest of.
    """
    texts = list(texts)
    mark = text_digest("\x1f".join(texts))
    while any(mark in text for text in texts):
        mark = text_digest(mark)
    return mark


def verdict_of(reply: Reply) -> Preference | None:
    """Returns the verdict of a reply that is one word and nothing else; None for any other, such as a refusal.

    >>> verdict_of(Reply("**Second.**")), verdict_of(Reply("The first, since the second is wrong."))
    ('second', None)
    """
    return _SAID.get(re.sub(r"[\W_]+", "", without_reasoning(reply.said)).casefold())


def read_rubric(file: Path) -> str:
    """Returns the text of a rubric. DataError where the file cannot be read, is empty or far too long."""
    try:
        rubric = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a rubric: {error}", "give a text file in UTF-8") from None
    if not rubric:
        raise DataError(f"{file}: the rubric is empty", "say in it what makes one answer better than another")
    if len(rubric) > _LONGEST:
        raise DataError(f"{file}: the rubric has {len(rubric):,} characters, {_LONGEST:,} at most", "make it shorter")
    return rubric


def refuse_failed(judging: Judging, most: float) -> None:
    """Raises Incomplete where more than the share `most` of the comparisons failed."""
    failed, of = len(judging.errors), len(judging.errors) + judging.asked
    if failed > most * of:
        raise Incomplete(
            f"{failed} of {of} comparisons failed: {judging.errors[0].message}",
            "the same command asks them again",
        )
