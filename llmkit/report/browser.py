"""The answers of a run in a compact form, and the kinds of answer that a reader can look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntFlag
from typing import Any, Literal

from llmkit.conditions import Condition
from llmkit.measure.cells import STAND, Cells, PairKey, pair_key
from llmkit.rop.scoring import squash
from llmkit.runs.samples import Sample
from llmkit.secrets import scrub
from llmkit.types import CLEAN

PAGE = 25  # answers on screen at a time
_LONGEST = 20_000  # characters shown of one text; a reply rarely has a tenth of it


class Flag(IntFlag):
    """The properties of an answer, each as one bit."""

    RIGHT = 1
    UNPARSED = 2
    CUT = 4
    ERROR = 8
    RIGHT_TO_WRONG = 16
    WRONG_TO_RIGHT = 32
    OVER_CORRECTED = 64
    WON = 128
    LOST = 256
    FALLBACK = 512


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of answer: it has all the flags of `all` and none of `none`. `tone` colours it."""

    value: str
    label: str
    all: int = 0
    none: int = 0
    tone: Literal["", "right", "wrong", "note"] = ""


KINDS = (
    Kind("", "all answers"),
    Kind("right_to_wrong", "right → wrong (noise)", Flag.RIGHT_TO_WRONG),
    Kind("wrong_to_right", "wrong → right (noise)", Flag.WRONG_TO_RIGHT),
    Kind("won", "won against stand", Flag.WON),
    Kind("lost", "lost against stand", Flag.LOST),
    Kind("wrong", "wrong", none=Flag.RIGHT),
    Kind("right", "right", Flag.RIGHT),
    Kind("unparsed", "unparsed", Flag.UNPARSED),
    Kind("cut", "cut by the token limit", Flag.CUT),
    Kind("over_corrected", "over-corrected (clean)", Flag.OVER_CORRECTED),
    Kind("fallback", "correction not used", Flag.FALLBACK),
    Kind("error", "failed", Flag.ERROR),
)
"""The kinds to choose from."""

CHIPS = (
    Kind("right", "right", Flag.RIGHT, tone="right"),
    Kind("wrong", "wrong", none=Flag.RIGHT, tone="wrong"),
    Kind("right_to_wrong", "right → wrong", Flag.RIGHT_TO_WRONG, tone="wrong"),
    Kind("wrong_to_right", "wrong → right", Flag.WRONG_TO_RIGHT, tone="right"),
    Kind("won", "won against stand", Flag.WON, tone="right"),
    Kind("lost", "lost against stand", Flag.LOST, tone="wrong"),
    Kind("unparsed", "unparsed", Flag.UNPARSED, tone="note"),
    Kind("cut", "cut", Flag.CUT, tone="note"),
    Kind("over_corrected", "over-corrected", Flag.OVER_CORRECTED, tone="note"),
)
"""The labels at the head of an answer."""


@dataclass(frozen=True, slots=True)
class ShownCondition:
    """A condition as the page has it: the name in files, the name on screen, whether it is clean, its rate."""

    id: str
    label: str
    clean: bool
    rate: float | None


@dataclass(frozen=True, slots=True)
class Browser:
    """Every answer in a compact form: texts once, answers as rows.

    A question is [id, text, gold]. A row is [question, condition, arm, text or -1 for the clean one, flags, parsed,
    corrected, reply, note], the first four as places in the lists.
    """

    arms: tuple[str, ...]
    conditions: tuple[ShownCondition, ...]
    questions: tuple[tuple[str, str, str], ...]
    texts: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    kinds: tuple[Kind, ...] = KINDS
    chips: tuple[Kind, ...] = CHIPS
    page: int = PAGE

    def as_dict(self) -> dict[str, Any]:
        """Returns the values as JSON has them. The rows are not copied: there can be many."""
        values = {name: getattr(self, name) for name in ("arms", "questions", "texts", "rows", "page")}
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in ("conditions", "kinds", "chips")}
        return values | lists


