"""Unknown words that are regular: made of known words by the rules of English, such as "overbaked" and "cupholder"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_PREFIXES = ("un", "re", "non", "over", "under", "out", "pre", "anti", "sub", "super", "mis", "inter", "multi", "semi",
             "micro", "mini", "bio", "geo", "hydro", "electro", "photo", "thermo", "post", "counter", "co")  # fmt: skip
_SUFFIXES = ("ness", "less", "like", "ish", "ful", "ly", "wise", "ship", "hood", "proof", "able", "free")
_VOWELS = frozenset("aeiou")
_COMMON = 3_000_000  # the count of a word that makes compounds
_KNOWN = 10_000  # and of one that has forms


def is_regular(word: str, counts: Mapping[str, int]) -> bool:
    """Returns whether a word in lower case is a plausible form, derivation or compound of words of the dictionary.

    >>> from llmkit.perturb.wordbook import common_words
    >>> words = "cupholder", "unsweet", "becomeing", "studyed"
    >>> [word for word in words if is_regular(word, common_words(1))]
    ['cupholder', 'unsweet']
    """

    def known(part: str, least: int = _KNOWN) -> bool:
        return len(part) > 2 and counts.get(part, 0) >= least

    if any(known(base) for base in _bases(word)):
        return True
    for prefix in _PREFIXES:
        rest = word.removeprefix(prefix)
        if rest != word and len(rest) > 3 and (known(rest) or any(known(base) for base in _bases(rest))):
            return True
    return any(known(word[:cut], _COMMON) and known(word[cut:], _COMMON) for cut in range(3, len(word) - 2))


def _bases(word: str) -> Iterator[str]:
    """Yields the words of which a word may be a regular form; none where the form would be spelt otherwise."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix):
            yield word[: -len(suffix)]
    if word.endswith("s") and not word.endswith("ss"):
        base = word[:-1]
        if base.endswith("ie"):
            yield base[:-2] + "y"
        elif base.endswith("e") and base[:-1].endswith(("s", "x", "z", "ch", "sh")):
            yield base[:-1]
            yield base
        elif not base.endswith(("s", "x", "z", "ch", "sh")) and not _ends_in_y(base):
            yield base
    for suffix in ("ed", "er", "ers", "ing", "ings", "est"):
        base = word.removesuffix(suffix)
        if base == word or len(base) < 3:
            continue
        if base[-1] == base[-2] and base[-1] not in "ls":
            yield base[:-1]  # stop, stopped
        elif suffix != "ing" and base.endswith("i"):
            yield base[:-1] + "y"
        else:
            yield base + "e"
            if not base.endswith("e") and not _doubles(base) and not (_ends_in_y(base) and suffix != "ing"):
                yield base


def _ends_in_y(word: str) -> bool:
    return word.endswith("y") and word[-2:-1] not in _VOWELS


def _doubles(base: str) -> bool:
    """Returns whether a short word doubles its last letter before a vowel, as "stop" does."""
    vowels = sum(letter in _VOWELS for letter in base)
    return vowels == 1 and base[-1] not in "wxyaeiou" and base[-2] in _VOWELS
