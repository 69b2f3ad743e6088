"""Operators that move words, drop or repeat them, or put other words in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

from llmkit.perturb.base import TextEdit, WordEdit, letters_in, like, operator, pick, sample
from llmkit.perturb.numerals import JOINTS, NUMBER_WORDS
from llmkit.perturb.text import Change, Source
from llmkit.perturb.wordbook import homophones, in_words, misspellings, spelt_by_sound


@operator("woo", level="word", paper_rate=0.22)
class Woo(TextEdit):
    """Words out of order: neighbouring words change places, never next to punctuation or a number (RoP,
    arXiv 2506.03627). The rate counts swaps, each of which costs one word of the longest common subsequence.

    >>> source = Source("How many red apples are left?")
    >>> [tuple(c) for c in Woo().changes(source, 1, Random(1))]
    [(0, 8, 'many How')]
    """

    nothing = "no two neighbouring words that can change places"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        tokens, letters, lines = source.tokens, letters_in(source), "\n" in source.text
        plain = [  # no punctuation, no number nor a part of one
            token.isalpha()
            and letters(token)[0] == token
            and (token not in JOINTS or source.free_letters(token, source.start(i), source.end(i)))
            for i, token in enumerate(tokens)
        ]
        pairs = [
            i
            for i in range(len(tokens) - 1)
            if plain[i]
            and plain[i + 1]
            and tokens[i].lower() != tokens[i + 1].lower()
            and not (lines and "\n" in source.between(i))
            and (not source.spans or source.free_word(source.start(i), source.end(i + 1)))
        ]
        return [_swap(source, i) for i in _apart(pairs, wanted, rng)]


def _apart(pairs: Sequence[int], wanted: int, rng: Random) -> list[int]:
    """At most `wanted` of the pairs, no two sharing a word; as many as there can be where fewer were found."""
    order = list(pairs)
    taken: set[int] = set()
    while order and len(taken) < wanted:
        i = order.pop(int(rng.random() * len(order)))
        if i - 1 not in taken and i + 1 not in taken:
            taken.add(i)
    if len(taken) < wanted:  # luck left gaps: the leftmost pairs first are the most that fit
        most: list[int] = []
        for i in pairs:
            if not most or i > most[-1] + 1:
                most.append(i)
        return sorted(sample(most, wanted, rng))
    return sorted(taken)


def _swap(source: Source, i: int) -> Change:
    left, right = source.tokens[i], source.tokens[i + 1]
    start, end = source.start(i), source.end(i + 1)
    return Change(start, end, right + source.text[start + len(left) : end - len(right)] + left)


@operator("hw", level="word", paper_rate=0.25)
class Hw(WordEdit):
    """Homophone words: a word that sounds the same takes a word's place (RoP, arXiv 2506.03627; pronunciations from
    CMUdict). Takes what is eligible, often less than the rate asks for; names and number words stay. At `--rate paper`
    it mixes in misspellings by sound, other real words and words taken apart, as RoP's own data do.

    >>> Hw().edit("flour", Random(1))
    'flower'
    """

    english = True
    nothing = "no word with a homophone"

    def edit(self, word: str, rng: Random) -> str | None:
        others = homophones().get(word)
        return pick(others, rng) if others else None


@operator("hw_spell", level="word", paper_rate=0.237)
class HwSpell(WordEdit):
    """Homophones and spellings by sound: "their" for "there", "skool" for "school" (RoP's own homophone data,
    arXiv 2506.03627, which mixes both; sounds from CMUdict, respelling rules our own).

    >>> HwSpell().edit("school", Random(0))
    'skool'
    """

    min_letters = 2
    english = True
    nothing = "no word that can be spelt by its sound"

    def edit(self, word: str, rng: Random) -> str | None:
        lower = word.lower()
        if lower in NUMBER_WORDS:
            return None
        others = homophones().get(word)
        if others and rng.random() < 0.5:
            return pick(others, rng)
        forms = spelt_by_sound(lower) or others
        return like(pick(forms, rng), word) if forms else None


_NUMERAL = re.compile(r"(?<![\w.,/:$€£¥₹+-])[0-9]{1,4}(?![\w%/:+-]|[.,][0-9])")


@operator("hw_number", level="word")
class HwNumber(TextEdit):
    """Writes numerals as words, 6 as six: an opt-in, for it changes what every other operator protects. Money,
    decimals, percentages and fractions stay (RoP's homophone data, arXiv 2506.03627, which loses numerals so).

    >>> [tuple(c) for c in HwNumber().changes(Source("Tom has 6 apples for $5."), 1, Random(1))]
    [(8, 9, 'six')]
    """

    changes_numbers = True
    english = True
    nothing = "no plain numeral"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        found = [m for m in _NUMERAL.finditer(source.text) if source.free_word(*m.span())]
        return sorted(Change(m.start(), m.end(), in_words(int(m.group()))) for m in sample(found, wanted, rng))


@operator("spelling", level="word")
class Spelling(WordEdit):
    """A common misspelling takes a word's place, never another real word (the list that nlpaug carries; Ma 2019).

    >>> Spelling().edit("because", Random(1))
    'beacouse'
    """

    english = True
    nothing = "no word with a known misspelling"

    def edit(self, word: str, rng: Random) -> str | None:
        table = misspellings()
        if forms := table.get(word):
            return forms[int(rng.random() * len(forms))]
        forms = table.get(word.lower())
        return like(pick(forms, rng), word) if forms else None


_SMALL = (
    "a an the of to in on at by for with from as is are was were be been has have had do does did will would can "
    "could so then that this these those it its her his their my your our and also just very there some"
)
_SMALL_WORDS = frozenset(_SMALL.split())


@operator("drop", level="word")
class Drop(TextEdit):
    """Leaves out small words: articles, prepositions, auxiliaries; never "not", "each" or what carries a number
    (random deletion of EDA, Wei and Zou 2019, arXiv 1901.11196, held to words that an answer does not hang on).

    >>> source = Source("Tom has the red apples")
    >>> [tuple(c) for c in Drop().changes(source, 1, Random(1))]
    [(4, 8, '')]
    """

    english = True
    nothing = "no small word to leave out"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        tokens = source.tokens
        small = [i for i in range(len(tokens) - 1) if tokens[i].lower() in _SMALL_WORDS]
        places = [(source.start(i), source.start(i + 1)) for i in small if "\n" not in source.between(i)]
        places = [place for place in places if source.free(*place)]
        return sorted(Change(start, end, "") for start, end in sample(places, wanted, rng))


@operator("repeat", level="word")
class Repeat(TextEdit):
    """Says a word twice, as in a slip of the pen; never a number word (duplication slips in typing, Grudin 1983).

    >>> source = Source("Tom has red apples")
    >>> [tuple(c) for c in Repeat().changes(source, 1, Random(1))]
    [(3, 3, ' Tom')]
    """

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        words = [(i, word) for i, word in enumerate(source.tokens) if word.isalpha()]
        places = [
            (source.end(i), word)
            for i, word in words
            if word.lower() not in NUMBER_WORDS and source.free(source.start(i), source.end(i))
        ]
        return sorted(Change(end, end, f" {word}") for end, word in sample(places, wanted, rng))


_CONTRACTIONS = """is not=isn't; are not=aren't; was not=wasn't; were not=weren't; do not=don't; does not=doesn't; did
not=didn't; has not=hasn't; have not=haven't; had not=hadn't; will not=won't; would not=wouldn't; cannot=can't;
can not=can't; could not=couldn't; should not=shouldn't; must not=mustn't; I am=I'm; I have=I've; I will=I'll; he
is=he's; she is=she's; it is=it's; that is=that's; what is=what's; who is=who's; how is=how's; where is=where's; there
is=there's; here is=here's; you are=you're; we are=we're; they are=they're; you have=you've; we have=we've; they
have=they've; he will=he'll; she will=she'll; it will=it'll; you will=you'll; we will=we'll; they will=they'll; let
us=let's; who will=who'll; what will=what'll; that will=that'll; there will=there'll"""


def contractions() -> list[str]:
    """The table of `contraction`: pairs as "did not=didn't"."""
    return [pair.strip() for pair in " ".join(_CONTRACTIONS.split()).split(";")]


@cache
def _contraction_pattern() -> tuple[dict[str, str], re.Pattern[str]]:
    pairs = [pair.split("=") for pair in contractions()]
    table = {long.lower(): short for long, short in pairs} | {short.lower(): long for long, short in reversed(pairs)}
    forms = sorted(table, key=len, reverse=True)
    either = "|".join(map(re.escape, forms))
    return table, re.compile(rf"(?<![\w'])(?:{either})(?![\w'])", re.IGNORECASE)


@operator("contraction", level="word")
class Contraction(TextEdit):
    """Contracts what is written out and writes out what is contracted: "does not", "doesn't" (HELM,
    arXiv 2211.09110).

    >>> source = Source("She doesn't know what is left.")
    >>> [tuple(c) for c in Contraction().changes(source, 2, Random(1))]
    [(4, 11, 'does not'), (17, 24, "what's")]
    """

    english = True
    nothing = "nothing to contract or write out"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        table, pattern = _contraction_pattern()
        found = [m for m in pattern.finditer(source.text.replace("’", "'")) if source.free(*m.span())]
        chosen = sample(found, wanted, rng)
        return sorted(Change(m.start(), m.end(), like(table[m.group().lower()], m.group())) for m in chosen)
