"""A shadow log in numbers: how often the gate fired, which answers changed, and how much changes by itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.measure.bounds import one_sided
from llmkit.measure.statistics import wilson
from llmkit.parsing import JsonObject, parse_json
from llmkit.proxy.shadow import FORM
from llmkit.tasks.comparing import CHANGES
from llmkit.terminal import json_text


@dataclass
class Summary:
    """The counts of a log. `compared` and `floor` count verdicts of requests whose texts were repaired, and of those
    that were asked twice as sent."""

    begun: list[JsonObject] = field(default_factory=list)
    """The first lines, one for each time that a proxy began to write."""
    requests: int = 0
    fired: int = 0
    first: str = ""
    last: str = ""
    detectors: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of repairs that failed."""
    compared: Counter[str] = field(default_factory=Counter)
    floor: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    added_ms: list[float] = field(default_factory=list)
    torn: int = 0
    """Lines that were being written when a proxy died."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Counts one request."""
        self.requests += 1
        self.first, self.last = self.first or line["when"], line["when"]
        self.fired += bool(line["fired"])
        self.actions[line["action"]] += 1
        if line.get("reason"):
            self.reasons[line["reason"]] += 1
        self.added_ms.append(float(line["added_ms"]))
        if line["fired"]:
            self.detectors[line["detector"] or "none"] += 1
        if line["asked"] == "repaired":
            self.compared[line["verdict"]] += 1
            self.kinds.update(line["kinds"])
        elif line["asked"] == "same":
            self.floor[line["verdict"]] += 1

    @property
    def harm_at_most(self) -> float:
        """The upper end, at 95 %, of the share of requests whose answer the repair changes; what could not be compared
        counts as changed."""
        if not self.requests:
            return 1.0
        return one_sided(self.compared["facts"] + _open(self.compared), self.requests)[1]

    def percentile(self, share: float) -> float:
        """Returns the milliseconds that so many of the requests do not exceed."""
        ranked = sorted(self.added_ms)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan

    def json(self) -> JsonObject:
        """Returns the counts and what follows from them."""
        counts = {key: value for key, value in asdict(self).items() if key != "added_ms"}
        ends = {"harm_at_most": self.harm_at_most} if self.requests else {}
        added = {f"p{p}": self.percentile(p / 100) for p in (50, 95, 99)} if self.requests else {}
        return {**counts, **ends, "added_ms": added}


def read(path: Path) -> Summary:
    """Returns the counts of a log. DataError, with its line, for a file that is none."""
    summary = Summary()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                _take(summary, line, f"{path}:{number}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", "`llmkit proxy --mode shadow` writes it") from None
    if not summary.begun:
        raise DataError(f"{path}: is no shadow log", "`llmkit proxy --mode shadow --log FILE` writes one")
    return summary


def _take(summary: Summary, line: bytes, place: str) -> None:
    try:
        if not line.endswith(b"\n"):
            raise ValueError("is cut")
        value = parse_json(line.decode("utf-8"))
        if value.get("shadow") is None:
            summary.take(value)
        elif value["shadow"] > FORM:
            raise DataError(f"{place}: is of a newer llmkit", "update llmkit")
        else:
            summary.begun.append(value)
    except (ValueError, LookupError, TypeError, AttributeError):
        if summary.begun:  # a process that dies leaves half a line, and the next one goes on behind it
            summary.torn += 1
            return
        raise DataError(f"{place}: is no line of a shadow log", "`llmkit proxy --mode shadow` writes one") from None


def changed(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields a text, the answer to it as sent and that to its repair, wherever those differ or no rule can tell.

    UsageError where the log does not hold them, DataError for a file that is no log.
    """
    if not any(line["texts"] for line in read(path).begun):
        raise UsageError(f"{path} holds no texts, so nobody can read them", "llmkit proxy --mode shadow --texts")
    with path.open("rb") as file:
        for line in file:
            with suppress(ValueError, LookupError, TypeError, AttributeError):  # counted by `read`
                value = parse_json(line.decode("utf-8"))
                if value["asked"] == "repaired" and value["verdict"] in ("facts", "unclear"):
                    first, second = map(_written, value["answers"])
                    yield str(value["sent"]), first, second


def _written(answer: Any) -> str:
    return answer if isinstance(answer, str) else json_text(answer)


def lines(summary: Summary, name: str) -> Iterator[tuple[str, str]]:
    """Yields the facts of a log as (name, value)."""
    repairs = dict.fromkeys(f"{line['chain']}: {line['guarantee']}" for line in summary.begun)
    yield (
        "log",
        f"{name}: {_many(summary.requests, 'request')}"
        + (f", {summary.first} to {summary.last}" if summary.requests else ""),
    )
    for words in repairs:
        yield "repair", words
    if not summary.requests:
        return
    yield "fired", _share(summary.fired, summary.requests) + _listed(summary.detectors)
    if failed := summary.actions["failed"]:
        words = f"{_share(failed, summary.requests)} passed as they came, because the repair failed"
        yield "failed", words + _listed(summary.reasons)
    yield "changed", _changed(summary.compared, "repaired requests", "answers changed")
    if summary.kinds:
        yield (
            "",
            ", ".join(f"{summary.kinds[kind]:,} {words}" for kind, words in CHANGES.items() if summary.kinds[kind]),
        )
    yield (
        "",
        (
            f"at most {_percent(summary.harm_at_most)} of all requests get another answer (95 %"
            f"{', those not comparable counted as changed' if _open(summary.compared) else ''})"
        ),
    )
    yield "floor", _changed(summary.floor, "unfired requests, asked twice as sent", "changed by themselves")
    p50, p95, p99 = (summary.percentile(share) for share in (0.5, 0.95, 0.99))
    yield "added", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms to look at a request's texts"
    if summary.torn:
        yield "torn", f"{_many(summary.torn, 'line')} cut off when a proxy died"
    yield "", "Not known: whether a changed answer is better or worse. A person has to look at both."


def render(summary: Summary, name: str) -> str:
    """Returns a log as plain text of several lines."""
    facts = list(lines(summary, name))
    width = max(len(title) for title, _ in facts)
    return "\n".join(f"{title:<{width}}  {' '.join(value.split())}" for title, value in facts)


def _listed(counts: Counter[str]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f": {listed}" if listed else ""


def _changed(verdicts: Mapping[str, int], of: str, words: str) -> str:
    total = sum(verdicts.values())
    if not total:
        return f"nothing compared: no {of}"
    known = total - _open(verdicts)
    text = f"{_share(verdicts.get('facts', 0), known)} {words}" if known else f"of {total:,} {of} none can be compared"
    if verdicts.get("wording"):
        text += f", {verdicts['wording']:,} in wording only"
    missing = [f"{verdicts[key]:,} {words_of}" for key, words_of in _NOT_COMPARABLE.items() if verdicts.get(key)]
    return f"{text}; not comparable: {', '.join(missing)}" if missing else text


_NOT_COMPARABLE = {"unclear": "free text that no rule decides", "failed": "without a whole answer"}


def _open(verdicts: Mapping[str, int]) -> int:
    return sum(verdicts.get(key, 0) for key in _NOT_COMPARABLE)


def _share(part: int, whole: int) -> str:
    low, high = wilson(part, whole)
    return f"{part:,} of {whole:,} ({_percent(part / whole)} [{_digits(100 * low)}, {_digits(100 * high)}])"


def _percent(share: float) -> str:
    return f"{_digits(100 * share)} %"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
