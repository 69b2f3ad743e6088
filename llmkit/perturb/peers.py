"""nlpaug's augmenters as operators: on single words under our seeds, or as they are."""

from __future__ import annotations

import ast
import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from random import Random
from typing import Any

from llmkit.errors import UsageError
from llmkit.extras import need
from llmkit.perturb.base import TextEdit, WordEdit, operator
from llmkit.perturb.languages import LATIN
from llmkit.perturb.numerals import NUMBER_WORDS
from llmkit.perturb.pairs import differences
from llmkit.perturb.text import Change, PlainChange, Source
from llmkit.registry import unknown

_CLASSES = {
    "char": "KeyboardAug OcrAug RandomCharAug",
    "word": "AntonymAug BackTranslationAug ContextualWordEmbsAug RandomWordAug ReservedAug SpellingAug SplitAug "
    "SynonymAug TfIdfAug WordEmbsAug",
    "sentence": "AbstSummAug ContextualWordEmbsForSentenceAug LambadaAug RandomSentAug",
}
_BY_MODEL = (
    "AbstSummAug",
    "BackTranslationAug",
    "ContextualWordEmbsAug",
    "ContextualWordEmbsForSentenceAug",
    "LambadaAug",
)
_ENGLISH = ("AntonymAug", "SpellingAug", "SynonymAug")  # their own word lists are


def augmenter(spec: str) -> Any:
    """Creates an nlpaug augmenter from `Name` or `Name(option=value,...)`; upper case and the ending "Aug" may be left
    out.

    Raises UsageError for an unknown name, and where the augmenter lacks data or refuses an option.
    """
    name, _, options = spec.removesuffix(")").partition("(")
    known_augmenters = {
        full_name.lower().removesuffix("aug"): (kind, full_name)
        for kind, names in _CLASSES.items()
        for full_name in names.split()
    }
    if (short_name := name.strip().lower().removesuffix("aug")) not in known_augmenters:
        raise unknown("nlpaug augmenter", name, " ".join(_CLASSES.values()).split())
    kind, class_name = known_augmenters[short_name]
    if class_name in _BY_MODEL:
        need("torch", "transformers", extra="hf", what=f"nlpaug's {class_name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nlpaug_augmenter = getattr(import_module(f"nlpaug.augmenter.{kind}"), class_name)(**_options(options))
    except Exception as error:  # whatever a class of another package does with options or missing data
        raise UsageError(
            f"nlpaug's {class_name} cannot be created: {error}", "see its documentation for options"
        ) from None
    word_table = getattr(getattr(nlpaug_augmenter, "model", None), "dict", None)
    if isinstance(word_table, dict):  # its order follows the hash seed of the process
        word_table.update({word: sorted(forms) for word, forms in word_table.items()})
    return nlpaug_augmenter


def _options(option_list: str) -> dict[str, Any]:
    options = {}
    for option_text in filter(None, (piece.strip() for piece in option_list.split(","))):
        name, _, value = option_text.partition("=")
        try:
            options[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[name.strip()] = value.strip()
    return options


@contextmanager
def own_randomness(rng: Random) -> Iterator[None]:
    """Seeds Python's and numpy's global generators, which nlpaug draws from, and restores them after the block."""
    import numpy as np

    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(rng.getrandbits(32))
        np.random.seed(rng.getrandbits(32))
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _text(augmented: Any) -> str | None:
    """Extracts the text from an augmenter's result: a list in newer versions, empty if the input was skipped."""
    augmented = augmented[0] if isinstance(augmented, list) and augmented else augmented
    return augmented if isinstance(augmented, str) and augmented.strip() else None


@operator("nlpaug", level="character")
class Nlpaug(WordEdit):
    """Any nlpaug augmenter, on single unprotected words under llmkit's seeds, so that numbers and spaces survive:
    `nlpaug:keyboard`, `nlpaug:RandomChar(action=swap)` (nlpaug, Ma 2019).
    """

    scripts = LATIN
    argument = "keyboard"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.augmenter = augmenter(str(argument))
        self.english = type(self.augmenter).__name__ in _ENGLISH

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[PlainChange]:
        with own_randomness(rng):
            return super().changes(source, wanted, rng)

    def edit(self, word: str, rng: Random) -> str | None:
        if word.lower() in NUMBER_WORDS:
            return None
        new_word = _text(self.augmenter.augment(word))
        return None if new_word is None or any(character.isdecimal() for character in new_word) else new_word


@operator("nlpaug-verbatim", level="file")
class NlpaugVerbatim(TextEdit):
    """An nlpaug augmenter on the whole text as it is, to reproduce published numbers. Its tokenizer spaces out decimals
    and punctuation and its tables change digits, so nothing is protected, and the rate is the augmenter's own
    (nlpaug, Ma 2019).
    """

    argument = "keyboard"
    protects = False
    changes_numbers = True
    nothing = "nlpaug changed nothing"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.augmenter = augmenter(str(argument))
        logging.getLogger(__name__).warning(
            "nlpaug-verbatim:%s changes digits and decimals (7.5 becomes 7. 5): answers may no longer be right",
            argument,
        )

    def wanted(self, source: Source, rate: float) -> int:
        return 1

    def changes(self, source: Source, wanted: int, rng: Random) -> Sequence[Change]:
        with own_randomness(rng):
            new_text = _text(self.augmenter.augment(source.text))
        return [] if new_text is None else differences(source.text, new_text)
