"""Operators that move words, drop or repeat them, or put other words in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

from llmkit.perturb.base import TextEdit, WordEdit, letters_in, like, operator, pick, sample, word_test
from llmkit.perturb.languages import Language
from llmkit.perturb.numerals import JOINTS, NUMBER_WORDS, is_numeral
from llmkit.perturb.text import Change, Source
from llmkit.perturb.word_lists import has_word_list, lists_installed, need_lists
from llmkit.perturb.wordbook import homophones, in_words, misspellings, spelt_by_sound

_FEWEST = 4  # letters and signs of a word of another language that is misspelt: people hardly err in shorter ones


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
        tokens, letters_of_token, has_lines = source.tokens, letters_in(source), "\n" in source.text
        is_word = word_test(source)
        is_plain = [  # no punctuation, no number nor a part of one
            is_word(token)
            and letters_of_token(token)[0] == token
            and (token not in JOINTS or source.free_letters(token, source.start(i), source.end(i)))
            for i, token in enumerate(tokens)
        ]
        pair_starts = [
            i
            for i in range(len(tokens) - 1)
            if is_plain[i]
            and is_plain[i + 1]
            and tokens[i].lower() != tokens[i + 1].lower()
            and not (has_lines and "\n" in source.between(i))
            and (not source.spans or source.free_word(source.start(i), source.end(i + 1)))
            and not (source.unspaced and _counts(source, i))
        ]
        return [_swap(source, i) for i in _apart(pair_starts, wanted, rng)]


def _counts(source: Source, pair_start: int) -> bool:
    """Returns whether a numeral touches a pair of words: where words are not spaced, the word after it is counted."""
    text, start, end = source.text, source.start(pair_start), source.end(pair_start + 1)
    return any(map(is_numeral, text[max(0, start - 1) : start] + text[end : end + 1]))


def _apart(pairs: Sequence[int], wanted: int, rng: Random) -> list[int]:
    """Draws at most `wanted` of the pairs, no two sharing a word; as many as possible where fewer were found."""
    remaining = list(pairs)
    taken_starts: set[int] = set()
    while remaining and len(taken_starts) < wanted:
        pair_start = remaining.pop(int(rng.random() * len(remaining)))
        if pair_start - 1 not in taken_starts and pair_start + 1 not in taken_starts:
            taken_starts.add(pair_start)
    if len(taken_starts) < wanted:  # luck left gaps: the leftmost pairs first are the most that fit
        most_starts: list[int] = []
        for pair_start in pairs:
            if not most_starts or pair_start > most_starts[-1] + 1:
                most_starts.append(pair_start)
        return sorted(sample(most_starts, wanted, rng))
    return sorted(taken_starts)


def _swap(source: Source, pair_start: int) -> Change:
    left_word, right_word = source.tokens[pair_start], source.tokens[pair_start + 1]
    pair_begin, pair_end = source.start(pair_start), source.end(pair_start + 1)
    return Change(
        pair_begin,
        pair_end,
        right_word + source.text[pair_begin + len(left_word) : pair_end - len(right_word)] + left_word,
    )


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
        homophones_of_word = homophones().get(word)
        return pick(homophones_of_word, rng) if homophones_of_word else None


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
        lower_word = word.lower()
        if lower_word in NUMBER_WORDS:
            return None
        homophones_of_word = homophones().get(word)
        if homophones_of_word and rng.random() < 0.5:
            return pick(homophones_of_word, rng)
        forms = spelt_by_sound(lower_word) or homophones_of_word
        return like(pick(forms, rng), word) if forms else None


_NUMERAL = re.compile(r"(?<![\w.,/:$€£¥₹+-])[0-9]{1,4}(?![\w%/:+-]|[.,][0-9])")


@operator("hw_number", level="word")
class HwNumber(TextEdit):
    """Writes numerals as words, 6 as six: an opt-in, because it changes what every other operator protects. Money,
    decimals, percentages and fractions stay (RoP's homophone data, arXiv 2506.03627, which loses numerals so).

    >>> [tuple(c) for c in HwNumber().changes(Source("Tom has 6 apples for $5."), 1, Random(1))]
    [(8, 9, 'six')]
    """

    changes_numbers = True
    english = True
    nothing = "no plain numeral"

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        numerals = [match for match in _NUMERAL.finditer(source.text) if source.free_word(*match.span())]
        return sorted(
            Change(match.start(), match.end(), in_words(int(match.group()))) for match in sample(numerals, wanted, rng)
        )


@operator("spelling", level="word")
class Spelling(WordEdit):
    """A common misspelling takes a word's place, never another real word (the list that nlpaug carries; Ma 2019). In
    other languages misspellings are drawn by the kinds of edits of `like:learner`, with letters and words of the
    language.

    >>> Spelling().edit("because", Random(1))
    'beacouse'
    """

    english = True
    nothing = "no word with a known misspelling"

    def serves(self, language: Language) -> bool:
        return has_word_list(language) and lists_installed()

    def require(self, language: Language) -> None:
        if has_word_list(language):
            need_lists(f"operator `{self.name}` in {language.name}")

    def edit(self, word: str, rng: Random) -> str | None:
        forms_by_word = misspellings()
        if forms := forms_by_word.get(word):
            return forms[int(rng.random() * len(forms))]
        forms = forms_by_word.get(word.lower())
        return like(pick(forms, rng), word) if forms else None

    def edit_in(self, word: str, rng: Random) -> str | None:
        language = self.language
        if language is None or not language.writes(word) or len(word) < _FEWEST:
            return None
        from llmkit.perturb.misspelt import misspeller  # with the tables of a profile that English needs none of

        return misspeller(language).misspell(word, rng)


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
        small_places = [
            token_index for token_index in range(len(tokens) - 1) if tokens[token_index].lower() in _SMALL_WORDS
        ]
        gap_spans = [
            (source.start(token_index), source.start(token_index + 1))
            for token_index in small_places
            if "\n" not in source.between(token_index)
        ]
        gap_spans = [place for place in gap_spans if source.free(*place)]
        return sorted(Change(start, end, "") for start, end in sample(gap_spans, wanted, rng))


@operator("repeat", level="word")
class Repeat(TextEdit):
    """Says a word twice, as in a slip of the pen; never a number word (duplication slips in typing, Grudin 1983).

    >>> source = Source("Tom has red apples")
    >>> [tuple(c) for c in Repeat().changes(source, 1, Random(1))]
    [(3, 3, ' Tom')]
    """

    def changes(self, source: Source, wanted: int, rng: Random) -> list[Change]:
        is_word, space = word_test(source), "" if source.unspaced else " "
        places = [
            (source.end(token_index), word)
            for token_index, word in enumerate(source.tokens)
            if is_word(word)
            and word.lower() not in NUMBER_WORDS
            and source.free(source.start(token_index), source.end(token_index))
        ]
        return sorted(Change(word_end, word_end, f"{space}{word}") for word_end, word in sample(places, wanted, rng))


_CONTRACTIONS = """is not=isn't; are not=aren't; was not=wasn't; were not=weren't; do not=don't; does not=doesn't; did
not=didn't; has not=hasn't; have not=haven't; had not=hadn't; will not=won't; would not=wouldn't; cannot=can't;
can not=can't; could not=couldn't; should not=shouldn't; must not=mustn't; I am=I'm; I have=I've; I will=I'll; he
is=he's; she is=she's; it is=it's; that is=that's; what is=what's; who is=who's; how is=how's; where is=where's; there
is=there's; here is=here's; you are=you're; we are=we're; they are=they're; you have=you've; we have=we've; they
have=they've; he will=he'll; she will=she'll; it will=it'll; you will=you'll; we will=we'll; they will=they'll; let
us=let's; who will=who'll; what will=what'll; that will=that'll; there will=there'll"""


def contractions() -> list[str]:
    """Returns the table of `contraction`: pairs as "did not=didn't"."""
    return [pair.strip() for pair in " ".join(_CONTRACTIONS.split()).split(";")]


@cache
def _contraction_pattern() -> tuple[dict[str, str], re.Pattern[str]]:
    form_pairs = [pair.split("=") for pair in contractions()]
    other_forms = {long_form.lower(): short_form for long_form, short_form in form_pairs} | {
        short_form.lower(): long_form for long_form, short_form in reversed(form_pairs)
    }
    forms = sorted(other_forms, key=len, reverse=True)
    alternatives = "|".join(map(re.escape, forms))
    return other_forms, re.compile(rf"(?<![\w'])(?:{alternatives})(?![\w'])", re.IGNORECASE)


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
        other_forms, pattern = _contraction_pattern()
        matches = [match for match in pattern.finditer(source.text.replace("’", "'")) if source.free(*match.span())]
        chosen_matches = sample(matches, wanted, rng)
        return sorted(
            Change(match.start(), match.end(), like(other_forms[match.group().lower()], match.group()))
            for match in chosen_matches
        )
