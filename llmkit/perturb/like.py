"""`like:PROFILE`: noise as the people of a profile make it."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import log
from random import Random

from llmkit.perturb.base import Operator, letters_in, like, operator, weighted
from llmkit.perturb.numerals import JOINTS, NUMBER_WORDS
from llmkit.perturb.profile import Profile, load
from llmkit.perturb.text import PlainChange, Source

_MARKS = frozenset(".,;:!?")
_LEAST_LETTERS = 2
_MOST_REPEATS = 16
_MOST_TOKENS = 1 << 16  # that are remembered


LettersOf = Callable[[str], tuple[str, int]]


def drawn_order(weights: Sequence[float], rng: Random) -> Iterator[int]:
    """Yields each place with a weight above 0 once, drawn by weight from those that remain.

    >>> sorted(drawn_order([0.5, 0.0, 2.0], Random(1)))
    [0, 2]
    """
    sums = list(accumulate(weights))
    if not sums or not sums[-1]:
        return
    drawn: set[int] = set()
    repeats = 0
    while repeats < _MOST_REPEATS:
        place = bisect(sums, rng.random() * sums[-1])
        if place in drawn:
            repeats += 1
        else:
            drawn.add(place)
            yield place
    # Most of the weight is drawn: the rest in the order of exponential times, each at its own rate.
    remaining = [place for place, weight in enumerate(weights) if weight and place not in drawn]
    times = {place: -log(1.0 - rng.random()) / weights[place] for place in remaining}
    yield from sorted(remaining, key=times.__getitem__)


@operator("like", level="word")
class Like(Operator):
    """Errors as people make them, drawn from a profile: `like:learner`, or a file that `llmkit noise fit` wrote from
    text of your own users. Longer words are misspelt more often, and words are also joined, cut, or lose a capital, an
    apostrophe or a mark, each as often as in the profile (noisy channel, Kernighan et al. 1990; Brill and Moore 2000).

    `--rate fitted` makes as many errors as the people did, and as unevenly: many texts have none. `x2` is twice that.

    >>> Like("learner").changes(Source("They believe it"), 1, Random(4))
    [(5, 12, 'beleive')]
    """

    argument = "learner"
    nothing = "no word that can be misspelt"
    fitted = True

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.profile: Profile = load(str(argument))
        self.english = self.profile.lang == "en"
        self._known: defaultdict[LettersOf, dict[str, float]] = defaultdict(dict)  # weights of tokens

    def wanted_as_fitted(self, source: Source, factor: float, rng: Random) -> int:
        if self.profile.rate is None:  # only misspellings were seen: there is no rate to repeat
            return self.wanted(source, min(1.0, self.default_rate * factor))
        # A text of long words has more errors than one of short words.
        return self.profile.wanted(source.words, factor * sum(self._weights(source)) / max(1, source.words), rng)

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        if not wanted:
            return ()
        tokens, letters_of_token, protected_spans = source.tokens, letters_in(source), source.spans
        offsets, gap_per_word = source.offsets, source.gap
        other_errors = self.profile.other or self.profile.confusions
        changes: list[PlainChange] = []
        for index in drawn_order(self._weights(source), rng):
            token = tokens[index]
            word, offset = letters_of_token(token)
            start = offsets[index] + index * gap_per_word + offset
            if (protected_spans or word in JOINTS) and not source.free_letters(word, start, start + len(word)):
                continue
            if other_errors:
                change = self._error(source, index, word, offset, rng)
            elif typed := self._misspelt(source, word, rng):
                change = start, start + len(word), typed
            else:
                continue
            if change is not None:
                changes.append(change)
                if len(changes) >= wanted:
                    break
        changes.sort()
        return changes

    def _weights(self, source: Source) -> list[float]:
        """Returns for each token the sum of the rates of the errors that it has room for."""
        letters_of_token = letters_in(source)
        known = self._known[letters_of_token]
        weights: list[float] = list(map(known.get, source.tokens))  # type: ignore[arg-type]
        if None in weights:
            weights = [self._weight(token, letters_of_token, known) for token in source.tokens]
        return weights

    def _weight(self, token: str, letters_of_token: LettersOf, known: dict[str, float]) -> float:
        """Returns the weight of one token, and remembers it."""
        weight = known.get(token)
        if weight is None:
            word, _ = letters_of_token(token)
            if len(known) >= _MOST_TOKENS:
                known.clear()
            known[token] = weight = sum(self._rates(token, word).values()) if word else 0.0
        return weight

    def _error(self, source: Source, index: int, word: str, offset: int, rng: Random) -> PlainChange | None:
        """Draws one of the errors that a token has room for; None where none of them can be made."""
        rates = self._rates(source.tokens[index], word)
        while rates:
            error = weighted(rates, rng) if len(rates) > 1 else next(iter(rates))
            change = self._change(source, index, error, word, offset, rng)
            if change is not None:
                return change
            rates = {other: rate for other, rate in rates.items() if other != error}
        return None

    def _rates(self, token: str, word: str) -> dict[str, float]:
        profile, other = self.profile, self.profile.other
        rates: dict[str, float] = {}
        if len(word) >= _LEAST_LETTERS and (word.islower() or word.isupper() or word[1:].islower()):
            rates["word"] = profile.length_rate(len(word)) or 1e-6
        if not other and not profile.confusions:
            return rates
        if "caps" in other and token[0].isupper() and token == word:
            rates["caps"] = other["caps"]
        if "apos" in other and ("'" in token[1:-1] or "’" in token[1:-1]):
            rates["apos"] = other["apos"]
        if "punc" in other and token[-1] in _MARKS and len(token) == len(word) + 1:
            rates["punc"] = other["punc"]
        if "cut" in other and len(word) > 3:
            rates["cut"] = other["cut"]
        if "join" in other and token == word:
            rates["join"] = other["join"]
        if confusions := profile.confusions.get(word.lower()):
            rates["real"] = sum(confusions.values())
        return rates

    def _change(
        self, source: Source, index: int, error: str, word: str, offset: int, rng: Random
    ) -> PlainChange | None:
        token, token_start = source.tokens[index], source.offsets[index] + index * source.gap
        start = token_start + offset
        end = start + len(word)
        if error in ("word", "real"):
            typed = self._misspelt(source, word, rng, error == "real")
            return (start, end, typed) if typed else None
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

    def _misspelt(self, source: Source, word: str, rng: Random, is_real: bool = False) -> str | None:
        """Draws what is typed for a word, in its case: a misspelling or another real word, and never a number word."""
        lower_word = word.lower()
        for _ in range(8):
            if is_real:
                typed: str | None = weighted(self.profile.confusions[lower_word], rng)
            else:
                typed = self.profile.misspell(lower_word, rng)
            if typed and (typed not in NUMBER_WORDS or not (source.numbers and source.number_words)):
                return like(typed, word)
        return None

    def _joined(self, source: Source, index: int) -> PlainChange | None:
        """Returns the change that leaves out the space behind a word; None where the next is no plain word."""
        if index + 1 == len(source.tokens):
            return None
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
