"""The facts signature of a free-text reply: what a person could act on, in a form in which two replies compare.

Numbers, amounts, dates, times, ids, URLs and e-mail addresses; names; what is denied; refusal, language and the label
that a reply starts with. Every pattern is bounded or possessive: the time is linear in the text, and nothing raises.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from llmkit.tasks import fact_words as lists
from llmkit.tasks import numbers, numerals
from llmkit.tasks.reply_form import STOP, answer_of, label_of, language_of, refuses, tokens

MOST_FACTS = 2_000
"""Facts kept of one reply: the first ones."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a reply. `details` may be empty where a reply leaves them out: a currency, a year, am or pm."""

    kind: str
    value: str
    details: tuple[str, ...] = ()

    def agrees(self, other: Fact) -> bool:
        """Returns whether two facts can be the same: equal values, and no detail that both give and that differs."""
        return self.value == other.value and all(
            mine == theirs or not mine or not theirs for mine, theirs in zip(self.details, other.details, strict=False)
        )

    def __str__(self) -> str:
        return " ".join(part for part in (self.value, *self.details) if part)


@dataclass(frozen=True, slots=True)
class Facts:
    """The signature of one reply.

    `said` counts each fact. `names` are capitalised words inside sentences, `denied` the words that a negation falls
    on and that are nowhere affirmed. `words` are the stems of the content words, `label` what the reply starts with,
    `answer` what it marks as its answer, `denies` says that a negation is in its first sentence with content,
    `asks` that it ends in a question. `requests` are the stems of the content words that follow a "please".
    """

    said: Counter[Fact] = field(default_factory=Counter)
    names: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    affirmed: frozenset[str] = frozenset()
    denies: bool = False
    asks: bool = False
    refuses: bool = False
    language: str | None = None
    label: str | None = None
    answer: str | None = None
    requests: frozenset[str] = frozenset()


def facts(text: str) -> Facts:
    """Returns the facts signature of a reply.

    >>> sorted(str(fact) for fact in facts("Order #4411: $27.50 back by March 3rd, 2026.").said)
    ['03 3 2026', '27.5 USD', '4411']
    """
    said: Counter[Fact] = Counter()

    def taken(kind: str, value: str, *details: str) -> str:
        if len(said) < MOST_FACTS:
            said[Fact(kind, value, details)] += 1
        return " ~ "

    rest = _links(text, taken)
    rest = numbers.plain(without_markup(rest))
    prose = rest
    for take in (_dates, _times, _ids):
        rest = take(rest, taken)
    rest = _numbers(rest, taken)
    claims = _PART.sub(_without_pleasantry, lists.LACKING.sub("not ", rest))
    denied, affirmed = _polarity(claims)
    language, label = language_of(prose), label_of(text)
    names = frozenset() if language == "de" else _names(prose)  # German writes every noun with a capital
    if label and prose.strip()[:1].isupper() and len(prose.split()) == len(label.split()):
        names |= {stem(word) for word in label.split()}  # a reply that is nothing but a name
    return Facts(
        said,
        names,
        denied - affirmed,
        denied | affirmed,
        affirmed,
        _denies(claims),
        text.rstrip().endswith(("?", "？")),
        refuses(prose),
        language,
        label,
        answer_of(prose),
        frozenset(word for match in lists.REQUEST.finditer(claims) for word in _content(match[1])),
    )


_EMPHASIS = re.compile(r"[*`~]++|(?<!\w)_{1,3}|_{1,3}(?!\w)")
_HEADING = re.compile(r"^[ \t]{0,9}(?:#{1,6}\s|>\s?)", re.MULTILINE)
_FIRST_MARKER = re.compile(r"^[ \t]{0,9}(?:\(?1[.)]|step\s1[.:]?)(?=\s+\S)", re.MULTILINE | re.IGNORECASE)
_MARKERS = re.compile(r"^[ \t]{0,9}(?:\(?\d{1,3}[.)]|step\s\d{1,3}[.:]?)(?=\s)", re.MULTILINE | re.IGNORECASE)


def without_emphasis(text: str) -> str:
    """Removes Markdown's emphasis and code marks."""
    return _EMPHASIS.sub("", text)


def without_markup(text: str) -> str:
    """Removes Markdown's emphasis, headings and the numbers of a list: how a text is laid out, not what it says."""
    text = _HEADING.sub("", without_emphasis(text))
    return _MARKERS.sub("-", text) if _FIRST_MARKER.search(text) else text


