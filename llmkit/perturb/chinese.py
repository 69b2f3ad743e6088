"""Operators for Chinese: characters that sound alike, and characters that look alike."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from llmkit.extras import need
from llmkit.perturb.base import Operator, WordEdit, operator, pick
from llmkit.perturb.languages import Language
from llmkit.perturb.numerals import is_numeral

_CHINESE = frozenset({"zh"})
# Syllables that many speakers do not keep apart, as beginnings and endings of pinyin.
_NEAR_STARTS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("f", "h"))
_NEAR_ENDS = (("ing", "in"), ("eng", "en"), ("ang", "an"))
_SAME = 0.7  # of the edits: the same syllable, in any tone; the others are near ones

# Groups of characters that differ in a stroke or a part, as readers of Chinese confuse them; ours.
_ALIKE = Path(__file__).parent / "data" / "hanzi_alike.txt"


@operator("pinyin", level="word")
class Pinyin(WordEdit):
    """Writes another common Chinese character that sounds the same, or nearly (zh and z, n and l, in and ing), as an
    input method offers them: "苹过" for "苹果" (readings from pypinyin, common characters of GB 2312, level 1).

    >>> Pinyin().edit("苹果", Random(2))
    '苹过'
    """

    only = _CHINESE
    nothing = "no Chinese character that sounds like another"

    def in_language(self, language: Language) -> Operator | None:
        if self.serves(language):
            need("pypinyin", extra="lang", what="operator `pinyin`")
        return super().in_language(language)

    def edit(self, word: str, rng: Random) -> str | None:
        readings, sounds = _readings(), _by_sound()
        places = [place for place, character in enumerate(word) if character in readings]
        if not places:
            return None
        place = pick(places, rng)
        own, sound = word[place], readings[word[place]]
        same = sounds[sound].replace(own, "")
        near = "".join(sounds.get(other, "") for other in _near(sound))
        others = same if same and (not near or rng.random() < _SAME) else near
        return word[:place] + pick(others, rng) + word[place + 1 :] if others else None

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.edit(word, rng)


@operator("hanzi", level="character")
class Hanzi(WordEdit):
    """Writes a Chinese character that looks like the right one: 未 for 末, 睛 for 晴, as a hand or a scan does (our own
    list of pairs that readers confuse).

    >>> Hanzi().edit("天晴", Random(2))
    '天请'
    """

    only = _CHINESE
    nothing = "no Chinese character with a look-alike in the list"

    def edit(self, word: str, rng: Random) -> str | None:
        alike = _alike()
        places = [place for place, character in enumerate(word) if character in alike]
        if not places:
            return None
        place = pick(places, rng)
        return word[:place] + pick(alike[word[place]], rng) + word[place + 1 :]

    def edit_in(self, word: str, rng: Random) -> str | None:
        return self.edit(word, rng)


@cache
def _alike() -> dict[str, str]:
    alike: dict[str, str] = {}
    for group in _ALIKE.read_text(encoding="utf-8").split():
        for character in group:
            others = [other for other in group if other != character and not is_numeral(other)]
            if not is_numeral(character):
                alike[character] = "".join(dict.fromkeys([*alike.get(character, ""), *others]))
    return {character: others for character, others in alike.items() if others}


@cache
def _readings() -> dict[str, str]:
    """Maps the 3,755 characters of GB 2312, level 1, but numerals, to their commonest reading, without the tone."""
    from pypinyin import lazy_pinyin

    characters = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    common = (character.decode("gb2312", "ignore") for character in characters)
    return {character: lazy_pinyin(character)[0] for character in common if character and not is_numeral(character)}


@cache
def _by_sound() -> dict[str, str]:
    sounds: dict[str, str] = {}
    for character, sound in _readings().items():
        sounds[sound] = sounds.get(sound, "") + character
    return sounds


@cache
def _near(sound: str) -> tuple[str, ...]:
    """Returns the syllables that a syllable is confused with.

    >>> _near("shang")
    ('sang', 'shan')
    """
    near = []
    for first, second in _NEAR_STARTS:
        if sound.startswith(first):
            near.append(second + sound[len(first) :])
        elif sound.startswith(second) and not sound.startswith(f"{second}h"):
            near.append(first + sound[len(second) :])
    for first, second in _NEAR_ENDS:
        if sound.endswith(first):
            near.append(sound[: -len(first)] + second)
        elif sound.endswith(second):
            near.append(sound[: -len(second)] + first)
    return tuple(near)
