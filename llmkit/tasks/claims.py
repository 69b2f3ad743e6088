"""The number that a text puts forward as its answer where no marker says so.

Every number is a candidate with a place (its sentence) and a kind. The ranking, in this order:

1. Sentences from the last to the first. Questions, checks, offers of help and numbers of steps put forward nothing;
   what stands behind a heading like "Explanation:" is read only if nothing stands before it.
2. A sentence whose numbers are all circumstances ("for 16 glasses", "after 4 days") that the question gave is passed
   over, too.
3. Inside a sentence: what the last equation comes to; else an emphasised number; else the last one that is no
   circumstance, is not denied ("not 5") and was not given in the question (of several, one that counts the things the
   question asks for); else the last that is no circumstance; else the last.

A reply whose first sentence is a number and nothing else answers first and explains then, unless a conclusion ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from llmkit.tasks import language, numbers, numerals
from llmkit.tasks.numbers import WrittenNumber

_ENDS = re.compile(r"\n+|(?:[.!?…]{1,9}+|;)[\"'*_)\]»”`$]{0,9}+(?=\s|$)|\.{2,}|…|[。！？।؟۔；]")
_STEP = re.compile(r"^[ \t>*_#(-]*+(\d{1,2})[.):](?=[ \t*_]+\S)", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-\u2013•*][ \t]", re.MULTILINE)
_REFERENCE = re.compile(
    r"\b(?:step|part|case|question|problem|equation|eq\.?|figure|table|method|scenario|exercise|paso|étape|passo|schritt"
    r"|шаг)s?\s{0,2}#?\(?$|(?:步骤|第|चरण|ধাপ|الخطوة|مرحلہ|ステップ)\s?$",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"[\s*_#>-]*+(?:(?:that|this|it)(?:['’]s| is) because|check|verif|to (?:check|verify|confirm|double)|note\b|hope\b"
    r"|i hope|let me know|confidence|tip:|source|feel free|if you (?:have|need|want)|remember|please"
    r"|verificación|comprobación|vérification|probe:|проверка|验证|检验|检查"
    r"|検算|जाँच|যাচাই|التحقق|nota:|remarque|hinweis|注)",
    re.IGNORECASE,
)
_SURENESS = re.compile(r"\s?%\s(?:sure|confiden|certain)", re.IGNORECASE)
_EXPLAINED = re.compile(
    r"^[ \t*_#>-]*+(?:(?:step[- ]by[- ]step )?explanation|here(?:'s|’s| is| are) (?:how|why|the|my|a)|steps|reasoning"
    r"|because|breakdown|working|how i got|justification|explicación|explication|explicação|erklärung|begründung"
    r"|объяснение|解释|解析|理由|説明|व्याख्या|ব্যাখ্যা|الشرح|التفسير|وضاحت)\b[^\n]{0,60}$"
    r""
    r"|^[ \t*_#>-]*+(?:explanation|steps|reasoning"
    r"|explicación|erklärung|explication|explicação|объяснение|解释|説明)\s?[*_]*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_REASON = re.compile(
    r"[\s,](?:because|since|(?<!same )(?<!well )(?<!much )(?<!many )(?<!such )"
    r"as(?=\s(?:there|each|every|he|she|it|they|we)\b)"
    r"|of wh(?:ich|om)|given that|considering"
    r"|porque|ya que|puesto que|parce qu|car|puisqu|weil|denn|pois|já que|так как"
    r"|потому что)\s|因为|क्योंकि|কারণ|لأن|کیونکہ",
    re.IGNORECASE,
)
_EQUALS = re.compile(r"[=≈⇒→]|\bequals?\b|等于|\bes igual a\b|\bergibt\b|\bравно\b")
_OPERATOR = re.compile(r"\s?[+*/×÷]\s?[$€£(]?\d|\s[-\u2013x]\s[$€£(]?\d")
_STRONG = re.compile(r"\*\*([^*\n]{1,200})\*\*|__([^_\n]{1,200})__|<b>([^<\n]{1,200})</b>")
_HEADING = re.compile(r"[:：]\s*$|^\s*(?:step|part|case)\b|^\s*\d{1,2}[.)]", re.IGNORECASE)
_BRACKETED = re.compile(r"(?<!\\)\([^()\n]{0,200}\)")

_READ = 10_000  # characters at each end of a text
_MOST = 64  # numbers of one sentence, counted from its last


@dataclass(frozen=True, slots=True)
class Claim:
    """The number that a text puts forward; `firm` unless nothing but circumstances were found."""

    value: Decimal
    firm: bool
    start: int
    concluded: bool = False


@lru_cache(maxsize=4096)
def given(question: str) -> frozenset[Decimal]:
    """Returns the numbers of a question, in digits and in words."""
    text = numbers.plain(question)
    return frozenset([n.value for n in numbers.find(text)] + [value for *_, value in numerals.find(text)])


@lru_cache(maxsize=4096)
def _asked(question: str) -> re.Pattern[str] | None:
    """Returns what follows a number of the things that a question asks for: "apps" of "How many apps did he
    delete?"."""
    things = re.findall(r"\bhow many (?:(?:more|other|fewer|less|total) )?([a-z]{3,30})", question, re.IGNORECASE)
    if not things:
        return None
    return re.compile(rf"(?:\s\w+){{0,2}}\s{re.escape(things[-1].lower().rstrip('s'))}", re.IGNORECASE)


