"""The values that flow through llmkit, from question to outcome. Plain, frozen, picklable."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

Role = Literal["answerer", "corrector", "optimizer"]
Preference = Literal["first", "second", "tie"]
"""The answer of two that is better, or that none is."""

CLEAN = "clean"  # the condition that is always present
Texts = tuple[str, ...]
_MOST_TOKENS = 10**9  # of one call; no context is a thousandth as long


class Part(NamedTuple):
    """One of the texts of a user's row that noise falls on: a field, or one user turn of the conversation in it."""

    field: str
    turn: int | None
    """The place of the turn in the conversation; None where the field is a text."""
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its gold answer, or a row of a user's own file that has none (`gold` None).

    `text` is what is put to the model: for `choice` it ends with the block "Answer Choices: (A) … (B) …".
    `kind` names the kind of answer (`llmkit.tasks.KINDS`), and `gold` is in its canonical form: for numeric a plain
    decimal ("18", "0.5"), for choice an option's label ("B"), for boolean "yes" or "no", for text the text.
    `cluster` names what sampling treats as one unit: the question itself, or the template it was generated from.
    `fields` are those of a user's own row but the answer, and `parts` the texts in them that noise falls on, in order:
    `text` is all of these, an empty line between each two. `labels` are those that all questions of a set share, of a
    kind of answer that has some.
    """

    id: str
    text: str
    gold: str | None
    kind: str
    options: tuple[str, ...] = ()
    split: str = "test"
    cluster: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def cluster_id(self) -> str:
        return self.cluster or self.id

    @property
    def divided(self) -> bool:
        """True where noise falls on several texts, or on turns of a conversation, each by itself."""
        return len(self.parts) > 1 or any(part.turn is not None for part in self.parts)

    @property
    def texts(self) -> Texts:
        """The texts that noise falls on, as they were sent."""
        return tuple(part.text for part in self.parts) if self.divided else (self.text,)


class Edit(NamedTuple):
    """One edit: `text[start:end] == new` in the final text was `old` in the original. Offsets count code points."""

    start: int
    end: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Strength:
    """The amount of change to a text: `words` is 1 - LCS/words in [0, 1], `chars` the character error rate (>= 0)."""

    words: float = 0.0
    chars: float = 0.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A question as it is asked under one condition; `condition` "clean" carries the text unchanged.

    `draw` numbers independent noisy copies; `rejected` says why a copy was left unchanged. `parts` are the texts of a
    divided question's parts under this condition.
    """

    question: Question
    condition: str
    text: str
    edits: tuple[Edit, ...] = ()
    strength: Strength = Strength()
    seed: int = 0
    draw: int = 0
    rejected: str | None = None
    parts: Texts = ()

    @classmethod
    def unchanged(cls, question: Question, condition: str = CLEAN) -> Variant:
        """Returns the question as it was sent."""
        return cls(question, condition, question.text, parts=question.texts if question.divided else ())

    @property
    def texts(self) -> Texts:
        """The texts that the condition may have changed: one, but for a divided question."""
        return self.parts or (self.text,)

    def worded(self, texts: Texts) -> Variant:
        """Returns the variant with other texts in the places of its own."""
        if not self.parts:
            return replace(self, text=texts[0])
        return replace(self, text="\n\n".join(texts), parts=texts)


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `more` are further keys of a logged turn, such as `tool_call_id`, sent as they are."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Returns the message as a server takes it."""
        return {"role": self.role, "content": self.content, **self.more}


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding settings. `seed` matters only where `temperature` is above 0."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model.

    With `continuation` set, nothing is generated: the reply's `logprobs` are those of the continuation's tokens, in
    nats, given the messages. `replicate` distinguishes deliberate repeats of the same call in the cache.

    `tools` are the definitions that the model may call, in the form that its server takes. `fields` are those of the
    row that the question comes from, for an application that is asked with more than messages.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    purpose: str = "answer"
    role: Role = "answerer"
    continuation: str | None = None
    replicate: int = 0
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's call of a tool. `arguments` is the JSON value that it wrote, or its text where that is no JSON."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of several added up. `cached` counts prompt tokens served from a prefix cache."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    @classmethod
    def reported(cls, *counts: Any) -> Usage:
        """Reads prompt, completion and cached tokens as a server or an older file gives them; what is no count becomes
        0.

        >>> Usage.reported(12, float("nan"), 1e30)
        Usage(prompt=12, completion=0, cached=0)
        """
        token_counts = (
            int(count) if isinstance(count, int | float) and 0 <= count <= _MOST_TOKENS else 0 for count in counts
        )
        return cls(*token_counts)

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached)


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's reply. `text` never contains reasoning; `finish_reason` "length" means cut by the token limit, and
    "content_filter" that the provider kept the question or part of the reply back: a refusal.

    `documents` are the ids or texts of what an application retrieved, best first; `tool_calls` in the model's order.
    """

    text: str
    reasoning: str = ""
    usage: Usage = Usage()
    finish_reason: str = "stop"
    logprobs: tuple[float, ...] | None = None
    documents: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def said(self) -> str:
        """The answer as it is kept, read and compared: the text, or the tool calls as JSON where there are any."""
        if not self.tool_calls:
            return self.text
        return json.dumps({"tool_calls": [asdict(call) for call in self.tool_calls]}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an arm. `fallback` is the reason if a correction was not used.

    `parsed` is the answer in canonical form if the arm knows it without reading a reply, as by likelihood.
    """

    reply: Reply
    corrected_text: str | None = None
    fallback: str | None = None
    parsed: str | None = None


Steps = Generator["Request | list[Request]", Any, Any]
"""A generator that yields one request, or a list of independent ones, and is sent the reply, or the list of replies."""

Ask = Callable[[Iterable[tuple[str, Steps]]], Iterator[tuple[str, Any]]]
"""Runs named generators and yields (name, result) as each ends; a result of None means that its call failed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its reply, as journalled, and the key that finds the reply again. `cached` means the response
    cache answered, not the model.

    `seconds` is its share of the time: each second that an engine works is split among the requests in flight, so that
    the calls of a run add up to the time it took.
    """

    request: Request
    reply: Reply
    key: str
    cached: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One arm's answer to one variant, scored. Unparsed (`parsed` None) and failed (`error`) count as wrong.

    `gold` and `correct` are None where the row has no answer to compare with. `prompt` names the user's own prompt.
    `scores` are in [0, 1] by name; None where a row has nothing to compare with.
    """

    question_id: str
    cluster_id: str
    condition: str
    arm: str
    draw: int
    parsed: str | None
    correct: bool | None
    gold: str | None
    calls: int = 0
    usage: Usage = Usage()
    cut: bool = False
    corrected_text: str | None = None
    fallback: str | None = None
    error: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)
