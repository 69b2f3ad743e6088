"""The tables of what only the page has room for: noise, strengths, held-out kinds, corrections, repeats."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.conditions import Condition
from llmkit.measure import changed
from llmkit.measure.results import Metrics
from llmkit.measure.values import Interval
from llmkit.report.elements import Cell, Column, Table
from llmkit.report.written import count, difference, interval_words, rate

_SHADES = 9


def changes(metrics: Metrics) -> Table | None:
    """Returns how many questions the noise changed, and why it left the others as they were."""
    rows = [
        (
            Cell(condition),
            Cell(count(copies.copies)),
            Cell(count(copies.changed)),
            Cell(f"{copies.share:.3f}", emphasis="bad" if copies.share < changed.FEW else ""),
            Cell(copies.why() or "-"),
        )
        for condition, copies in metrics.noise.items()
    ]
    columns = (*map(Column, ("noise", "questions", "changed", "share")), Column("why not the others", words=True))
    return _table("Questions that the noise changed; the others were asked clean", columns, rows)


def areas(metrics: Metrics) -> Table | None:
    """Returns the area under each strength curve."""
    operators = list(dict.fromkeys(op for arm in metrics.arms.values() for op in arm.curves))
    rows = [
        (Cell(f"{operator}, {name}"), rate(arm.curves[operator].area))
        for operator in operators
        for name, arm in metrics.arms.items()
        if operator in arm.curves and arm.curves[operator].area
    ]
    columns = (Column("operator, arm"), Column("area under curve"))
    return _table("Area under the strength curves", columns, rows)


def held_out(metrics: Metrics, name: str) -> Table | None:
    """Returns an arm's gain by the kind of noise left out of tuning and the kind asked."""
    gains = metrics.arms[name].holdout
    noisy = [c for c in metrics.conditions if not Condition.parse(c).clean]
    places = {kind: next((i for i, c in enumerate(noisy) if _of_kind(c, kind)), len(noisy)) for kind in gains}
    kinds = sorted(gains, key=lambda kind: places[kind])
    columns = [c for c in noisy if any(c in gains[kind] for kind in kinds)]
    reach = max([0.01, *(abs(gain.value) for row in gains.values() for gain in row.values())])
    rows = []
    for kind in kinds:
        cells = []
        for condition in columns:
            gain = gains[kind].get(condition)
            if gain is None:
                cells.append(difference(None))
                continue
            unseen = _of_kind(condition, kind)
            ends = difference(gain).span
            text, shade = f"{gain.value:+.3f}{' ◦' if unseen else ''}", round(_SHADES * gain.value / reach)
            hint = "never seen in tuning" if unseen else ""
            cells.append(Cell(text, ends, emphasis="best" if unseen else "", hint=hint, shade=shade))
        rows.append((Cell(f"without {kind}"), *cells))
    title = (
        f"{name}: gain over stand, by the kind left out of tuning (row) and the kind asked (column); ◦ was never seen"
    )
    return _table(title, (Column("tuned"), *(Column(c, interval="below") for c in columns)), rows)


def _of_kind(condition: str, kind: str) -> bool:
    return kind in (condition, Condition.parse(condition).spec)


def corrections(metrics: Metrics) -> Table | None:
    """Returns how well the correction of each arm restores noisy questions."""
    qualities = [(name, c, quality) for name, arm in metrics.arms.items() for c, quality in arm.correction.items()]
    options = any(quality.options_kept for _, _, quality in qualities)
    rows = []
    for name, condition, quality in qualities:
        worse = quality.cer_after > quality.cer_before
        unused = ", ".join(f"{why}: {n}" for why, n in quality.fallback.items())
        rows.append(
            (
                Cell(f"{name}, {condition}"),
                Cell(f"{quality.cer_before:.3f}"),
                Cell(f"{quality.cer_after:.3f}", emphasis="bad" if worse else ""),
                rate(quality.restored),
                rate(quality.numbers_kept),
                *([rate(quality.options_kept)] if options else []),
                _bare(quality.answered_instead),
                _bare(quality.refused),
                Cell(count(sum(quality.fallback.values())), hint=unused),
            )
        )
    before = ("arm, noise", "CER before", "CER after", "restored exactly", "numbers kept")
    after = ("answered instead", "refused", "not used")
    names = (*before, *(["options kept"] if options else []), *after)
    return _table("Restoration of noisy questions", tuple(map(Column, names)), rows)


def _bare(measured: Interval | None) -> Cell:
    """Returns a share with its interval on demand."""
    return Cell(f"{measured.value:.3f}", hint=interval_words(measured)) if measured else Cell("-", emphasis="muted")


def over_corrections(metrics: Metrics) -> Table | None:
    """Returns what each arm's correction does to clean questions."""
    rows = [
        (
            Cell(name),
            rate(arm.over_correction.altered),
            rate(arm.over_correction.numbers_altered),
            difference(arm.clean_drop),
        )
        for name, arm in metrics.arms.items()
        if arm.over_correction
    ]
    names = ("arm", "clean questions altered", "their numbers altered", "accuracy lost on clean")
    return _table("Over-correction of clean questions", tuple(map(Column, names)), rows)


def noise_floor(metrics: Metrics) -> Table | None:
    """Returns how much the engine's answers differ from themselves."""
    rows = [
        (Cell(name), Cell(count(floor.n)), rate(floor.verdict_differs), rate(floor.answer_differs))
        for name, floor in metrics.noise_floor.items()
    ]
    names = ("arm", "clean questions asked twice", "verdict differs", "answer differs")
    return _table("Noise floor of the engine", tuple(map(Column, names)), rows)


def repeats(metrics: Metrics) -> Table | None:
    """Returns the spread over noise draws and over searches."""
    rows = [
        (
            Cell(f"{name}, {condition}"),
            Cell(kind),
            Cell(", ".join(f"{accuracy:.3f}" for accuracy in repeat.accuracy)),
            Cell(f"{repeat.sd:.4f}"),
            Cell("" if repeats_of.sampling_se_of_drop is None else f"{repeats_of.sampling_se_of_drop:.4f}"),
        )
        for name, arm in metrics.arms.items()
        for condition, repeats_of in arm.repeats.items()
        for kind, repeat in (("noise draws", repeats_of.draws), ("search seeds", repeats_of.search_seeds))
        if repeat
    ]
    names = ("arm, noise", "repeats of", "accuracy of each", "standard deviation", "sampling error of the loss")
    return _table("Repeats, apart from sampling error", tuple(map(Column, names)), rows)


def _table(title: str, columns: tuple[Column, ...], rows: Sequence[tuple[Cell, ...]]) -> Table | None:
    return Table(title, columns, tuple(rows)) if rows else None
