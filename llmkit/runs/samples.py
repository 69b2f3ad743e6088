"""One line of samples.jsonl: an outcome with the texts and the calls behind it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.types import Outcome, Usage

_REPLY = ("text", "usage", "finish_reason", "documents")
_FIELDS = tuple(f.name for f in dataclasses.fields(Outcome) if f.name not in ("usage", "calls"))


class _LeanCall(Mapping[str, Any]):
    """A call without what was asked, in a quarter of the room of a dict."""

    __slots__ = ("_values",)
    _NAMES = ("purpose", "cached", "seconds", "reply")

    def __init__(self, call: Mapping[str, Any]) -> None:
        reply = call["reply"]
        if isinstance(reply, Mapping):  # in older journals it is the text alone
            # A document is retrieved for many rows: one copy of its id or text serves them all.
            documents = tuple(sys.intern(str(document)) for document in reply.get("documents") or ())
            reply = (reply.get("text"), tuple(reply.get("usage") or ()), reply.get("finish_reason"), documents)
        self._values = (call.get("purpose"), call.get("cached"), call.get("seconds"), reply)

    def __getitem__(self, name: str) -> Any:
        if name not in self._NAMES:
            raise KeyError(name)
        value = self._values[self._NAMES.index(name)]
        return dict(zip(_REPLY, value, strict=True)) if isinstance(value, tuple) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)


@dataclass(frozen=True, slots=True)
class Hidden:
    """The knowledge of an answer whose texts are not kept (`output.texts`): all texts of its sample are digests.

    `verdicts` has by journal key what comparing it with another answer to the row came to: the verdict, then the kinds.
    """

    policy: str
    signature: str | None
    decisive: bool
    refused: bool
    verdicts: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """An outcome with `question` (clean), `text` (as asked) and its calls: purpose, messages, reply, cached, seconds.

    `strength` is the share of words that noise changed; `rejected` says why a noisy copy was left as it was. `reply` is
    what the arm answered: of several calls, only the arm knows which one is the answer. `key` is its
    name in the journal.
    """

    outcome: Outcome
    question: str = ""
    text: str = ""
    options: tuple[str, ...] = ()
    edits: tuple[Any, ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()
    kind: str = ""
    strength: float | None = None
    rejected: str | None = None
    reply: str | None = None
    key: str = ""
    hidden: Hidden | None = None
    labels: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    """The names of scores that nobody has given: their value is the middle, and could be any in [0, 1]."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Sample:
        """Returns the sample that a journal line holds; keys it does not know are left alone."""
        calls = row.get("calls") or ()
        outcome = Outcome(
            **{name: row[name] for name in _FIELDS if name in row},
            usage=Usage.reported(
                *((row.get("usage") or {}).get(name, 0) for name in ("prompt", "completion", "cached"))
            ),
            calls=len(calls) if isinstance(calls, Sequence) else int(calls),
        )
        return cls(
            outcome,
            row.get("question") or "",
            row.get("text") or "",
            tuple(row.get("options") or ()),
            tuple(row.get("edits") or ()),
            tuple(calls) if isinstance(calls, Sequence) else (),
            row.get("question_kind") or "",
            (row.get("strength") or {}).get("words"),
            row.get("rejected"),
            row.get("said"),
            row.get("key") or "",
            Hidden(**row["hidden"]) if row.get("hidden") else None,
            tuple(row.get("labels") or ()),
        )

    def lean(self) -> Sample:
        """Returns the sample without messages and edits, which take most of the room and which the journal has."""
        return replace(self, edits=(), calls=tuple(map(_LeanCall, self.calls)))

    @property
    def answer(self) -> str:
        """The arm's answer, word for word; "" where nothing is known of it."""
        return (self.said("") if self.reply is None else self.reply) or ""

    @property
    def seconds(self) -> float:
        """The calls' shares of the engine's time. Waiting in a queue raises it: read sums."""
        return sum(float(call.get("seconds") or 0) for call in self.calls)

    @property
    def cached_calls(self) -> int:
        """Calls that the response cache answered."""
        return sum(bool(call.get("cached")) for call in self.calls)

    def said(self, purpose: str) -> str | None:
        """Returns the reply of the last call whose purpose contains `purpose`."""
        reply = self._reply(purpose)
        return reply.get("text", "") if isinstance(reply, Mapping) else reply

    @property
    def documents(self) -> tuple[str, ...]:
        """The different documents that were retrieved for the last call that answers, best first."""
        reply = self._reply("answer")
        retrieved = reply.get("documents") if isinstance(reply, Mapping) else None
        return tuple(dict.fromkeys(filter(None, retrieved or ())))

    def _reply(self, purpose: str) -> Mapping[str, Any] | str | None:
        for call in reversed(self.calls):
            if purpose in str(call.get("purpose", "")):
                reply: Mapping[str, Any] | str | None = call.get("reply")
                return reply
        return None


def as_samples(items: Iterable[Outcome | Sample]) -> list[Sample]:
    """Returns samples as they are, and bare outcomes as samples without texts."""
    return [item if isinstance(item, Sample) else Sample(item) for item in items]


def named_apart(samples: Iterable[Sample], first: str | None = None) -> list[Sample]:
    """Returns the samples of a run, with the prompt before the arm ("short.stand") where there are several prompts:
    what two prompts made of a question is no repeat of one answer. Arms under the `first` keep their names."""
    samples = list(samples)
    if len({sample.outcome.prompt for sample in samples}) < 2:
        return samples
    return [s if s.outcome.prompt == first else _after_prompt(s) for s in samples]


def _after_prompt(sample: Sample) -> Sample:
    outcome = sample.outcome
    named = dataclasses.replace(outcome, arm=f"{outcome.prompt}.{outcome.arm}")
    return dataclasses.replace(sample, outcome=named)
