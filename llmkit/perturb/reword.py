"""Other words in the same sentences: texts that no model can correct from memory."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.wordbook import common_words, misspellings, real_words

# Lower case: names, sentence beginnings and units such as km/h keep what they are.
_WORD = re.compile(r"(?<![\w/$'’-])[a-z]{3,}(?![\w/'’-])")
_UNFIT = re.compile("sex|porn|fuck|bitch")


def reword(text: str, share: float, rng: Random) -> str:
    """Exchanges about `share` of a text's words in lower case, of three letters or more, for other words.

    It is no operator: the meaning is lost. It makes material for learning to correct, where the noisy text and the
    clean one share the new words, so that only the letters identify each word. Number words stay.
    """

    def other(match: re.Match[str]) -> str:
        word = match.group()
        if word in NUMBER_WORDS or rng.random() >= share:
            return word
        return rng.choice(_words())

    return _WORD.sub(other, text)


@cache
def _words() -> tuple[str, ...]:
    """Returns about five thousand common words of three letters or more that people are known to misspell."""
    known_words = real_words().intersection(common_words(2_000_000)) - NUMBER_WORDS
    return tuple(
        sorted(
            misspelt
            for misspelt in misspellings()
            if misspelt in known_words and len(misspelt) > 2 and not _UNFIT.search(misspelt)
        )
    )