Take = Callable[..., str]

_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'`|\\^{}\[\]]{1,2000}"
    r"|(?<![\w@.-])[a-z0-9-]{1,63}+(?:\.[a-z0-9-]{1,63}+){0,6}?\.(?:com|org|net|io|edu|gov|example|de|fr|es|uk|eu|ai|app|dev)\b"
    r"(?:/[^\s<>\"'`|\\^{}\[\]]{0,2000})?",
    re.IGNORECASE,
)
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8}", re.IGNORECASE)


def _links(text: str, taken: Take) -> str:
    if "@" in text:
        text = _MAIL.sub(lambda m: taken("email", m[0].casefold().rstrip(".-_")), text)
    if "." in text:
        text = _URL.sub(_url(taken), text)
    return text


def _url(taken: Take) -> Callable[[re.Match[str]], str]:
    def take(match: re.Match[str]) -> str:
        address = match[0].rstrip(".,;:!?*_)/").casefold()
        return taken("url", address.split("://", 1)[-1].removeprefix("www."))

    return take


_MONTH = "|".join(sorted(lists.MONTHS, key=len, reverse=True))
_SEVERAL_DATES = re.compile(
    rf"""(?<![\w.-])(?P<y1>\d{{4}})[-/.](?P<m1>\d{{1,2}})[-/.](?P<d1>\d{{1,2}})(?!\d)
      | (?<![\w./-])(?P<a>\d{{1,2}})(?P<sep>[/.-])(?P<b>\d{{1,2}})(?P=sep)(?P<y2>\d{{4}}|\d{{2}})(?![\d/])
      | (?<![\w.,/-])(?P<d3>\d{{1,2}})(?:st|nd|rd|th|er|º|\.)?\s(?:of\s|de\s)?(?P<m3>{_MONTH})(?!\w)\.?
            (?:,?\s(?:de\s)?(?P<y3>\d{{4}})(?!\d))?
      | (?<!\w)(?P<m4>{_MONTH})\.?\s(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:]|[.,/]\d)(?:,?\s(?P<y4>\d{{4}})(?!\d))?
      | (?<!\w)(?P<m5>{_MONTH})\.?,?\s(?:of\s|de\s)?(?P<y5>\d{{4}})(?!\d)
      | (?<!\w)(?P<m6>{_MONTH})(?!\w)
      | (?<!\w)(?P<day>{"|".join(lists.DAYS)})s?(?!\w)""",
    re.VERBOSE | re.IGNORECASE,
)


def _dates(text: str, taken: Take) -> str:
    """Takes dates: month, day and year where said; a weekday or "tomorrow" as its word."""

    def take(match: re.Match[str]) -> str:
        if match["day"]:
            return taken("date", match["day"].casefold())
        if match["a"]:  # 3/14/2026 month first, 14.3.2026 day first, unless the other cannot be a month
            first, second, year = int(match["a"]), int(match["b"]), match["y2"]
            month, day = (first, second) if match["sep"] == "/" else (second, first)
            month, day = (day, month) if month > 12 else (month, day)
            year = f"20{year}" if len(year) == 2 else year
        elif match["y1"]:
            month, day, year = int(match["m1"]), int(match["d1"]), match["y1"]
        else:
            name = next(name for name in (match["m3"], match["m4"], match["m5"], match["m6"]) if name)
            number = match["d3"] or match["d4"]
            if not (number or match["y5"]) and (match.re is None or not name[0].isupper() or len(name) < 4):
                return match[0]  # "may", "march" and short forms alone are words, and so is "mai" in "mais"
            if name in lists.WORDLIKE_MONTHS and match["m4"]:
                return match[0]  # "may 5 people come": in lower case before a number it is the verb
            if name.capitalize() == "May" and match["m6"]:
                return match[0]  # "May" opens sentences
            month, day = lists.MONTHS[name.casefold()], int(number or 0)
            year = match["y3"] or match["y4"] or match["y5"] or ""
        if not (1 <= month <= 12 and 0 <= day <= 31):
            return match[0]
        return taken("date", f"{month:02}", str(day) if day else "", year)

    return _SEVERAL_DATES.sub(take, text)