def browser(samples: Sequence[Sample]) -> Browser:
    """Returns the answers by question, condition, arm and repeat, as a page needs them."""
    cells = Cells(samples)
    verdicts = {
        (s.outcome.arm, s.outcome.condition, s.outcome.meta.get("holdout"), pair_key(s)): bool(s.outcome.correct)
        for s in samples
    }
    places: dict[str, int] = {}
    texts: dict[str, int] = {}
    questions: list[tuple[str, str, str]] = []
    rows = []
    conditions = {name: i for i, name in enumerate(cells.conditions)}
    arms = {arm: i for i, arm in enumerate(cells.arms)}
    ordered = sorted(samples, key=lambda s: (s.outcome.question_id, conditions[s.outcome.condition], pair_key(s)[1:]))
    for sample in ordered:
        o = sample.outcome
        if o.question_id not in places:
            places[o.question_id] = len(questions)
            questions.append((o.question_id, _cut(sample.question), o.gold or ""))
        reply = sample.said("")
        rows.append(
            (
                places[o.question_id],
                conditions[o.condition],
                arms[o.arm],
                -1 if sample.text == sample.question else texts.setdefault(_cut(sample.text), len(texts)),
                _flags(sample, verdicts),
                o.parsed,
                None if o.corrected_text is None else _cut(o.corrected_text),
                _cut(reply) if reply else None,
                _note(sample),
            )
        )
    shown = tuple(ShownCondition(c, c, Condition.parse(c).clean, Condition.parse(c).rate) for c in cells.conditions)
    return Browser(tuple(cells.arms), shown, tuple(questions), tuple(texts), tuple(rows))


Verdicts = Mapping[tuple[str, str, str | None, PairKey], bool]  # arm, condition, kind held out, pair


def _flags(sample: Sample, verdicts: Verdicts) -> int:
    o = sample.outcome
    question, draw, seed = pair_key(sample)

    def paired(arm: str, condition: str, out: str | None) -> bool | None:
        """Returns the verdict that this answer is paired with; what was asked once is paired with every repeat."""
        keys = ((question, draw, seed), (question, draw, 0), (question, 0, seed), (question, 0, 0))
        return next((verdicts[key] for pair in keys if (key := (arm, condition, out, pair)) in verdicts), None)

    condition = Condition.parse(o.condition)
    on_clean = paired(o.arm, CLEAN, o.meta.get("holdout")) if condition.noisy else None
    stand = paired(STAND, o.condition, None) if o.arm != STAND else None
    corrected = o.corrected_text if condition.clean else None
    flags = (
        (Flag.RIGHT, o.correct),
        (Flag.UNPARSED, o.parsed is None and o.error is None),
        (Flag.CUT, o.cut),
        (Flag.ERROR, o.error is not None),
        (Flag.RIGHT_TO_WRONG, on_clean is True and not o.correct),
        (Flag.WRONG_TO_RIGHT, on_clean is False and o.correct),
        (Flag.OVER_CORRECTED, corrected is not None and squash(corrected) != squash(sample.question)),
        (Flag.WON, stand is False and o.correct),
        (Flag.LOST, stand is True and not o.correct),
        (Flag.FALLBACK, o.fallback is not None),
    )
    return sum(flag for flag, applies in flags if applies)


def _note(sample: Sample) -> str | None:
    o = sample.outcome
    seed, out = o.meta.get("search_seed"), o.meta.get("holdout")
    parts = [
        f"draw {o.draw + 1}" if o.draw else None,
        f"search seed {seed}" if seed else None,
        f"tuned without {out}" if out else None,
        f"correction not used: {o.fallback}" if o.fallback else None,
        f"failed: {scrub(o.error)}" if o.error else None,
        f"left unchanged: {sample.rejected}" if sample.rejected else None,
    ]
    return "; ".join(part for part in parts if part) or None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"
