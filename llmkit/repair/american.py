"""American spellings of British words: the frequency dictionary has most such words in the British form only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_RULES = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"(met|lit|cent|eat|fib|lib|sab|ect|eag|^somb|ust)re(s?)$", r"\1er\2"),
        (r"^centre(piece|pieces)$", r"center\1"), (r"^centred", "centered"), (r"^centring", "centering"),
        (r"^moult", "molt"), (r"^dialling", "dialing"), (r"whisky", "whiskey"),
        (r"lys(e|ed|er|ers|ing)$", r"lyz\1"), (r"([hkl]|^an)aem", r"\1em"), (r"aeo([ln])", r"eo\1"),
        (r"paed", "ped"), (r"naec", "nec"), (r"naesth", "nesth"), (r"faec", "fec"),
        (r"rrhoe", "rrhe"), (r"^oe(s|dem)", r"e\1"),
        (r"foet", "fet"), (r"(off|def|ret)ence", r"\1ense"), (r"practis(e|ed|ing)$", r"practic\1"),
        (r"(al|ol)ogue(s?)$", r"\1og\2"), (r"aluminium", "aluminum"),
        (r"^(enrol|instal|skil|fulfil|wil)(ment|ful)", r"\1l\2"),
        (r"^moust", "must"), (r"^pyj", "paj"), (r"^plough", "plow"), (r"^mould", "mold"), (r"^sceptic", "skeptic"),
        (r"jewellery", "jewelry"), (r"woollen", "woolen"), (r"marvellous", "marvelous"),
        (r"^specialit(y|ies)", r"specialt\1"), (r"glycerine", "glycerin"), (r"artefact", "artifact"),
        (r"sulph", "sulf"),
    )
]  # fmt: skip
_LOOSE = [
    (re.compile(pattern), new)
    for pattern, new in ((r"our(?!t|n|c|se|ie|ge|k)", "or"), (r"([a-z]{4}|fue)ll(e[dr]|ing|ers)$", r"\1l\2"))
]
_MORE_COMMON = 2  # times; most English text of the web is American
_PARTS = ("multi", "dis", "un", "water", "mis", "re")


def american(word: str, pronounced: Collection[str]) -> str:
    """Returns the American spelling of a word in lower case; the word itself where it has no other. Of the rules that
    fit other words, too (-our, -lled), only results count that an American dictionary has.

    >>> words = {"favorite", "traveled"}
    >>> [american(word, words) for word in ("favourite", "travelled", "kilometres", "rolling", "hour")]
    ['favorite', 'traveled', 'kilometers', 'rolling', 'hour']
    """
    for pattern, new in _RULES:
        spelt = pattern.sub(new, word)
        if spelt != word:
            return spelt
    if len(word) > 4:
        for pattern, new in _LOOSE:
            spelt = pattern.sub(new, word)
            if spelt != word and any(spelt.removeprefix(part) in pronounced for part in ("", *_PARTS)):
                return spelt
    return word


def with_american(counts: Mapping[str, int], pronounced: Collection[str]) -> dict[str, int]:
    """Returns the dictionary with the American spellings that it lacks, more frequent than the British ones."""
    more: dict[str, int] = {}
    for word, count in counts.items():
        if (spelt := american(word, pronounced)) not in counts:
            more[spelt] = max(_MORE_COMMON * count, more.get(spelt, 0))
    return {**counts, **more}