def claim(text: str, question: str = "") -> Claim | None:
    """Returns the number that a `plain` text puts forward as its answer, or None. Reads a long text's two ends."""
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]}\n{text[-_READ:]}"
    explained = next((m for m in _EXPLAINED.finditer(text) if text[: m.start()].strip(" \n*_#-")), None)
    if explained:
        early = _last_claim(text[: explained.start()], question)
        late = _last_claim(text[explained.end() :], question)
        if early and early.firm and not (late and late.concluded and late.firm):
            return early
    last = _last_claim(text, question)
    opening = _opening(text)
    if opening is not None and not (last and last.concluded and last.firm):
        return Claim(opening, True, 0)
    return last


def _opening(text: str) -> Decimal | None:
    """Returns the number that the first sentence consists of, with a unit at most, where more follows."""
    stripped = text.lstrip(" \n*_#$")
    end = _ENDS.search(stripped)
    if end is None or not stripped[end.end() :].strip():
        return None
    sentence = stripped[: end.start()]
    inside = list(numbers.find(sentence))
    listed = _STEP.match(stripped) or (_BULLET.match(stripped) and _BULLET.search(stripped, end.end()))
    if listed or len(inside) != 1 or sentence[: inside[0].start].strip(" -\u2013$€£¥₹"):
        return None
    return inside[0].value if len(sentence[inside[0].end :].split()) <= 2 else None


def _last_claim(text: str, question: str) -> Claim | None:
    steps = _steps(text)
    all_numbers = [
        n
        for n in numbers.find(text)
        if n.start not in steps
        and not _SURENESS.match(text, n.end)
        and not _REFERENCE.search(text, max(0, n.start - 24), n.start)
    ]
    all_numbers = [n for n in all_numbers if not n.ordinal] or all_numbers
    in_words = [  # "half of them" counts only where nothing else does
        WrittenNumber(start, end, value)
        for start, end, value in numerals.find(text)
        if abs(value) >= 1 or not all_numbers
    ]
    weak: Claim | None = None
    aside: Claim | None = None
    for start, end, inside in _sentences(text, all_numbers, in_words):
        sentence = text[start:end]
        if not inside:
            continue
        claim_here = _choose(text, start, end, inside, question)
        if text[end : end + 4].lstrip("\"'*_)").startswith(("?", "？", "؟")) or _ASIDE.match(sentence):
            aside = aside or claim_here
        elif claim_here.firm:
            return claim_here
        else:
            weak = weak or claim_here
    return weak or aside


