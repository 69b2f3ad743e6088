"""Operators that ask a model: noise written by one, and a search for the noise that one stumbles over."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random
from typing import Any, NamedTuple

from llmkit.errors import UsageError
from llmkit.parsing import JsonObject
from llmkit.perturb import chars
from llmkit.perturb.base import MOST_DIGITS, Operator, letters_of, operator
from llmkit.perturb.keys import Keyboard
from llmkit.perturb.lookalikes import Sc
from llmkit.perturb.pairs import differences
from llmkit.perturb.text import Change, Source, apply, strength
from llmkit.prompts import render
from llmkit.registry import unknown
from llmkit.types import Message, Request, Sampling

Attempt = Generator["Request | list[Request]", Any, "Written"]


class Written(NamedTuple):
    """A model operator's changes to a text. `reason` explains an empty result, `detail` goes into the record."""

    changes: Sequence[Change]
    reason: str | None = None
    detail: JsonObject | None = None


class ModelOperator(Operator):
    """An operator whose changes come from a model. It is the only one of its spec: no composition, no mixture."""

    most_calls = 1
    shows_example = False

    def attempt(self, source: Source, wanted: int, rng: Random, gold: str | None) -> Attempt:
        """Yields requests, is sent replies, and returns what was written."""
        raise TypeError(f"{type(self).__name__} does not say what it asks")

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        raise UsageError(f"`{self.name}` needs a model", "name one: `llmkit perturb ... --model MODEL`")


# kind: (what it is called, the rule, an example); the five of RoP, arXiv 2506.03627, 3.2
_KINDS = {
    "ec": (
        "misspelt words",
        "Shuffle letters inside some words, or change single letters of them.",
        ("How many times did she win?", "How mnay tiems did she win?"),
    ),
    "sc": (
        "look-alike characters",
        "Replace some letters by characters that look alike, such as accented or foreign letters.",
        ("How many times did she win?", "How mąny tïmes did she wın?"),
    ),
    "woo": (
        "words out of order",
        "Let some neighbouring words change places.",
        ("How many times did she win?", "How times many did win she?"),
    ),
    "hw": (
        "words that sound the same",
        "Replace some words by others, or by spellings, that sound the same. Numerals stay numerals.",
        ("Their son knew the right hour.", "There sun new the write our."),
    ),
    "uic": (
        "an irrelevant remark",
        "Add one sentence that is true to the scene but has nothing to do with the answer.",
        ("Ruby is 6. How old is her twin?", "Ruby is 6. She keeps 31 stamps in a tin. How old is her twin?"),
    ),
}


@operator("llm", level="model")
class Llm(ModelOperator):
    """Noise of one of the five RoP kinds, written by a model, checked, and written again where it fails the checks:
    `llm:ec`. The model does not see the answer unless asked to: `llm:ec,gold` (RoP, arXiv 2506.03627, 3.2).
    """

    argument = "ec"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        kind, _, gold_flag = str(argument).partition(",")
        if kind.strip() not in _KINDS or gold_flag.strip() not in ("", "gold"):
            raise unknown("kind of noise", str(argument), [*_KINDS, *(f"{known_kind},gold" for known_kind in _KINDS)])
        self.kind, self.told = kind.strip(), bool(gold_flag)
        self.adds_numbers = self.kind == "uic"

    def wanted(self, source: Source, rate: float) -> int:
        return 1

    def attempt(self, source: Source, wanted: int, rng: Random, gold: str | None) -> Attempt:
        text = source.text
        stem_end = source.spans[-1][0] if source.spans and source.spans[-1][1] == len(text) else len(text)
        stem = text[:stem_end].rstrip()  # answer options stay as they are, and need not be written again
        kind_name, rule, (before, after) = _KINDS[self.kind]
        content = render(
            "perturb/rewrite-v1",
            kind=kind_name,
            rule=rule,
            before=before,
            after=after,
            gold=gold if self.told else None,
            question=stem,
        )
        sampling = Sampling(
            max_tokens=64 + 3 * len(stem.split()), temperature=0.8, top_p=0.95, seed=rng.getrandbits(31)
        )
        reply = yield Request((Message("user", content),), sampling, purpose="perturb", role="optimizer")
        new_stem = reply.text.strip().removeprefix("Question:").strip()
        if reply.finish_reason == "length":
            return Written((), "the reply was cut")
        if not new_stem:
            return Written((), "the reply was empty")
        if not self._keeps(stem, new_stem):
            return Written((), "the question was not kept")
        return Written(differences(text, new_stem + text[len(stem) :]), "the model changed nothing")

    def _keeps(self, stem: str, new_stem: str) -> bool:
        """Returns whether the question is still there, because a small model may answer it or write about something
        else.

        The bounds leave room for twice what the RoP authors' own data changes.
        """
        change_strength = strength(stem, new_stem)
        is_close = change_strength.words <= 0.5 if self.kind == "uic" else change_strength.chars <= 0.5
        return is_close and ("?" in new_stem or "?" not in stem)


