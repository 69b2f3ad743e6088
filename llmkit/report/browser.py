"""The answers of a run in a compact form, and the kinds of answer that a reader can look for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntFlag
from typing import Any, Literal

from llmkit.conditions import Condition
from llmkit.measure.cells import STAND, Cells, PairKey, nearest, pair_key
from llmkit.measure.compared import compared
from llmkit.measure.stability import unlabelled
from llmkit.rop.scoring import squash
from llmkit.runs.samples import Sample
from llmkit.secrets import scrub
from llmkit.seeds import derive
from llmkit.types import CLEAN

PAGE = 25  # answers on screen at a time
MOST = 40_000  # answers that a page holds: some tens of megabytes
_SEED = 7  # of the sample where a page does not hold all
_NOT_KEPT = "(texts of this run are not kept: output.texts)"
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
    CHANGED = 1024
    WORDING = 2048
    UNCLEAR = 4096
    BY_ITSELF = 8192
    TOUCHED = 16384
    RESTORED = 32768
    BROKEN = 65536


_TELLING = (
    Flag.ERROR | Flag.RIGHT_TO_WRONG | Flag.WRONG_TO_RIGHT | Flag.WON | Flag.LOST | Flag.CHANGED | Flag.UNCLEAR
    | Flag.BY_ITSELF | Flag.TOUCHED | Flag.RESTORED | Flag.BROKEN
)  # fmt: skip


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

_OF_ANY = ("unparsed", "cut", "over_corrected", "fallback", "error")
CHANGES = (
    Kind("changed", "changed under noise", Flag.CHANGED, tone="wrong"),
    Kind("by_itself", "changed by itself", Flag.BY_ITSELF, tone="note"),
    Kind("wording", "wording only", Flag.WORDING, tone="right"),
    Kind("unclear", "cannot tell", Flag.UNCLEAR, tone="note"),
    Kind("touched", "touched by the repair (as sent)", Flag.TOUCHED, tone="note"),
    Kind("restored", "restored by the repair", Flag.RESTORED, tone="right"),
    Kind("broken", "broken by the repair", Flag.BROKEN, tone="wrong"),
)
"""The kinds of answer to rows without labels, and the labels at their head."""


@dataclass(frozen=True, slots=True)
class ShownCondition:
    """A condition as the page has it: the name in files, the name on screen, whether it is clean, its rate.

    `before` is the place of the condition whose reply is shown beside this one's, where rows have no answers.
    """

    id: str
    label: str
    clean: bool
    rate: float | None
    before: int = -1


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
    held: str = ""
    """A sentence about the answers that the page holds, where it has no room for all."""
    page: int = PAGE

    def as_dict(self) -> dict[str, Any]:
        """Returns the values as JSON has them. The rows are not copied: there can be many."""
        values = {name: getattr(self, name) for name in ("arms", "questions", "texts", "rows", "page")}
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in ("conditions", "kinds", "chips")}
        return values | lists


def browser(samples: Sequence[Sample]) -> Browser:
    """Returns the answers by question, condition, arm and repeat, as a page needs them."""
    cells = Cells(samples)
    without = unlabelled(samples)
    flags_of = _changes(cells) if without else _verdicts(samples)
    places: dict[str, int] = {}
    texts: dict[str, int] = {}
    questions: list[tuple[str, str, str]] = []
    rows = []
    conditions = {name: i for i, name in enumerate(cells.conditions)}
    arms = {arm: i for i, arm in enumerate(cells.arms)}
    shown_samples, held = _most_telling(samples, flags_of)

    def place(sample: Sample) -> tuple[Any, ...]:
        o = sample.outcome
        return o.question_id, conditions[o.condition], pair_key(sample)[1:], arms[o.arm]

    ordered = sorted(shown_samples, key=place)
    for sample in ordered:
        o = sample.outcome
        if o.question_id not in places:
            places[o.question_id] = len(questions)
            asked = _NOT_KEPT if sample.hidden else _cut(sample.question)
            questions.append((o.question_id, asked, o.gold or ""))
        said = "" if sample.hidden else sample.answer
        flags, kinds = flags_of(sample)
        rows.append(
            (
                places[o.question_id],
                conditions[o.condition],
                arms[o.arm],
                -1
                if sample.hidden or sample.text == sample.question
                else texts.setdefault(_cut(sample.text), len(texts)),
                flags,
                o.parsed,
                None if sample.hidden or o.corrected_text is None else _cut(o.corrected_text),
                _cut(said) if said else None,
                _note(sample, kinds),
            )
        )
    shown = tuple(_shown(name, conditions if without else {}) for name in cells.conditions)
    kept = Browser(tuple(cells.arms), shown, tuple(questions), tuple(texts), tuple(rows), held=held)
    if not without:
        return kept
    others = [kind for kind in KINDS if kind.value in _OF_ANY]
    labels = [chip for chip in CHIPS if chip.value in _OF_ANY]
    return replace(kept, kinds=(KINDS[0], *CHANGES, *others), chips=(*CHANGES, *labels))


def _most_telling(samples: Sequence[Sample], flags_of: FlagsOf) -> tuple[Sequence[Sample], str]:
    """Returns the answers that a page has room for, and which they are in words: those to questions whose answers
    differ or failed, then others. Where not all of a kind have room, a seeded sample, the same in any order of them."""
    if len(samples) <= MOST:
        return samples, ""
    asked = Counter(s.outcome.question_id for s in samples)
    telling = {s.outcome.question_id for s in samples if flags_of(s)[0] & int(_TELLING)}
    chosen: set[str] = set()
    room = MOST
    # A number for each question that depends on no other one.
    for question in sorted(asked, key=lambda question: (question not in telling, derive(_SEED, question))):
        if asked[question] <= room:
            chosen.add(question)
            room -= asked[question]
    shown = [s for s in samples if s.outcome.question_id in chosen]
    held = f"This page holds {len(shown):,} of the {len(samples):,} answers of this run"
    if telling <= chosen:
        return shown, f"{held}: all to questions whose answers differ or failed, and a seeded sample of the others"
    part = f"{len(telling & chosen):,} of the {len(telling):,} questions whose answers differ or failed"
    return shown, f"{held}: a seeded sample, {part}"


def _shown(name: str, places: Mapping[str, int]) -> ShownCondition:
    condition = Condition.parse(name)
    before = CLEAN if condition.replicate == 1 else str(condition.once)
    label = name if condition.replicate == 1 else f"{condition.once}, asked again"
    return ShownCondition(name, label, condition.clean, condition.rate, places.get(before, -1) if name != CLEAN else -1)


FlagsOf = Callable[[Sample], tuple[int, Sequence[str]]]
"""The flags of an answer, and the kinds of change."""


def _verdicts(samples: Sequence[Sample]) -> FlagsOf:
    verdicts: dict[tuple[str, str, str | None], dict[PairKey, bool]] = defaultdict(dict)
    for s in samples:
        o = s.outcome
        verdicts[o.arm, o.condition, o.meta.get("holdout")][pair_key(s)] = bool(o.correct)
    return lambda sample: (_flags(sample, verdicts), ())


def _changes(cells: Cells) -> FlagsOf:
    """Returns what finds the flags of answers to rows without labels, by the answers that they are compared with."""
    known = {(c.arm, c.condition): {pair_key(s): s for s in group} for c, group in cells.samples.items()}

    def beside(sample: Sample, arm: str, condition: str) -> Sample | None:
        return nearest(known.get((arm, condition), {}), pair_key(sample))

    def flags_of(sample: Sample) -> tuple[int, Sequence[str]]:
        o, condition = sample.outcome, Condition.parse(sample.outcome.condition)
        flags = Flag(_flags(sample, {})) & ~Flag.RIGHT
        kinds: Sequence[str] = ()
        before = beside(sample, o.arm, CLEAN if condition.replicate == 1 else str(condition.once))
        if before and before is not sample:
            verdict = compared(sample, before)
            kinds = verdict.kinds
            seen = {"wording": Flag.WORDING, "unclear": Flag.UNCLEAR, "facts": Flag.CHANGED}
            again = verdict.changed and condition.replicate > 1
            flags |= Flag.BY_ITSELF if again else seen.get(verdict.verdict, Flag(0))
        sent = beside(sample, STAND, CLEAN)
        if o.arm != STAND and sent and condition.replicate == 1:
            away = compared(sample, sent).changed
            stand = beside(sample, STAND, o.condition)
            if condition.clean:
                flags |= Flag.TOUCHED if away else Flag(0)
            elif stand and away != (turned := compared(stand, sent).changed):
                flags |= Flag.RESTORED if turned else Flag.BROKEN
        return flags, kinds

    return flags_of


Verdicts = Mapping[tuple[str, str, str | None], Mapping[PairKey, bool]]
"""By arm, condition and kind of noise held out, the verdicts by what makes a pair."""


def _flags(sample: Sample, verdicts: Verdicts) -> int:
    o = sample.outcome

    condition, pair = Condition.parse(o.condition), pair_key(sample)
    # What was asked once is paired with every repeat.
    on_clean = nearest(verdicts.get((o.arm, CLEAN, o.meta.get("holdout")), {}), pair) if condition.noisy else None
    stand = nearest(verdicts.get((STAND, o.condition, None), {}), pair) if o.arm != STAND else None
    corrected = o.corrected_text if condition.clean else None
    # Plain sums: enum's own operators take longer than all the rest, and this is asked of every answer.
    flags = int(Flag.RIGHT) if o.correct else 0
    if o.error is not None:
        flags += Flag.ERROR
    elif o.parsed is None:
        flags += Flag.UNPARSED
    if o.cut:
        flags += Flag.CUT
    if on_clean is not None and on_clean != bool(o.correct):
        flags += Flag.RIGHT_TO_WRONG if on_clean else Flag.WRONG_TO_RIGHT
    if corrected is not None and squash(corrected) != squash(sample.question):
        flags += Flag.OVER_CORRECTED
    if stand is not None and stand != bool(o.correct):
        flags += Flag.LOST if stand else Flag.WON
    if o.fallback is not None:
        flags += Flag.FALLBACK
    return flags


def _note(sample: Sample, kinds: Sequence[str]) -> str | None:
    o = sample.outcome
    seed, out = o.meta.get("search_seed"), o.meta.get("holdout")
    parts = [
        f"differs in {', '.join(kinds)}" if kinds else None,
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
