"""`spell` and `spell_in_context`: English words by a noisy channel, without a model and with one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from llmkit.perturb.languages import ENGLISH, Language
from llmkit.perturb.text import Change, apply
from llmkit.perturb.word_lists import has_word_list, need_lists
from llmkit.prompts import render
from llmkit.repair.base import Corrector, CorrectorContext, Proposal, corrector
from llmkit.types import Message, Reply, Request, Role, Sampling, Steps

if TYPE_CHECKING:
    from llmkit.repair.spelling import DoubtedWord

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


@corrector("spell")
class Spell(Corrector):
    """Repairs unknown words by a noisy channel, their frequency and, in English, their neighbours, without a model. In
    another language, where one is given, the word list of that language (extra `lang`) takes the place of the English
    one."""

    english = True

    def __init__(self, context: CorrectorContext | None = None) -> None:
        super().__init__(context)
        if self.context.lang not in ("", ENGLISH.code):
            need_lists(f"corrector `{self.name}` in other languages than English")

    def propose(self, text: str) -> Steps:
        from llmkit.repair.spelling import spell  # with numpy, which a repair need not wait for as it is loaded

        return Proposal(spell(text))
        yield

    def propose_in(self, text: str, language: Language) -> Steps:
        if not has_word_list(language):
            return (yield from super().propose_in(text, language))
        from llmkit.repair.list_spelling import spell_in

        return Proposal(spell_in(text, language))


@corrector("spell_in_context")
class SpellInContext(Corrector):
    """Repairs the words that `spell` repairs. Where several may be meant, the model that answers says which of them
    fits the sentence: its log-probability takes the place of the word's frequency."""

    cost = "one call of no output for each word that may be meant, where several are"
    asks = True
    scores = True
    english = True
    role: ClassVar[Role] = "answerer"

    def propose(self, text: str) -> Steps:
        from llmkit.repair.spelling import misspelt_words

        words = misspelt_words(text)
        open_words = [word for word in words if len(word.meant) > 1]
        best = {word.start: word.best for word in words}
        if open_words:
            sentences = [one for word in open_words for one in _sentences(text, words, word)]
            replies: Sequence[Reply] = yield [self._score(sentence) for sentence in sentences]
            scores = iter([sum(reply.logprobs or ()) for reply in replies])
            for word in open_words:
                fits = {meant.word: meant.typed + next(scores) for meant in word.meant}
                best[word.start] = max(fits, key=lambda meant: fits[meant])
        return Proposal(apply(text, [Change(word.start, word.end, best[word.start]) for word in words])[0])

    def _score(self, sentence: str) -> Request:
        messages = (Message("user", render("repair/surprise-v1")),)
        return Request(messages, Sampling(), "correct", self.role, continuation=sentence)


def _sentences(text: str, words: Sequence[DoubtedWord], open_word: DoubtedWord) -> list[str]:
    """Returns the sentence around a misspelt word with each word that may be meant, the others of it corrected."""
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    start = max(end for end in ends if end <= open_word.start)
    end = min(end for end in ends if end >= open_word.end)
    sentences = []
    for meant in open_word.meant:
        changes = [
            Change(word.start - start, word.end - start, meant.word if word is open_word else word.best)
            for word in words
            if start <= word.start and word.end <= end
        ]
        sentences.append(apply(text[start:end].rstrip(), changes)[0])
    return sentences
