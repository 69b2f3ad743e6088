"""Correctors: text in, text and edits out. Each is one class; a chain such as `fold+spell` runs several in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from llmkit.errors import UsageError
from llmkit.perturb.languages import AUTO, Language, language_named
from llmkit.perturb.text import apply, compose
from llmkit.registry import Registry
from llmkit.repair.guard import kept_changes
from llmkit.repair.languages import hands_off, is_foreign, other_language
from llmkit.types import Edit, Message, Request, Role, Sampling, Steps

CORRECTORS: Registry[type[Corrector]] = Registry("corrector", "llmkit.correctors")

CHAIN_MARK = "+"


class Proposal(NamedTuple):
    """The text that a corrector would write, before the guard; `fallback` is the reason if it has none to offer."""

    text: str
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected text and the edits that undo it (`llmkit.perturb.text.undo`).

    `fallback` is the first reason for which a proposal was not used: of a reply "empty", "cut", "refused", "answered"
    or "explained" (`llmkit.repair.replies`).
    """

    text: str
    edits: tuple[Edit, ...] = ()
    fallback: str | None = None


@dataclass(frozen=True)
class CorrectorContext:
    """The settings that correctors share. Those that ask no model use none but `lang`.

    `instruction` is the correction instruction, `shots` are (noisy, clean) pairs that are shown with it, `votes` is the
    number of sampled corrections of `vote`, and `role` the model that corrects. `lang` is the language of all texts,
    "auto" to identify each, or "" for a set in another language than English, which then nobody named.
    """

    instruction: str = ""
    shots: Sequence[tuple[str, str]] = ()
    max_tokens: int = 256
    votes: int = 5
    lang: str = "en"
    seed: int = 7
    role: Role = "corrector"


class Corrector:
    """Base of all correctors. A subclass writes `propose`; the guard, the edits and the chain are the base's.

    Numbers (words too), options, code, addresses, LaTeX, placeholders and quoted spans never change, unless `changes`
    names their kind.
    """

    name: ClassVar[str] = ""
    cost: ClassVar[str] = "no call"
    """The price of one text, for tables and `llmkit show`."""
    asks: ClassVar[bool] = False
    """True where a model is asked."""
    scores: ClassVar[bool] = False
    """True where it asks for log-probabilities, and for no text."""
    instructed: ClassVar[bool] = False
    """True where the model is given the correction instruction."""
    trained: ClassVar[bool] = False
    """True where the model has to be one that was trained to be asked so."""
    changes: ClassVar[frozenset[str]] = frozenset()
    """Kinds of protected text that it may change all the same: of `llmkit.perturb.protection.RELEASE`, and "quotes"."""
    english: ClassVar[bool] = False
    """True where it repairs English words, and others only as far as it writes `propose_in`."""
    resource: ClassVar[str] = ""
    """A published table that it repairs from; noise may come from the same."""

    def __init__(self, context: CorrectorContext | None = None) -> None:
        self.context = context or CorrectorContext()
        if self.context.lang not in ("", AUTO):
            language_named(self.context.lang)  # an unknown one is said before any text is read

    def propose(self, text: str) -> Steps:
        """Yields requests, if any, and is sent replies. Returns a `Proposal`."""
        raise TypeError(f"{type(self).__name__} does not say how it corrects")

    def propose_in(self, text: str, language: Language) -> Steps:
        """Does what `propose` does for a text in another language than English."""
        if self.english:
            hands_off(self.name, language)
            return Proposal(text)
        return (yield from self.propose(text))

    def correct(self, text: str, options: Sequence[str] = ()) -> Steps:
        """Corrects one text, without touching its protected spans. Yields requests; returns a `Corrected`.

        `options` are answer options that the text may quote. A corrector of English words leaves a text in another
        language as it is, also where the set is English.
        """
        language = other_language(text, self.context.lang)
        if language is not None:
            proposal: Proposal = yield from self.propose_in(text, language)
        elif self.english and (not self.context.lang or is_foreign(text)):
            return Corrected(text)
        else:
            proposal = yield from self.propose(text)
        if proposal.text == text:
            return Corrected(text, fallback=proposal.fallback)
        changes = kept_changes(text, proposal.text, options, self.changes)
        return Corrected(*apply(text, changes), proposal.fallback)

    def request(self, content: str, *, replicate: int = 0, **sampling: Any) -> Request:
        """Returns the request that puts one text to the model that corrects."""
        settings = Sampling(max_tokens=self.context.max_tokens, **sampling)
        messages = (Message("user", content),)
        return Request(messages, settings, purpose="correct", role=self.context.role, replicate=replicate)


def corrector(name: str) -> Callable[[type[Corrector]], type[Corrector]]:
    """Registers a corrector under the name that users call it by."""
    return CORRECTORS.named(name)


class Chain(Corrector):
    """Several correctors in turn, each on the text that the one before it left."""

    def __init__(self, links: Sequence[Corrector]) -> None:
        super().__init__()
        self.links = tuple(links)

    @property
    def asks_model(self) -> bool:
        """True where any of its correctors asks a model."""
        return any(link.asks for link in self.links)

    def propose_in(self, text: str, language: Language) -> Steps:
        """Does what `propose` does for a text in another language than English."""
        if self.english:
            hands_off(self.name, language)
            return Proposal(text)
        return (yield from self.propose(text))

    def correct(self, text: str, options: Sequence[str] = ()) -> Steps:
        """Runs its correctors in turn. Yields requests; returns a `Corrected` whose edits undo all of them."""
        current = Corrected(text)
        for link in self.links:
            after: Corrected = yield from link.correct(current.text, options)
            changes = compose(text, current.edits, current.text, after.edits) if current.edits else None
            edits = after.edits if changes is None else apply(text, changes)[1]
            current = Corrected(after.text, edits, current.fallback or after.fallback)
        return current


def chain_of(name: str, context: CorrectorContext | None = None) -> Chain:
    """Returns the chain of a name such as "fold+spell". UsageError for an unknown corrector or one named twice."""
    return Chain([link(context) for link in links_of(name)])


def links_of(name: str) -> list[type[Corrector]]:
    """Returns the correctors that a chain's name joins, in order. UsageError as for `chain_of`."""
    names = [part.strip() for part in name.split(CHAIN_MARK)]
    if len(set(names)) < len(names):
        raise UsageError(f"`{name}` names a corrector twice", "each link of a chain runs once")
    return [CORRECTORS[part] for part in names]