_TIME = re.compile(
    r"(?<![\w:.,/$€£-])(?P<hour>\d{1,2})(?:[:.](?P<minute>[0-5]\d)(?::[0-5]\d)?)?\s?(?:(?P<half>[ap])\.?m(?!\w)\.?|uhr\b|o['’]clock\b)"
    r"|(?<![\w:.,/-])(?P<hour2>\d{1,2}):(?P<minute2>[0-5]\d)(?![\d:])"
    r"|\b(?P<noon>noon|midday|midnight)\b"
    rf"|\b(?P<part>half|quarter)\s(?P<way>past|to)\s(?P<near>\d{{1,2}}|{'|'.join(lists.HOURS)})\b",
    re.IGNORECASE,
)


def _times(text: str, taken: Take) -> str:
    """Takes times of day on a clock of twelve hours, with am or pm where the text decides it."""

    def take(match: re.Match[str]) -> str:
        if match["noon"]:
            return taken("time", "0:00", "am" if match["noon"].casefold() == "midnight" else "pm")
        if match["part"]:
            near = lists.HOURS.get(match["near"].casefold()) or int(match["near"])
            quarter = 30 if match["part"].casefold() == "half" else 15
            minutes = 60 * near + (quarter if match["way"].casefold() == "past" else -quarter)
            return taken("time", f"{minutes // 60 % 12}:{minutes % 60:02}", "")
        hour, minute = int(match["hour"] or match["hour2"]), match["minute"] or match["minute2"] or "00"
        if hour > 24:
            return match[0]
        half = f"{match['half'].casefold()}m" if match["half"] else "pm" if 12 < hour < 24 else ""
        return taken("time", f"{hour % 12}:{minute}", half)

    return _TIME.sub(take, text)


