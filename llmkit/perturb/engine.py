"""Perturber: one spec at one rate, applied to one text after the other. Seeds, records, checks, retries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict, cast

from llmkit.errors import UsageError
from llmkit.parsing import JsonObject
from llmkit.perturb.base import Operator
from llmkit.perturb.identification import identified
from llmkit.perturb.languages import AUTO, ENGLISH, Language, in_script_of, language_named, language_of
from llmkit.perturb.number_words import number_word_spans
from llmkit.perturb.numerals import keeps_numbers, number_words, numbers
from llmkit.perturb.protection import PROTECT, Protection, Span, merged
from llmkit.perturb.spec import Chain, parse_spec
from llmkit.perturb.text import EditRecord, Source, apply, compose, moved, strength
from llmkit.seeds import derive, text_id, text_key
from llmkit.types import Edit, Steps, Strength

if TYPE_CHECKING:
    from llmkit.perturb.model_operators import ModelOperator

UNCHANGED = Strength()
NOT_SERVED = "does not serve"
"""Begins the reason, behind an operator's name, why it left a text in some language alone."""
Rate = float | str | None
"""A share of the words, "paper", "fitted", a multiple of it such as "x0.5", or None for the operator's own default."""


@dataclass(frozen=True, slots=True)
class Perturbed:
    """One noisy copy. If `rejected`, the text is unchanged and `reason` says why; otherwise `reason` describes a
    shortfall.

    `seed` made this text; it is that of the last attempt. `detail` is what an operator that asks a model has to say.
    `lang` is the code of the text's language, "" for one that was taken as English without asking.
    """

    text: str
    edits: tuple[Edit, ...] = ()
    strength: Strength = UNCHANGED
    seed: int = 0
    rejected: bool = False
    reason: str | None = None
    detail: JsonObject | None = None
    lang: str = ""


class PerturbationRecord(TypedDict):
    """The `perturbation` of an output row: all that is needed to explain, undo and repeat it."""

    operator: str
    rate: Rate
    seed: int
    original: str
    edits: list[EditRecord]
    strength: dict[str, float]
    rejected: NotRequired[str | None]
    short: NotRequired[str]
    detail: NotRequired[JsonObject]
    lang: NotRequired[str]
    copy: NotRequired[int]
    previous: NotRequired[Any]  # the record of an earlier run of `llmkit perturb` over the same row


class Guarded(NamedTuple):
    """The parts of a question that noise must not change (its options) or reveal (its gold answer)."""

    options: tuple[str, ...]
    gold: str | None


