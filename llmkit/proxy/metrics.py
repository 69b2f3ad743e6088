"""Counts and a histogram of what the proxy did, in the text form of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

_EDGES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)  # seconds

_HELP = {
    "requests": "Requests by endpoint and the status that the client got.",
    "repairs": "User texts by what was done to them.",
    "fired": "User texts on which the gate fired, by detector.",
    "failures": "User texts that passed as they came because a repair failed, by reason.",
    "skipped": "Requests with user texts that were not looked at, by reason.",
    "upstream_errors": "Requests that the upstream did not answer whole, by reason.",
    "refused": "Requests that the proxy refused by itself, by reason.",
    "shadow": "Answers that were asked twice in shadow mode, by the verdict on both.",
}
_LABELS = {
    "requests": ("endpoint", "status"),
    "repairs": ("action",),
    "fired": ("detector",),
    "failures": ("reason",),
    "skipped": ("reason",),
    "upstream_errors": ("reason",),
    "refused": ("reason",),
    "shadow": ("asked", "verdict"),
}


class Metrics:
    """The counts of one proxy. Names and labels are ours, never a client's, so that their number is bounded."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._added = [0] * (len(_EDGES) + 1)
        self._added_sum = 0.0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """Name -> help and the function that gives the value now."""

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Counts something under the values of its labels."""
        self._counts[(name, *labels)] += by

    def total(self, name: str, *labels: str) -> int:
        """Returns a count."""
        return self._counts[(name, *labels)]

    def added(self, seconds: float) -> None:
        """Notes the time that the proxy took before a request went on."""
        self._added[bisect_left(_EDGES, seconds)] += 1
        self._added_sum += seconds

    def text(self) -> str:
        """Returns all of it, one line a value."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, words in _HELP.items():
            yield from _head(f"{name}_total", words, "counter")
            for (counted, *labels), value in sorted(self._counts.items()):
                if counted == name:
                    yield f"llmkit_proxy_{name}_total{_braced(dict(zip(_LABELS[name], labels, strict=True)))} {value}"
        yield from _head("added_seconds", "Time before a request of a user went on to the upstream.", "histogram")
        below = 0
        for edge, value in zip((*map(str, _EDGES), "+Inf"), self._added, strict=True):
            below += value
            yield f'llmkit_proxy_added_seconds_bucket{{le="{edge}"}} {below}'
        yield f"llmkit_proxy_added_seconds_sum {self._added_sum:.6f}"
        yield f"llmkit_proxy_added_seconds_count {below}"
        for name, (words, value_now) in self.gauges.items():
            yield from _head(name, words, "gauge")
            yield f"llmkit_proxy_{name} {value_now():g}"


def _head(name: str, words: str, kind: str) -> Iterator[str]:
    yield f"# HELP llmkit_proxy_{name} {words}"
    yield f"# TYPE llmkit_proxy_{name} {kind}"


def _braced(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