def _steps(text: str) -> set[int]:
    """Finds the offsets of the numbers of a numbered list: each is 1 or follows the one before."""
    offsets, last = set(), 0
    for match in _STEP.finditer(text):
        number = int(match[1])
        if number == last + 1 or number == 1:
            offsets.add(match.start(1))
            last = number
    return offsets if len(offsets) > 1 or last == 1 else set()


def _sentences(
    text: str, digits: list[WrittenNumber], words: list[WrittenNumber]
) -> Iterator[tuple[int, int, list[WrittenNumber]]]:
    """Yields start, end and numbers of each sentence, from the last to the first; words only where no digits are."""
    starts, spans = 0, []
    for match in _ENDS.finditer(text):
        spans.append((starts, match.start()))
        starts = match.end()
    spans.append((starts, len(text)))
    digits, words = list(digits), list(words)
    final = True
    for start, end in reversed(spans):
        inside, spelt = _behind(digits, start), _behind(words, start)
        concluded = bool(language.CONCLUDED.match(text, start, end))
        if not inside and spelt and (final or concluded or not digits):
            inside = spelt
        if text[start:end].strip(" *_#>"):
            final = False
        yield start, end, inside


def _behind(rest: list[WrittenNumber], start: int) -> list[WrittenNumber]:
    """Takes the numbers from `start` on off the end of a list."""
    taken = []
    while rest and rest[-1].start >= start:
        taken.append(rest.pop())
    return taken[::-1]


def _choose(text: str, start: int, end: int, inside: list[WrittenNumber], question: str) -> Claim:
    concluded = bool(language.CONCLUDED.match(text, start, end))
    known, asked = (given(question), _asked(question)) if question else (frozenset(), None)
    inside = inside[-_MOST:]
    equals = None
    for match in _EQUALS.finditer(text, start, end):
        if match.end() <= inside[-1].start:
            equals = match
    if equals:
        right = [n for n in inside if n.start >= equals.end()]
        if _OPERATOR.match(text, right[0].end) and len(inside) > len(right):  # "55 = 27 + 28"
            return Claim(inside[-len(right) - 1].value, True, inside[-len(right) - 1].start, concluded)
        inside = right
    first = inside[0] if equals else None
    inside = _main(text, start, end, inside)
    bold = [
        n
        for match in _STRONG.finditer(text, start, end)
        if not _HEADING.search(match[0].strip("*_"))
        for n in inside
        if match.start() <= n.start < match.end()
    ]
    pool = bold or inside
    firm = [n for n in pool if n is first or not _circumstance(text, start, n)]
    new = [n for n in firm if n.value not in known]
    new = [n for n in new if asked and asked.match(text, n.end, end)] or new
    if firm:
        chosen = first if first in firm and not new else (new or firm)[-1]
        return Claim(chosen.value, True, chosen.start, concluded)
    fresh = [n for n in pool if n.value not in known]
    chosen = (fresh or pool)[-1]
    return Claim(chosen.value, bool(fresh), chosen.start, concluded)


def _main(text: str, start: int, end: int, inside: list[WrittenNumber]) -> list[WrittenNumber]:
    """Returns the numbers of the main clause, without reasons and brackets unless nothing else is left."""
    reason = _REASON.search(text, start + 1, end)
    if reason and (before := [n for n in inside if n.start < reason.start()]):
        inside = before
    brackets = [match.span() for match in _BRACKETED.finditer(text, start, end)]
    outside = [n for n in inside if not any(left < n.start < right for left, right in brackets)]
    return outside if any(not _circumstance(text, start, n) for n in outside) else inside


def _circumstance(text: str, start: int, number: WrittenNumber) -> bool:
    lower = max(start, number.start - 48)
    before = text[lower : number.start]
    if language.NEGATED.search(before):
        return True
    return bool(language.BESIDE.search(before)) and not language.SUMMED.search(before)
