"""The page on which a person labels: one row with two of its answers, and nothing of where they come from."""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.measure.answers import WRONG, Pair
from llmkit.measure.compared import failed
from llmkit.report import html
from llmkit.runs.samples import Sample
from llmkit.tasks import recorded_kind
from llmkit.tasks.text import normalise
from llmkit.terminal import visible

_STYLES, _SCRIPTS = ("label.css",), ("label.js",)


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One answer as a person sees it: the answer that was read from the reply, if it is not all of it, the reply, and
    a remark. Control characters are visible."""

    answer: str
    reply: str
    remark: str


def shown(sample: Sample, *, unread: bool) -> ShownAnswer:
    """Returns how an answer is shown; `unread` for one that counts as wrong because it could not be read."""
    if failed(sample):
        return ShownAnswer("", "", "No reply: the call failed, which counts as wrong.")
    said = visible(sample.answer)
    if unread:
        return ShownAnswer("", said, "No answer could be read from this reply, which counts as wrong.")
    parsed, kind = sample.outcome.parsed or "", recorded_kind(sample.kind, None, sample.options)
    is_part = kind.exact and normalise(parsed) != normalise(said)
    return ShownAnswer(visible(kind.label(parsed)) if is_part else "", said, "")


def shown_pair(pair: Pair) -> tuple[ShownAnswer, ShownAnswer]:
    """Returns how the two answers of a pair are shown, in their order."""
    answers = zip(pair.answers, pair.groups, strict=True)
    first, second = (shown(sample, unread=group <= WRONG) for sample, group in answers)
    return first, second


def page(pair: Pair | None, done: int, of: int, title: str) -> str:
    """Returns the page of the pair that comes after `done` of `of` pairs; where there is none, the last page."""
    values = {"text": visible(pair.row.text) if pair else "", "answers": shown_pair(pair) if pair else ()}
    return html.render(
        "label.html", title=title, styles=_STYLES, scripts=_SCRIPTS, form="'self'", done=done, of=of, **values
    )


def policy() -> str:
    """Returns the content security policy of the page, which its server also sends as a header."""
    return html.policy(_STYLES, _SCRIPTS, form="'self'")
