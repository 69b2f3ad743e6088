"""`like:PROFILE`: noise as the people of a profile make it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from llmkit.perturb.base import Operator, letters_in, like, operator, weighted
from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.profile import Profile, load
from llmkit.perturb.text import PlainChange, Source

_MARKS = frozenset(".,;:!?")
_LEAST_LETTERS = 2


@operator("like", level="word")
class Like(Operator):
    """Errors as people make them, drawn from a profile: `like:learner`, or a file that `llmkit noise fit` wrote from
    text of your own users. Longer words are misspelt more often, and words are also joined, cut, or lose a capital, an
    apostrophe or a mark, each as often as in the profile (noisy channel, Kernighan et al. 1990; Brill and Moore 2000).

    `--rate fitted` makes as many errors as the people did, and as unevenly: many texts have none. `x2` is twice that.
    """

    argument = "learner"
    nothing = "no word that can be misspelt"
    fitted = True

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.profile: Profile = load(str(argument))
        self.english = self.profile.lang == "en"

    def wanted_as_fitted(self, source: Source, factor: float, rng: Random) -> int:
        if self.profile.rate is None:  # only misspellings were seen: there is no rate to repeat
            return self.wanted(source, min(1.0, self.default_rate * factor))
        return self.profile.wanted(source.words, factor, rng)

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        letters_of_token, tokens = letters_in(source), source.tokens
        keyed: list[tuple[float, int, dict[str, float]]] = []
        for index, token in enumerate(tokens):
            word, offset = letters_of_token(token)
            start = source.start(index) + offset
            if not word or not source.free_letters(word, start, start + len(word)):
                continue
            hazards = self._hazards(source, index, word, letters_of_token)
            if total := sum(hazards.values()):
                # The smallest of exponential times, each at its own rate: weighted sampling without replacement.
                keyed.append((-math.log(1.0 - rng.random()) / total, index, hazards))
        keyed.sort(key=lambda item: item[:2])
        changes: dict[int, PlainChange] = {}
        for _, index, hazards in keyed:
            if len(changes) >= wanted:
                break
            while hazards:
                error = weighted(hazards, rng)
                change = self._change(source, index, error, letters_of_token(tokens[index]), rng)
                if change is not None:
                    changes[index] = change
                    break
                del hazards[error]
        return sorted(changes.values())

    def _hazards(self, source: Source, index: int, word: str, letters_of_token: object) -> dict[str, float]:
        """Returns the rates of the errors that this token has room for."""
        profile, token = self.profile, source.tokens[index]
        hazards: dict[str, float] = {}
        if len(word) >= _LEAST_LETTERS and (word.islower() or word.isupper() or word[1:].islower()):
            hazards["word"] = profile.length_rate(len(word)) or 1e-6
        other = profile.other
        if other:
            if "caps" in other and token[0].isupper() and token == word:
                hazards["caps"] = other["caps"]
            if "apos" in other and ("'" in token[1:-1] or "’" in token[1:-1]):
                hazards["apos"] = other["apos"]
            if "punc" in other and token[-1] in _MARKS and len(token) == len(word) + 1:
                hazards["punc"] = other["punc"]
            if "cut" in other and len(word) > 3:
                hazards["cut"] = other["cut"]
            if "join" in other and token == word and index + 1 < len(source.tokens):
                hazards["join"] = other["join"]
        if confusions := profile.confusions.get(word.lower()):
            hazards["real"] = sum(confusions.values())
        return hazards

    def _change(
        self, source: Source, index: int, error: str, letters: tuple[str, int], rng: Random
    ) -> PlainChange | None:
        word, offset = letters
        token, token_start = source.tokens[index], source.start(index)
        start, end = token_start + offset, token_start + offset + len(word)
        if error in ("word", "real"):
            confusions = self.profile.confusions.get(word.lower(), {})
            for _ in range(8):
                typed = weighted(confusions, rng) if error == "real" else self.profile.misspell(word.lower(), rng)
                if typed and not (source.numbers and source.number_words and typed in NUMBER_WORDS):
                    return start, end, like(typed, word)
            return None
        if error == "caps":
            return start, start + 1, source.text[start].lower()
        if error == "apos":
            place = token_start + max(token.find("'", 1), token.find("’", 1))
            return (place, place + 1, "") if source.free_word(token_start, source.end(index)) else None
        if error == "punc":
            return (end, end + 1, "") if source.free(end, end + 1) else None
        if error == "cut":
            cuts = [i for i in range(1, len(word)) if self._is_word(word[:i]) and self._is_word(word[i:])]
            if not cuts:
                return None
            place = start + cuts[int(rng.random() * len(cuts))]
            return place, place, " "
        return self._joined(source, index)

    def _joined(self, source: Source, index: int) -> PlainChange | None:
        """Returns the change that leaves out the space behind a word; None where the next is no plain word."""
        gap_start, gap_end, following = source.end(index), source.start(index + 1), source.tokens[index + 1]
        word, offset = letters_in(source)(following)
        if not word or offset or source.between(index) != " " or not source.free_word(gap_start - 1, gap_end + 1):
            return None
        joined = source.tokens[index] + word
        return None if joined.lower() in NUMBER_WORDS else (gap_start, gap_end, "")

    def _is_word(self, letters: str) -> bool:
        lower_letters = letters.lower()
        if lower_letters in NUMBER_WORDS:
            return False
        return lower_letters in self.profile.real_words and (len(letters) > 1 or lower_letters == "a")
