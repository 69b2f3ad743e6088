"""What a reply is worth beside the row that it answers: its words as the row spells them, whether it gives anything of
its own, and which kinds of fact the row asks for."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice

from llmkit.tasks import fact_words as lists
from llmkit.tasks import numerals
from llmkit.tasks.facts import Fact, Facts, facts, stem
from llmkit.tasks.reply_form import STOP, tokens

MORE = 3
"""Content words that the row lacks: they make an answer, beside a reply that only says the row again."""

# --- spelling -----------------------------------------------------------------------------------------------------

_SHORTEST, _LONGEST = 4, 30  # letters of a word that is looked at for misspellings
_NAME, _UNLIKE = 5, 7  # letters of a name, and of another word, that may have one letter of its own
_SPELT = re.compile(rf"[^\W\d_]{{{_SHORTEST},{_LONGEST}}}+")
_AS_THEY_ARE = STOP | lists.MONTHS.keys() | lists.DAYS | lists.UNITS.keys() | lists.CURRENCIES.keys()


def respelt(text: str, asked: str) -> str:
    """Returns a reply with the words that it misspells, as noise does that it copied, as the row has them.

    A word is one of the row's if it has the same letters in another order or, of a long one, all but one. Words that
    the row has in any form, function words, numbers and dates are read as they are.

    >>> respelt("The mteineg in Poeto is on 2 Jnue.", "The meeting in Porto is on 2 June.")
    'The meeting in Porto is on 2 June.'
    """
    if not asked:
        return text
    exact, close, stems = _spellings(asked)

    def word(match: re.Match[str]) -> str:
        folded = match[0].casefold()
        if folded in _AS_THEY_ARE or stem(folded) in stems or any(numerals.find(folded)):
            return match[0]
        letters = "".join(sorted(folded))
        if written := exact.get(letters):
            return written
        if len(folded) < (_NAME if match[0][0].isupper() else _UNLIKE):
            return match[0]
        near = {close.get(some, "") for some in _but_one(letters)} - {""}
        return near.pop() if len(near) == 1 else match[0]

    return _SPELT.sub(word, text)


@lru_cache(maxsize=64)
def _spellings(asked: str) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Returns the words of a row by their letters, and by all of these but one ("" where several words have them), and
    the stems of all."""
    exact: dict[str, str] = {}
    close: dict[str, str] = {}
    for folded, written in {match[0].casefold(): match[0] for match in _SPELT.finditer(asked)}.items():
        letters = "".join(sorted(folded))
        exact[letters] = written if exact.get(letters, written) == written else ""
        for some in _but_one(letters):
            close[some] = written if close.get(some, written) == written else ""
    return exact, close, frozenset(stem(word) for _, word in tokens(asked))


def _but_one(letters: str) -> set[str]:
    """Returns letters as they are, and without each one of them."""
    return {letters, *(letters[:place] + letters[place + 1 :] for place in range(len(letters)))}


def misspelt(words: frozenset[str], known: Facts) -> frozenset[str]:
    """Returns the words that have the letters of one of the row's, up to one letter, and are none of these."""
    if not words:
        return words
    real = {letters for word in known.words for letters in _letters(word)}
    return frozenset(word for word in words - known.words if not real.isdisjoint(_letters(word)))


def _letters(word: str) -> set[str]:
    letters = "".join(sorted(word[:_LONGEST]))
    if len(letters) <= _SHORTEST:
        return {letters} if len(letters) == _SHORTEST else set()
    return _but_one(letters)


# --- what a reply gives --------------------------------------------------------------------------------------------

_STRAY = 0.25  # of a reply's words: misspelt ones that cannot be told from words of its own
_MOST = 0.6  # of the words of a row: a reply that has them and none of its own says it again
_ROLE = re.compile(
    r"(?:^\W{0,9}|[,.]\s(?:but\s)?)(?:you(?:['’]re|\sare)|i(?:['’]m|\sam)|as)\san?\s"
    r"(?:[\w-]{1,20}\s){0,3}(?:ai|chatbot|assistant|language\smodel)\b",
    re.IGNORECASE,
)
_BEGINNING = 80  # characters in which a reply says who it is
_READ = 100  # words: a longer text repeats its words anyway
_LEAST = 8  # words: fewer are no repetition
_BABBLE = 0.4  # of them are different ones in a reply that says the same over and over
_BARE = frozenset({"yes", "no", "true", "false"})