_OPTION = re.compile(
    r"\b((?:option|choice|variant|grade|class|type|group|plan|gate|section|part|version)\s\(?)([a-z])(?![\w'’])",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.])(?:\+\d|\(\d|0\d|\d{3}[-.]\d{3}[-.])[\d\s().-]{3,18}\d(?!\w)")
_NUMBERED = re.compile(
    r"\b((?:order|ticket|invoice|case|reference|ref|account|tracking|confirmation|booking|customer)\s"
    r"(?:(?:number|no|id|code|is|:)[.:]?\s){0,3}#?)(\d{3,20})(?![\w.,]?\w)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?<![\w#@$€£])#?[a-z0-9]++(?:[-_/][a-z0-9]++)*+", re.IGNORECASE)
_MEASURED = re.compile(
    r"#?\d[\d.,]*-?[a-z]{1,10}(?:[-/][a-z]+)*|\d+(?:st|nd|rd|th)|(?:usd|eur|gbp|chf|inr|rs|us|nt|hk|r)\d+",
    re.IGNORECASE,
)


def _ids(text: str, taken: Take) -> str:
    """Takes phone numbers, and what has letters and two digits, or a # or a word like "order" before its digits."""

    def phone(match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match[0])
        return taken("id", digits) if 8 <= len(digits) <= 15 else match[0]

    def token(match: re.Match[str]) -> str:
        word = match[0]
        digits = sum(map(str.isdigit, word))
        if not digits or (word[0] != "#" and (digits < 2 or digits == len(re.sub(r"[-_/]", "", word)))):
            return word
        if word[0] != "#" and _MEASURED.fullmatch(word):
            return word
        return taken("id", re.sub(r"[-_/#]", "", word.casefold()))

    text = _OPTION.sub(lambda m: m[1] + taken("label", m[2].casefold()), text)
    text = _PHONE.sub(phone, text)
    text = _NUMBERED.sub(lambda m: m[1] + taken("id", m[2]), text)
    return _TOKEN.sub(token, text)


_BEFORE = re.compile(rf"(?:^|[^\w])({'|'.join(map(re.escape, lists.CURRENCIES))})\s?[-–]?\s?$", re.IGNORECASE)
_AFTER = re.compile(
    r"[\s-]?("
    + "|".join(map(re.escape, sorted([*lists.CURRENCIES, *lists.UNITS], key=len, reverse=True)))
    + r")(?!\w)",
    re.IGNORECASE,
)
_ONE = re.compile(r"\bone(?=[\s-])", re.IGNORECASE)
_HALF_AN_HOUR = re.compile(r"\bhalf\san\shour\b", re.IGNORECASE)
_HALF_AND_HALF = re.compile(r"\bhalf[\s-]and[\s-]half\b", re.IGNORECASE)


def _numbers(text: str, taken: Take) -> str:
    """Takes what is left of the numbers, in digits and in words, with their currency or unit."""
    text = _HALF_AND_HALF.sub("~", _HALF_AN_HOUR.sub("30 minutes", text))
    places = [(n.start, n.end, n.value) for n in numbers.find(text)]
    places += numerals.find(text)
    places += [(m.start(), m.end(), Decimal(1)) for m in _ONE.finditer(text) if _AFTER.match(text, m.end())]
    rest, position = [], 0
    for start, end, value in sorted(places):
        if start < position:
            continue  # the "one" of "twenty-one"
        rest.append(text[position:start])
        unit = ""
        if before := _BEFORE.search(text[max(0, start - 5) : start]):
            unit = before[1].casefold()
        elif after := _AFTER.match(text, end):
            unit, end = after[1].casefold(), after.end()
        if unit in lists.CURRENCIES:
            rest.append(taken("amount", numbers.write(value), lists.CURRENCIES[unit]))
        else:
            rest.append(taken("number", numbers.write(value), lists.UNITS.get(unit, "")))
        position = end
    return "".join([*rest, text[position:]])


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Returns a word without its commonest English endings: enough to see that "returned" is "return".

    >>> [stem(word) for word in ("returned", "shipping", "policies", "is")]
    ['return', 'ship', 'policy', 'is']
    """
    word = word.removesuffix("'s")
    for ending, kept in (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("ly", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + kept
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsaeiou":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == "e" else word


_PART = re.compile(r"(?:[^.!?;\n,]|(?<=\w)[.,](?=\w))++")


def _without_pleasantry(match: re.Match[str]) -> str:
    return " ~ " if lists.PLEASANTRY.search(match[0]) else match[0]


def _polarity(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the stems of content words that a negation falls on, and of those that it does not."""
    silent = [m.span() for pattern in (lists.IDIOM, lists.CONDITION) for m in pattern.finditer(text)]
    silent.sort()
    denied: set[str] = set()
    affirmed: set[str] = set()
    place, open_until = 0, -1
    for start, word in tokens(text):
        while place < len(silent) and silent[place][1] <= start:
            place += 1
        in_silence = place < len(silent) and silent[place][0] <= start
        if lists.NEGATION.fullmatch(word):
            if not in_silence and not _ends_clause(text, start + len(word)):
                open_until = start + len(word) + 40
            continue
        if word in STOP or (len(word) < 2 and word.isascii()):
            continue
        if start < open_until and not _CLAUSE.search(text, open_until - 40, start):
            denied.add(stem(word))
            if word in lists.POSSIBLE:
                continue  # the negation goes on to the next word
        else:
            affirmed.add(stem(word))
        open_until = -1
    return frozenset(denied), frozenset(affirmed)


def _content(text: str) -> Iterator[str]:
    return (stem(word) for _, word in tokens(text) if word not in STOP and word not in lists.IDLE)


_SENTENCE = re.compile(r"[^.!?\n]++")


def _denies(claims: str) -> bool:
    """Returns whether the first sentence that has a content word denies something."""
    for match in _SENTENCE.finditer(claims):
        denied, affirmed = _polarity(match[0])
        if denied or affirmed:
            return bool(denied)
    return False


_CLAUSE = re.compile(r"[.;:!?\n,]")


def _ends_clause(text: str, end: int) -> bool:
    return text[end : end + 1] in tuple(",.;:!?")


_NAME = re.compile(
    r"(?<=[a-zà-ÿ,;'’(\"“]\s)[A-ZÀ-Þ][a-zà-ÿ]{1,40}+(?![\w'’])|(?<=[a-zà-ÿ,]\s[\"“(])[A-ZÀ-Þ][a-zà-ÿ]{1,40}+"
)


_PLACEHOLDER = re.compile(r"\[[^\[\]\n]{1,60}\](?!\()")  # "[Your Name]" names nobody


_NO_NAMES = STOP | lists.MONTHS.keys() | lists.DAYS


def _names(text: str) -> frozenset[str]:
    """Returns the capitalised words that do not begin a sentence, as stems."""
    words = (m[0].casefold() for m in _NAME.finditer(_PLACEHOLDER.sub(" ", text)))
    return frozenset(stem(word) for word in words if not {word, stem(word)} & _NO_NAMES)
