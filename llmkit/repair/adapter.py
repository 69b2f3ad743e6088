"""`adapter`: a small model that was trained to choose, in context, among the spellings of the words in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmkit.perturb.text import Change, Source, apply
from llmkit.prompts import render
from llmkit.repair.base import Corrector, Proposal, corrector
from llmkit.repair.guard import protected
from llmkit.types import Edit, Reply, Steps

if TYPE_CHECKING:
    from llmkit.repair.spelling import DoubtedWord

_LEAST = 0.05  # probability of being misspelt; below it the word is most likely right as it is, such as a name
_SURE = 0.95  # posterior from which the likeliest spelling is taken without a question
_CANDIDATES = 4  # spellings that are shown for each word
_MOST = 24  # words of one request: their lines fit the token limit of a correction
_LONGEST = 2_000  # characters between the first of them and the last
_MARGIN = 800  # characters of the text that are shown before the first and after the last

_LINE = re.compile(r"\s*(\S+?):\s*(\S+)\s*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def _doubted_words(text: str) -> list[DoubtedWord]:
    from llmkit.repair.spelling import doubted_words  # with numpy: not before a text needs it

    return list(doubted_words(text))


def words_in_doubt(text: str) -> list[DoubtedWord]:
    """Returns the words that may change, the only ones: those that are asked for, and the others that are sure."""
    doubts = [word for word in _doubted_words(text) if word.misspelt > _LEAST]
    source = Source(text, protected(text) if doubts else ())
    return [word for word in doubts if source.free(word.start, word.end)]


def is_sure(word: DoubtedWord) -> bool:
    """Returns whether a word is corrected without being asked for."""
    return word.posterior > _SURE


def words_prompt(text: str, doubts: Sequence[DoubtedWord]) -> str:
    """Returns the prompt that asks for the words in doubt: the only place that words it, for training and for asking.

    Sure words are shown corrected. Of a long text it shows what is around the words.
    """
    offset, end = max(0, doubts[0].start - _MARGIN), doubts[-1].end + _MARGIN
    marked = ""
    for word in doubts:
        spellings = ", ".join(word.candidates[:_CANDIDATES])
        wording = word.best if is_sure(word) else f"[{text[word.start : word.end]}: {spellings}]"
        marked += text[offset : word.start] + wording
        offset = word.end
    return render("repair/words-v1", text=marked + text[offset:end])


def words_answer(text: str, doubts: Sequence[DoubtedWord], edits: Sequence[Edit]) -> str | None:
    """Returns the answer to `words_prompt` for a text whose `edits` are its noise; None where no word is asked for, or
    one has no answer because noise joined or parted it."""
    lines = []
    for word in _asked(doubts):
        meant = _meant(text, word, edits)
        if meant is None:
            return None
        lines.append(f"{text[word.start : word.end]}: {meant}")
    return "\n".join(lines) or None


def _asked(doubts: Sequence[DoubtedWord]) -> list[DoubtedWord]:
    return [word for word in doubts if not is_sure(word)]


def _meant(text: str, word: DoubtedWord, edits: Sequence[Edit]) -> str | None:
    meant, offset = "", word.start
    for edit in edits:
        if edit.end < word.start or edit.start > word.end:
            continue
        if edit.start < word.start or edit.end > word.end:
            return None
        meant += text[offset : edit.start] + edit.old
        offset = edit.end
    meant += text[offset : word.end]
    return meant if _WORD.fullmatch(meant) else None


def read_words(reply: Reply, text: str, doubts: Sequence[DoubtedWord]) -> list[Change] | None:
    """Returns the changes that a reply asks for: a line for each word, in the order of the text. None where no line
    says anything of these words.

    A line for another word, or one that comes too late, is passed over, and so is the last one of a cut reply. A word
    that is no spelling of the one in doubt changes nothing.
    """
    lines = reply.text.splitlines()
    changes: list[Change] = []
    answered = 0
    for line in lines[:-1] if reply.finish_reason == "length" else lines:
        match = _LINE.fullmatch(line)
        doubted, meant = match.groups() if match else ("", "")
        places = (i for i in range(answered, len(doubts)) if text[doubts[i].start : doubts[i].end] == doubted)
        place = next(places, None)
        if place is None:
            continue
        answered = place + 1
        if meant != doubted and meant in doubts[place].candidates:
            changes.append(Change(doubts[place].start, doubts[place].end, meant))
    return changes if answered else None


@corrector("adapter")
class Adapter(Corrector):
    """Corrects the words that spelling is sure of, and asks an adapter that was trained for it (recipe corrector-en)
    for those that it doubts; no others change."""

    cost = "one short call where a word is in doubt"
    asks = True
    trained = True
    english = True

    def propose(self, text: str) -> Steps:
        doubts = words_in_doubt(text)
        changes = [Change(word.start, word.end, word.best) for word in doubts if is_sure(word)]
        portions = [portion for portion in _portions(doubts) if _asked(portion)]
        replies = (yield [self.request(words_prompt(text, portion)) for portion in portions]) if portions else []
        fallback = None
        for portion, reply in zip(portions, replies, strict=True):
            corrections = read_words(reply, text, _asked(portion))
            if corrections is None:
                fallback = fallback or ("cut" if reply.finish_reason == "length" else "empty")
            changes += corrections or []
        return Proposal(apply(text, sorted(changes))[0], fallback)


def _portions(doubts: Sequence[DoubtedWord]) -> Iterator[list[DoubtedWord]]:
    """Yields the words in doubt that are asked for together."""
    portion: list[DoubtedWord] = []
    for word in doubts:
        if portion and (len(portion) == _MOST or word.end - portion[0].start > _LONGEST):
            yield portion
            portion = []
        portion.append(word)
    if portion:
        yield portion