class Perturber:
    """Applies one spec (`ec`, `ec+uic`, `mix(ec:0.7,sc:0.3)`) at one rate. Cheap to pickle; holds no random state.

    `rate` is the share of the words outside protected spans to change, "paper", or None for the operator's own default.

    >>> p = Perturber("ec", rate=0.2, seed=1)
    >>> p.apply("Janet sells 16 eggs at the market every day.", "q1").text
    'Jnaet slels 16 eggs at the market every day.'
    """

    def __init__(
        self,
        spec: str,
        rate: Rate = None,
        seed: int = 7,
        protect: Sequence[str] = PROTECT,
        retries: int = 4,
        release: Sequence[str] = (),
        english: bool = True,
        data_dir: str | None = None,
        lang: str = "",
    ) -> None:
        self.spec, self.rate, self.seed, self.retries = spec, checked_rate(rate), seed, retries
        if retries < 0:
            raise UsageError(f"retries must not be negative: {retries}")
        self.mixture, self.data_dir = parse_spec(spec, data_dir), data_dir
        if self.rate == "paper":
            self.mixture = self.mixture.as_paper()
        self.protection = Protection(protect, release)
        self.english = english
        """True for a set in English. Operators that work from English words leave others alone."""
        self.lang = lang
        """A code, or "auto" to identify each text; "" takes text in Latin letters as English unless accents and small
        words say otherwise."""
        self._given = language_named(lang) if lang not in ("", AUTO) else None
        self._bound: dict[tuple[int, Language], Operator | None] = {}
        calls_per_attempt = sum(operator.most_calls for chain in self.mixture.chains for operator in chain)
        self.most_calls = calls_per_attempt * (retries + 1)
        """Calls to a model for one copy, at most; 0 where none is asked."""
        self._base = derive(seed, "perturb", spec, self.rate)

    @property
    def for_english(self) -> list[str]:
        """The operators among its own that work from English words."""
        return [operator.name for chain in self.mixture.chains for operator in chain if operator.english]

    def __reduce__(self) -> tuple[Any, ...]:
        protection = self.protection
        settings = (protection.names, self.retries, protection.release, self.english, self.data_dir, self.lang)
        return type(self), (self.spec, self.rate, self.seed, *settings)

    def apply(
        self, text: str, id: str, *, options: Sequence[str] = (), gold: str | None = None, copy: int = 0
    ) -> Perturbed:
        """Returns a noisy copy of `text`, always the same for the same arguments."""
        if self.rate == 0 or not text or text.isspace():
            is_empty = self.rate != 0
            seed = derive(self._base, id, copy, 0)
            return Perturbed(text, seed=seed, rejected=is_empty, reason="the text is empty" if is_empty else None)
        # Most text is ASCII, and English unless a language is given: no further question costs it anything.
        language = None if not self.lang and text.isascii() else self.language_of(text)
        lang = language.code if language else ENGLISH.code if self.lang else ""
        source = self._source(text, self.protection.spans(text, options), language)
        for attempt in range(self.retries + 1):
            seed = derive(self._base, id, copy, attempt)
            rng = Random(seed)
            chain = self.mixture.draw(rng)
            new_text, edits, shortfall = self._once(source, chain, rng)
            if not edits and shortfall is None and chain.fitted:  # as many texts of a profile's people have no error
                return Perturbed(text, seed=seed, reason="no error was drawn", lang=lang)
            reason = self._fault(source, new_text, chain, edits, gold)
            if reason is None:
                realised = strength(text, new_text, edits, source if chain.protects else None)
                return Perturbed(new_text, edits, realised, seed, reason=shortfall, lang=lang)
            if new_text == text:
                reason = shortfall or reason
        return Perturbed(text, seed=seed, rejected=True, reason=reason, lang=lang)

    def language_of(self, text: str) -> Language | None:
        """Returns the language that a text is perturbed in; None for English."""
        if self._given is not None:
            language = in_script_of(text, self._given)
        elif self.lang:
            language = identified(text)
        else:
            return language_of(text)
        return None if language.code == ENGLISH.code else language

    def _source(self, text: str, spans: Sequence[Span], language: Language | None = None) -> Source:
        if language is not None and self.protection.number_words:
            spans = merged([*spans, *number_word_spans(text, language)])
        return Source(text, spans, self.protection.numbers, self.protection.number_words, language)

    def _in(self, operator: Operator, language: Language) -> Operator | None:
        """Returns an operator as it works in another language than English; None where it does not serve it."""
        key = (id(operator), language)
        if key not in self._bound:
            if self.lang:  # asked for, and not only found in a text
                operator.require(language)
            self._bound[key] = operator.in_language(language)
        return self._bound[key]

    def fingerprint(self, text: str) -> int:
        """Returns 63 bits that differ for every other text, spec, rate and seed."""
        return derive(self._base, text)

    def record(self, text: str, perturbed: Perturbed) -> PerturbationRecord:
        """Describes the changes to `text`: the `perturbation` of an output row."""
        record: PerturbationRecord = {
            "operator": self.spec,
            "rate": self.rate,
            "seed": perturbed.seed,
            "original": text,
            "edits": [{"start": start, "end": end, "old": old, "new": new} for start, end, old, new in perturbed.edits],
            "strength": {"words": perturbed.strength.words, "chars": perturbed.strength.chars},
        }
        if perturbed.rejected:
            record["rejected"] = perturbed.reason
        elif perturbed.reason:
            record["short"] = perturbed.reason
        if perturbed.detail:
            record["detail"] = perturbed.detail
        if perturbed.lang:
            record["lang"] = perturbed.lang
        return record

    def map_batch(self, rows: dict[str, list[Any]], field: str = "question", id: str = "id") -> dict[str, list[Any]]:
        """Serves `datasets.map(perturber.map_batch, batched=True)`: noise in `field`, and a `perturbation` column
        (JSON).

        Its fingerprint is the same in every process. Rows without an id are known by their text, as those of
        `llmkit perturb --shard` are, so that equal texts get equal noise whatever the batches.
        """
        texts = [str(text) for text in rows[field]]
        given_ids = rows.get(id, [None] * len(texts))
        ids = [text_id(text_key(text)) if i in (None, "") else str(i) for text, i in zip(texts, given_ids, strict=True)]
        copies = [self.apply(text, row_id) for text, row_id in zip(texts, ids, strict=True)]
        records = [
            json.dumps(self.record(text, copy), ensure_ascii=False) for text, copy in zip(texts, copies, strict=True)
        ]
        return {field: [copy.text for copy in copies], "perturbation": records}

    def __call__(self, rows: Mapping[str, Any]) -> Mapping[str, Any]:
        """Serves Ray Data, `dataset.map_batches(perturber)`: the rows' own columns, with those of `map_batch`."""
        return {**rows, **self.map_batch(dict(rows))}

    def steps(
        self, text: str, id: str, *, options: Sequence[str] = (), gold: str | None = None, copy: int = 0
    ) -> Steps:
        """Does what `apply` does, also for operators that ask a model: a generator for the runner that returns a
        Perturbed."""
        if not self.most_calls or self.rate == 0 or not text or text.isspace():
            return self.apply(text, id, options=options, gold=gold, copy=copy)
        (chain,) = self.mixture.chains
        (operator,) = cast("tuple[ModelOperator]", chain)  # an operator that asks a model is the only one of its spec
        source = self._source(text, self.protection.spans(text, options))
        faults: list[str] = []
        for attempt in range(self.retries + 1):
            seed = derive(self._base, id, copy, attempt)
            wanted_changes = self._wanted(operator, source, Random(seed))
            changes, why_none, detail = yield from operator.attempt(source, wanted_changes, Random(seed), gold)
            new_text, edits = apply(text, changes)
            fault = self._fault(source, new_text, chain, edits, gold) if changes else f"{operator.name}: {why_none}"
            record_detail = (detail or {}) | ({"failed": faults} if faults else {})
            if fault is None:
                return Perturbed(
                    new_text, edits, strength(text, new_text, edits, source), seed, detail=record_detail or None
                )
            faults.append(fault)
        return Perturbed(text, seed=seed, rejected=True, reason=fault, detail=record_detail or None)

    def _wanted(self, operator: Operator, source: Source, rng: Random) -> int:
        if isinstance(self.rate, float | int):
            return operator.wanted(source, self.rate)
        if self.rate == "paper" and not operator.fitted:
            return operator.wanted_as_paper(source)
        if self.rate is None and not operator.fitted:
            return operator.wanted(source, operator.default_rate)
        return operator.wanted_as_fitted(source, multiple(self.rate), rng)

    def _once(self, source: Source, chain: Chain, rng: Random) -> tuple[str, tuple[Edit, ...], str | None]:
        """Makes one attempt. Returns the text, its edits, and the reason for a shortfall of changes."""
        text = new_text = source.text
        edits: tuple[Edit, ...] = ()
        shortfalls: list[str] = []
        for member in chain:
            if member.english and not self.english:
                shortfalls.append(f"{member.name}: the set is not in English")
                continue
            operator = member if source.language is None else self._in(member, source.language)
            if operator is None:
                shortfalls.append(f"{member.name}: {NOT_SERVED} {source.language.name if source.language else ''}")
                continue
            wanted_changes = self._wanted(operator, source, rng)
            if not wanted_changes:
                continue
            changes = operator.changes(source, wanted_changes, rng)
            if not changes:
                shortfalls.append(f"{operator.name}: {operator.nothing}")
                continue
            if len(changes) < wanted_changes:
                shortfalls.append(f"{operator.name}: {len(changes)} of {wanted_changes} changes were possible")
            next_text, new_edits = apply(new_text, changes)
            if len(chain) > 1:
                spans = moved(source.spans, new_edits) if operator.protects else self.protection.spans(next_text)
                source = self._source(next_text, spans, source.language)
                new_edits = apply(text, compose(text, edits, new_text, new_edits))[1]
            new_text, edits = next_text, new_edits
        return new_text, edits, "; ".join(shortfalls) or None

    def _fault(
        self, source: Source, new_text: str, chain: Chain, edits: Sequence[Edit], gold: str | None
    ) -> str | None:
        """Returns the reason why a copy must not be used, or None."""
        text, spans = source.text, source.spans
        if new_text == text:
            return "nothing changed"
        numbers_guarded = self.protection.numbers and not chain.changes_numbers
        if numbers_guarded and (fault := self._number_fault(text, new_text, edits, chain.adds_numbers)):
            return fault
        if spans and chain.protects:
            span_pairs = zip(spans, moved(spans, edits), strict=True)
            if any(text[start:end] != new_text[new_start:new_end] for (start, end), (new_start, new_end) in span_pairs):
                return "a protected span was changed"
        # A label such as "(B)" gives nothing away, nor does any letter
        bare_gold = _LABEL.sub("", gold) if gold else ""
        if (len(bare_gold) > 1 or bare_gold.isdecimal()) and _count(bare_gold, new_text) > _count(bare_gold, text):
            return "the answer was introduced"
        return None

    def _number_fault(self, text: str, new_text: str, edits: Sequence[Edit], adds_numbers: bool) -> str | None:
        count_words = self.protection.number_words
        if keeps_numbers(edits, new_text, count_words):
            return None
        numbers_before, numbers_after = numbers(text, count_words), numbers(new_text, count_words)
        if numbers_before - numbers_after:
            return "a number was lost"
        if numbers_after - numbers_before and not adds_numbers:
            return "a number was added"
        if count_words:
            new_words = iter(number_words(new_text))
            if not all(word in new_words for word in number_words(text)):  # "hundred two" is not "two hundred"
                return "number words changed places"
        return None


_LABEL = re.compile(r"^\([A-Z]\)\s*")


def _count(answer: str, text: str) -> int:
    """Counts how often the answer occurs in a text as a word or number of its own."""
    if answer.casefold() not in text.casefold().replace(",", ""):
        return 0
    return len(re.findall(rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)", text.replace(",", ""), re.IGNORECASE))


_MULTIPLE = re.compile(r"x\d{1,3}(?:\.\d{1,6})?")


def multiple(rate: Rate) -> float:
    """Returns what a rate multiplies the fitted one by: 2.0 for "x2", 1.0 for all that is no multiple."""
    return float(rate[1:]) if isinstance(rate, str) and _MULTIPLE.fullmatch(rate) else 1.0


def checked_rate(rate: Rate) -> Rate:
    """Returns the rate. UsageError if it is neither a number in 0..1 nor "paper", "fitted" or a multiple such as
    "x0.5"."""
    if rate is None or rate in ("paper", "fitted") or (isinstance(rate, str) and _MULTIPLE.fullmatch(rate)):
        return rate
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise UsageError(
            f"rate {rate!r} is not in 0..1", "give a share of words such as 0.1, `paper`, `fitted` or `x2`"
        )
    return number
