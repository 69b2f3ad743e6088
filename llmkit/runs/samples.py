"""One line of samples.jsonl: an outcome with the texts and the calls behind it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any, ClassVar

from llmkit.types import Outcome, Usage

_SHARED = (
    "question_id", "cluster_id", "condition", "arm", "prompt", "gold", "parsed", "question", "question_kind",
    "rejected", "fallback", "error",
)  # fmt: skip
_FIELDS = tuple(f.name for f in dataclasses.fields(Outcome) if f.name not in ("usage", "calls"))
_of_all = itemgetter(*_FIELDS)


class _LeanCall(Mapping[str, Any]):
    """A call without what was asked, in a sixth of the room of a dict."""

    __slots__ = ("_cached", "_documents", "_finish_reason", "_purpose", "_seconds", "_text", "_usage")

    def __init__(self, call: Mapping[str, Any]) -> None:
        self._purpose, self._cached, self._seconds = call.get("purpose"), call.get("cached"), call.get("seconds")
        reply = call["reply"]
        self._usage: tuple[Any, ...] | None = None
        if isinstance(reply, str):  # in older journals it is the text alone
            self._text = reply
            return
        self._text, self._usage = reply.get("text"), tuple(reply.get("usage") or ())
        self._finish_reason = reply.get("finish_reason")
        documents = reply.get("documents")
        # A document is retrieved for many rows: one copy of its id or text serves them all.
        self._documents = tuple(sys.intern(str(document)) for document in documents) if documents else ()

    def __getitem__(self, name: str) -> Any:
        return self._READ[name](self)

    def get(self, name: str, default: Any = None) -> Any:
        # The one of `Mapping` raises and catches a KeyError.
        return self._READ[name](self) if name in self._READ else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._READ)

    def __len__(self) -> int:
        return len(self._READ)

    def _reply(self) -> Any:
        if self._usage is None:
            return self._text
        return {
            "text": self._text,
            "usage": self._usage,
            "finish_reason": self._finish_reason,
            "documents": self._documents,
        }

    _READ: ClassVar[dict[str, Callable[[_LeanCall], Any]]] = {
        "purpose": attrgetter("_purpose"),
        "cached": attrgetter("_cached"),
        "seconds": attrgetter("_seconds"),
        "reply": _reply,
    }


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
        kept = tuple(calls) if isinstance(calls, Sequence) else ()
        return cls._made(row, Usage.reported(*_counts(row)), tuple(row.get("edits") or ()), kept)

    @classmethod
    def _made(
        cls, row: Mapping[str, Any], usage: Usage, edits: tuple[Any, ...], kept: tuple[Mapping[str, Any], ...]
    ) -> Sample:
        calls = row.get("calls") or ()
        try:
            fields = dict(zip(_FIELDS, _of_all(row), strict=True))
        except KeyError:  # an older journal lacks some
            fields = {name: row[name] for name in _FIELDS if name in row}
        number = len(calls) if isinstance(calls, Sequence) else int(calls)
        outcome = Outcome(**fields, usage=usage, calls=number)
        return cls(
            outcome,
            row.get("question") or "",
            row.get("text") or "",
            tuple(row.get("options") or ()),
            edits,
            kept,
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
        return sum([float(call.get("seconds") or 0) for call in self.calls])

    @property
    def cached_calls(self) -> int:
        """Calls that the response cache answered."""
        return sum(bool(call.get("cached")) for call in self.calls)

    def said(self, purpose: str) -> str | None:
        """Returns the reply of the last call whose purpose contains `purpose`."""
        reply = self._reply(purpose)
        return reply if reply is None or isinstance(reply, str) else reply.get("text", "")

    @property
    def documents(self) -> tuple[str, ...]:
        """The different documents that were retrieved for the last call that answers, best first."""
        reply = self._reply("answer")
        retrieved = None if reply is None or isinstance(reply, str) else reply.get("documents")
        return tuple(dict.fromkeys(filter(None, retrieved or ())))

    def _reply(self, purpose: str) -> Mapping[str, Any] | str | None:
        for call in reversed(self.calls):
            if purpose in str(call.get("purpose", "")):
                reply: Mapping[str, Any] | str | None = call.get("reply")
                return reply
        return None


class Compact:
    """Makes `lean` samples of journal lines that share their equal texts: about a kilobyte each, so that a million of
    them can be measured at once."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}
        self._nothing: dict[str, Any] = {}
        self._usages: dict[tuple[Any, ...], Usage] = {}

    def sample(self, row: dict[str, Any]) -> Sample:
        """Returns the sample of a line. Equal texts in the line become one object as well."""
        one = self._kept.setdefault
        for name in _SHARED:
            value = row.get(name)
            if isinstance(value, str):
                row[name] = one(value, value)
        for name in ("meta", "scores"):
            row[name] = row.get(name) or self._nothing
        if row.get("text") == row.get("question"):
            row["text"] = row.get("question")
        calls = row.get("calls")
        for call in calls if isinstance(calls, list) else ():
            reply, purpose = call["reply"], call["purpose"]
            call["purpose"] = one(purpose, purpose)
            if isinstance(reply, dict):
                usage_counts, reason = tuple(reply.get("usage") or ()), reply.get("finish_reason")
                reply["usage"], reply["finish_reason"] = one(usage_counts, usage_counts), one(reason, reason)
                if reply.get("text") == row.get("said"):
                    reply["text"] = row.get("said")
        counts = tuple(_counts(row))
        if (usage := self._usages.get(counts)) is None:
            usage = self._usages[counts] = Usage.reported(*counts)
        return Sample._made(row, usage, (), tuple(map(_LeanCall, calls)) if isinstance(calls, list) else ())


def _counts(row: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the numbers of tokens in a journal line: prompt, completion and cached ones."""
    usage = row.get("usage") or {}
    return (usage.get(name, 0) for name in ("prompt", "completion", "cached"))


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