_SEARCHES = {
    "typos": (Keyboard, chars.Delete, chars.Insert, chars.Swap),  # R2ATA / ATA
    "deepwordbug": (chars.Swap, chars.Substitute, chars.Delete, chars.Insert),
    "textbugger": (chars.Delete, chars.Swap, Sc, Keyboard),
}


class _State(NamedTuple):
    """One candidate text in the search: its changes, and the log-probability of the answer under it."""

    logprob: float
    changes: tuple[Change, ...]


@operator("adversarial", level="model")
class Adversarial(ModelOperator):
    """Searches for the few edits under which a model finds the right answer least likely: ranks words by what masking
    them does to the answer's log-probability, then tries edits of the most important ones, greedily or with a beam.
    `adversarial:4` makes at most 4 edits; `adversarial(k=4,edits=textbugger,beam=2,budget=200)` says all there is
    (R2ATA; TextBugger, arXiv 1812.05271; DeepWordBug, arXiv 1801.04354).

    Without k the rate says how many. `budget` bounds the texts scored for a question.
    """

    argument = "4"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument or "")
        options: dict[str, str] = {}
        for option_text in filter(None, (argument or "").split(",")):
            name, equals, value = option_text.partition("=")
            options.update({name.strip(): value.strip()} if equals else {"k": name.strip()})
        edits = options.pop("edits", "typos")
        if edits not in _SEARCHES:
            raise unknown("set of edits", edits, _SEARCHES)
        self.edits = tuple(cls() for cls in _SEARCHES[edits])
        self.k = _whole("k", options.pop("k", "0"), 0)
        self.beam = _whole("beam", options.pop("beam", "1"), 1)
        self.budget = self.most_calls = _whole("budget", options.pop("budget", "150"), 2)
        if options:
            raise unknown("option of adversarial", next(iter(options)), ["k", "edits", "beam", "budget"])

    def wanted(self, source: Source, rate: float) -> int:
        return self.k or super().wanted(source, rate)

    def attempt(self, source: Source, wanted: int, rng: Random, gold: str | None) -> Attempt:
        if not gold:
            return Written((), "no answer is known to search against")
        word_spans = letters_of(source)
        if not word_spans:
            return Written((), self.nothing)
        longest_first = sorted(word_spans, key=lambda w: (w[0] - w[1], w[0]))[: max(1, self.budget // 2 - 1)]
        masked = [source.text[:word_start] + "_" + source.text[word_end:] for word_start, word_end in longest_first]
        clean_logprob, *masked_logprobs = yield from self._score([source.text, *masked], gold)
        texts_scored = 1 + len(masked_logprobs)
        # The word whose mask costs the answer most comes first.
        ranked = [word for _, word in sorted(zip(masked_logprobs, longest_first, strict=True))]
        beam, words_tried = [_State(clean_logprob, ())], 0
        for start, end in ranked:
            if len(beam[0].changes) >= wanted or texts_scored >= self.budget:
                break
            forms = self._forms(source.text[start:end], rng)[: max(0, self.budget - texts_scored) // len(beam)]
            candidates = [(*state.changes, Change(start, end, form)) for state in beam for form in forms]
            if not candidates:
                continue
            scores = yield from self._score([apply(source.text, sorted(changes))[0] for changes in candidates], gold)
            texts_scored, words_tried = texts_scored + len(candidates), words_tried + 1
            all_states = [*beam, *map(_State, scores, candidates)]
            beam = sorted(all_states, key=lambda candidate: candidate.logprob)[: self.beam]
        best_state = beam[0]
        detail = {"queries": texts_scored, "logprob": [round(clean_logprob, 4), round(best_state.logprob, 4)]}
        return Written(
            sorted(best_state.changes), f"no edit of {words_tried} words made the answer less likely", detail
        )

    def _forms(self, word: str, rng: Random) -> list[str]:
        """Makes one edit of each kind; returns those that differ."""
        edited_words = (
            edit_operator.edit(word, rng) for edit_operator in self.edits if len(word) >= edit_operator.min_letters
        )
        return list(dict.fromkeys(edited_word for edited_word in edited_words if edited_word and edited_word != word))

    def _score(self, texts: Sequence[str], gold: str) -> Generator[list[Request], Any, list[float]]:
        """Asks for the log-probability of the answer, in nats, after each text."""
        replies = yield [
            Request(
                (Message("user", render("perturb/ask-v1", question=text)),),
                Sampling(max_tokens=1),
                purpose="perturb",
                continuation=f"The answer is {gold}",
            )
            for text in texts
        ]
        return [sum(reply.logprobs) for reply in replies]


def _whole(option_name: str, value: str, minimum: int) -> int:
    if not value.isdecimal() or len(value) > MOST_DIGITS or int(value) < minimum:
        fault = f"adversarial: {option_name}={value} is not a whole number of at least {minimum}"
        raise UsageError(fault, "write e.g. adversarial(k=4)")
    return int(value)
