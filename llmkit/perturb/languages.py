"""Languages: their scripts, letters, layouts and cases, and which of them a text is in."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, cached_property

from llmkit.errors import UsageError
from llmkit.perturb.graphemes import clusters
from llmkit.perturb.keyboards import Layout, layout_named, layout_of
from llmkit.perturb.small_words import foreign_language
from llmkit.registry import unknown

AUTO = "auto"

# Name and script of each language by its ISO 639-1 code. Others that the identifier knows are served by their script.
_KNOWN = """af:Afrikaans:LATIN am:Amharic:ETHIOPIC ar:Arabic:ARABIC az:Azerbaijani:LATIN be:Belarusian:CYRILLIC
bg:Bulgarian:CYRILLIC bn:Bengali:BENGALI bs:Bosnian:LATIN ca:Catalan:LATIN cs:Czech:LATIN da:Danish:LATIN
de:German:LATIN dv:Dhivehi:THAANA el:Greek:GREEK en:English:LATIN eo:Esperanto:LATIN es:Spanish:LATIN
et:Estonian:LATIN fa:Persian:ARABIC fi:Finnish:LATIN fo:Faroese:LATIN fr:French:LATIN ga:Irish:LATIN
gu:Gujarati:GUJARATI he:Hebrew:HEBREW hi:Hindi:DEVANAGARI hr:Croatian:LATIN hu:Hungarian:LATIN hy:Armenian:ARMENIAN
id:Indonesian:LATIN is:Icelandic:LATIN it:Italian:LATIN ja:Japanese:CJK ka:Georgian:GEORGIAN kk:Kazakh:CYRILLIC
km:Khmer:KHMER kn:Kannada:KANNADA ko:Korean:HANGUL ku:Kurdish:LATIN ky:Kyrgyz:CYRILLIC lo:Lao:LAO lt:Lithuanian:LATIN
lv:Latvian:LATIN mi:Maori:LATIN mk:Macedonian:CYRILLIC ml:Malayalam:MALAYALAM mn:Mongolian:CYRILLIC
mr:Marathi:DEVANAGARI ms:Malay:LATIN mt:Maltese:LATIN my:Burmese:MYANMAR ne:Nepali:DEVANAGARI nl:Dutch:LATIN
no:Norwegian:LATIN pa:Punjabi:GURMUKHI pl:Polish:LATIN ps:Pashto:ARABIC pt:Portuguese:LATIN ro:Romanian:LATIN
ru:Russian:CYRILLIC si:Sinhala:SINHALA sk:Slovak:LATIN sl:Slovenian:LATIN sq:Albanian:LATIN sr:Serbian:CYRILLIC
sv:Swedish:LATIN sw:Swahili:LATIN ta:Tamil:TAMIL te:Telugu:TELUGU tg:Tajik:CYRILLIC th:Thai:THAI tk:Turkmen:LATIN
tl:Filipino:LATIN tr:Turkish:LATIN uk:Ukrainian:CYRILLIC ur:Urdu:ARABIC uz:Uzbek:CYRILLIC vi:Vietnamese:LATIN
zh:Chinese:CJK"""

_COMMONEST = {"ARABIC": "ar", "CYRILLIC": "ru", "DEVANAGARI": "hi", "CJK": "zh", "BENGALI": "bn"}
"""The language that a script is taken for where several are written in it and nothing else says which."""

LATIN = frozenset({"LATIN"})
_JAPANESE = frozenset({"HIRAGANA", "KATAKANA"})
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my"})
_CASED = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN"})
_ALPHABETIC = _CASED | {"ARABIC", "HEBREW", "GEORGIAN", "THAANA"}
_TURKIC = frozenset({"tr", "az"})  # dotted and dotless i
_OTHER_SCRIPT = {"sr": "rs(latin)", "uz": "uz(latin)"}  # the layout of the second script, which is Latin
_MOST = 2_000  # characters of a text that are looked at

# The letters to draw from in the languages that no keyboard writes letter by letter: common characters, no numerals.
_COMMON = {
    "zh": "的是不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天"
    "而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同已老从动",
    "ja": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "ko": "가나다라마바사아자차카타파하고노도로모보소오조호구누두루무부수우주기니디리미비시이지히게네데레메세에제",
}


@dataclass(frozen=True)
class Language:
    """A language as operators need it. `code` is ISO 639-1 where there is such a code; "" is unknown."""

    code: str
    script: str
    chosen_layout: str | None = None

    @property
    def name(self) -> str:
        return _names().get(self.code, self.code or "unknown")

    @property
    def unspaced(self) -> bool:
        """Whether words are written without spaces between them."""
        return self.code in _UNSPACED

    @property
    def cased(self) -> bool:
        """Whether its script has capitals."""
        return self.script in _CASED

    @property
    def alphabetic(self) -> bool:
        """Whether a word is spelt letter by letter; else a sign is a syllable or a word, and words have few."""
        return self.script in _ALPHABETIC

    @property
    def layout_name(self) -> str | None:
        """The keyboard layout that it is typed on; None where text is typed by its sounds."""
        fallback = "us" if self.script == "LATIN" else None
        return self.chosen_layout or layout_of(self.code) or fallback

    @cached_property
    def layout(self) -> Layout | None:
        return layout_named(self.layout_name) if self.layout_name else None

    @cached_property
    def alphabet(self) -> str:
        """The letters that noise may add, in lower case; "" where none are known."""
        if self.code in _COMMON:
            return _COMMON[self.code]
        return self.layout.letters if self.layout else ""

    def upper(self, text: str) -> str:
        """Returns a text in capitals: in Turkish and Azerbaijani that of i is İ."""
        return text.replace("i", "İ").upper() if self.code in _TURKIC else text.upper()

    def lower(self, text: str) -> str:
        """Returns a text in small letters: in Turkish and Azerbaijani that of I is ı."""
        return text.replace("İ", "i").replace("I", "ı").lower() if self.code in _TURKIC else text.lower()

    def swapped(self, letter: str) -> str:
        """Returns a letter in the other case."""
        other = self.upper(letter)
        return other if other != letter else self.lower(letter)

    def letters(self, word: str) -> list[str]:
        """Splits a word into what an edit may move or drop: its grapheme clusters."""
        return clusters(word)

    def writes(self, word: str) -> bool:
        """Returns whether all letters of a word are of the scripts of this language."""
        scripts = _JAPANESE | {"CJK"} if self.code == "ja" else {self.script}
        return all(_script(character) in scripts for character in word if character.isalpha())


ENGLISH = Language("en", "LATIN")


def language_named(code: str) -> Language:
    """Returns a language by its ISO 639-1 code. UsageError with the nearest codes or names for another."""
    wanted, names = code.strip().lower(), _names()
    if wanted in names:
        return Language(wanted, _scripts()[wanted])
    by_name = {name.lower(): known for known, name in names.items()}
    if wanted in by_name:
        raise UsageError(f"unknown language `{code}`", f"did you mean `{by_name[wanted]}` ({names[by_name[wanted]]})?")
    raise unknown("language", code, [*names, AUTO] if len(wanted) <= 4 else by_name)


def language_codes() -> list[str]:
    """Returns the codes of the languages that are known by name."""
    return list(_names())


# What stands beyond ASCII, without the marks that editors put into English: only such text is worth a question.
_BEYOND = re.compile(r"[^\x00-\x7f\u00a0‘’“”–—…•·€£¥¢°±×÷½¼¾²³]")


def language_of(text: str) -> Language | None:
    """Returns the language of a text that has letters outside ASCII, as its script and small words say; None for
    English, and for what nothing says is another language.

    >>> language_of("Сколько яблок?").code, language_of("Wie schön ist das für mich?").code, language_of("a café")
    ('ru', 'de', None)
    """
    if text.isascii() or _BEYOND.search(text) is None:
        return None
    language = by_script(text)
    if language is not None and language.script != "LATIN":
        return language
    code = foreign_language(text)
    return language_named(code) if code else None


def in_script_of(text: str, language: Language) -> Language:
    """Returns the language in the script of a text, where it is written in two: Serbian and Uzbek."""
    layout = _OTHER_SCRIPT.get(language.code)
    found = by_script(text) if layout else None
    if found is None or found.script == language.script:
        return language
    return replace(language, script=found.script, chosen_layout=layout)


def by_script(text: str) -> Language | None:
    """Returns the language that the script of most letters is taken for; Latin letters are taken for English. None
    without letters."""
    counts = Counter(_script(character) for character in text[:_MOST] if character.isalpha())
    if not counts:
        return None
    japanese = sum(counts[script] for script in _JAPANESE)
    ideographs = japanese + counts["CJK"]
    script = max(counts, key=counts.__getitem__)
    if ideographs >= counts[script]:
        return language_named("ja" if japanese and japanese >= 0.1 * ideographs else "zh")
    code = _COMMONEST.get(script) or next((code for code, own in _scripts().items() if own == script), "")
    return ENGLISH if script == "LATIN" else Language(code, script)


@cache
def _script(character: str) -> str:
    return unicodedata.name(character, "?").split()[0].partition("-")[0]


@cache
def _names() -> dict[str, str]:
    return {code: name for code, name, _ in (entry.split(":") for entry in _KNOWN.split())}


@cache
def _scripts() -> dict[str, str]:
    return {code: script for code, _, script in (entry.split(":") for entry in _KNOWN.split())}