def has(known: Facts, fact: Fact) -> bool:
    """Returns whether a text gives a fact."""
    return any(fact.agrees(twin) for twin in known.said)


def own(reply: Facts, known: Facts) -> frozenset[str]:
    """Returns the content words of a reply that the row lacks, also misspelt."""
    words = reply.words - known.words
    return words - misspelt(words, known)


def rambles(text: str, reply: Facts, known: Facts) -> bool:
    """Returns whether a reply has no fact of its own, and says who it is or the same over and over."""
    if reply.label in _BARE or any(not has(known, fact) for fact in reply.said):
        return False
    words = [word for _, word in islice(tokens(text), _READ)]
    babble = len(words) >= _LEAST and len(set(words)) <= _BABBLE * len(words)
    return babble or _ROLE.search(text[:_BEGINNING]) is not None


def gives(reply: Facts, known: Facts) -> bool:
    """Returns whether a reply clearly gives something of its own, or some of the row's facts."""
    if len(own(reply, known)) >= MORE or _new_label(reply, known) or any(not has(known, fact) for fact in reply.said):
        return True
    return bool(reply.said) and not _echoes(reply, known)


def repeats(reply: Facts, other: Facts, known: Facts) -> bool:
    """Returns whether a reply only says the row again, beside one that says more."""
    more = len(own(other, known)) >= max(MORE, _MOST * len(other.words))
    return _echoes(reply, known) and more and not _new_label(reply, known) and not _new_label(other, known)


def _echoes(reply: Facts, known: Facts) -> bool:
    """Returns whether a reply says the row again, and next to nothing else."""
    again = len(reply.words & known.words) >= _MOST * len(known.words) > 0
    return again and len(own(reply, known)) <= _STRAY * len(reply.words)


def _new_label(reply: Facts, known: Facts) -> bool:
    return bool(reply.label) and not reply.words & {stem(word) for word in (reply.label or "").split()} <= known.words


# --- what a row asks for -------------------------------------------------------------------------------------------

_LONGEST_QUESTION = 300  # characters
_ASKED = (
    (re.compile(r"\bhow\smuch\b|\bwhat\s(?:\w+\s){0,3}(?:cost|price|fee)\b", re.IGNORECASE), ("amount",)),
    (re.compile(r"\bhow\s(?:many|long|far|old|big|tall|heavy|often)\b", re.IGNORECASE), ("number",)),
    (re.compile(r"\bwhen\b|\b(?:what|which)\s(?:day|date|time)\b", re.IGNORECASE), ("date", "time")),
    (re.compile(r"\bwhere\b", re.IGNORECASE), ("url",)),
)
_MESSAGE = re.compile(r"\b(?:i|my|me|we|our)\b", re.IGNORECASE)  # whoever asks tells facts of their own, no answer
_YEARS = range(1500, 2100)


def asked_for(asked: str) -> tuple[str, ...]:
    """Returns the kinds of fact that the question at the end of a passage asks for, and that the passage has: the other
    facts in it are about something else. Nothing for a row that is a message of somebody's.

    >>> asked_for("It opens at 9:30 and costs 5 euros. How much is a ticket?")
    ('amount',)
    """
    asked = asked.rstrip()
    start = max(asked.rfind(end, 0, -1) for end in ".!?\n") + 1
    question = asked[start:][:_LONGEST_QUESTION]
    wanted = next((kinds for pattern, kinds in _ASKED if pattern.search(question)), ())
    if not wanted or asked[-1:] != "?" or _MESSAGE.search(asked, 0, start):
        return ()
    given = {fact.kind for fact in facts(asked[:start]).said}
    return tuple(kind for kind in wanted if kind in given)


def answers_of(reply: Facts, kinds: tuple[str, ...]) -> set[str]:
    """Returns the values of these kinds in a reply; a year is no count."""
    return {
        fact.value
        for fact in reply.said
        if fact.kind in kinds and not (fact.kind == "number" and not fact.details[0] and _is_year(fact.value))
    }


def _is_year(value: str) -> bool:
    return value.isdigit() and int(value) in _YEARS
