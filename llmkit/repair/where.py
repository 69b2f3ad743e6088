"""`where`: the user's part of a templated turn, found by a regular expression in time that is linear in the turn.

A pattern comes from a file and a turn from anybody; for some pairs Python's `re` takes exponential time. This matcher
tries what `re` tries, in the same order, and never tries the same thing twice (the "bit state" matcher of RE2, Cox
2010), which is why back-references and lookarounds are refused. Single characters are left to `re`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from llmkit.errors import UsageError

GROUP = "text"
MOST_PATTERN = 1_000  # characters
MOST_PARTS = 2_000  # of a compiled pattern, counted repeats written out
MOST_STEPS = 2_000_000  # parts times characters: about a second at worst; a longer turn has no part

_FLAGS = re.compile(r"\(\?([aimsux]+)\)")
_GROUP = re.compile(r"\((?:\?:|\?P<(\w+)>|(?!\?))")
_COUNT = re.compile(r"([*+?])|\{(\d+)\}|\{(\d*),(\d*)\}")
_NO_WIDTH = re.compile(r"[\^$]|\\[AbBZ]")
_ONE = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[^0-9A-Za-z]|[adDfnrsStvwW])"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[()|*+?^$]",
    re.DOTALL,
)


class Part(NamedTuple):
    """The group `text` of a match: `turn[start:end]`."""

    start: int
    end: int


class _Step(NamedTuple):
    """One instruction. `char` and `place` hold a test, `goto` the next instructions, best first."""

    char: re.Pattern[str] | None = None
    place: re.Pattern[str] | None = None
    goto: tuple[int, ...] = ()
    mark: str = ""  # "start" or "end" of the group


class Where:
    """A regular expression with a group `text`. UsageError for one that cannot be read, or that has no such group.

    >>> Where(r"Customer: (?P<text>.*)").find("Hello. Customer: my ordr is late")
    Part(start=17, end=32)
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        if len(pattern) > MOST_PATTERN:
            raise _refused(pattern, f"has more than {MOST_PATTERN:,} characters")
        try:
            compiled = re.compile(pattern)
            if GROUP not in compiled.groupindex:
                raise _refused(pattern, f"has no group `{GROUP}`")
            self._steps = _Compiler(pattern, compiled.flags).steps
        except (re.error, OverflowError) as error:
            raise _refused(pattern, f"is no regular expression: {error}") from None
        except RecursionError:
            raise _refused(pattern, "is nested too deeply") from None

    def find(self, turn: str) -> Part | None:
        """Returns the user's part of a turn, None where the pattern does not match or the turn is too long for it."""
        steps, length = self._steps, len(turn)
        if len(steps) * (length + 1) > MOST_STEPS:
            return None
        seen = bytearray(len(steps) * (length + 1))
        for begin in range(length + 1):
            waiting = [(0, begin, -1, -1)]
            while waiting:
                number, offset, start, end = waiting.pop()
                if number == len(steps):
                    return Part(start, end) if start >= 0 else None
                if seen[number * (length + 1) + offset]:
                    continue
                seen[number * (length + 1) + offset] = 1
                step = steps[number]
                if step.goto:
                    waiting += [(target, offset, start, end) for target in reversed(step.goto)]
                elif step.char:
                    if offset < length and step.char.match(turn, offset):
                        waiting.append((number + 1, offset + 1, start, end))
                elif step.place:
                    if step.place.match(turn, offset):
                        waiting.append((number + 1, offset, start, end))
                elif step.mark == "start":
                    waiting.append((number + 1, offset, offset, end))
                else:
                    waiting.append((number + 1, offset, start, offset))
        return None


def _refused(pattern: str, reason: str) -> UsageError:
    shown = pattern if len(pattern) <= 60 else f"{pattern[:59]}…"
    return UsageError(
        f"`{shown}` {reason}", r"write it like (?s)Question: (?P<text>.*?)\nAnswer; lookarounds are not for this"
    )


class _Node(NamedTuple):
    """A part of a pattern: it writes its steps, several times for a counted repeat."""

    write: Callable[[_Compiler], None]
    can_be_empty: bool


@dataclass
class _Compiler:
    """Reads a pattern that `re` has accepted, and writes its steps."""

    pattern: str
    flags: int

    def __post_init__(self) -> None:
        self.steps: list[_Step] = []
        self.offset = 0
        if written := _FLAGS.match(self.pattern):
            if "x" in written[1]:
                raise _refused(self.pattern, "uses the flag x")
            self.offset = written.end()
        self.flags &= re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL
        self._choice().write(self)

    def write(self, step: _Step) -> None:
        if len(self.steps) >= MOST_PARTS:
            raise _refused(self.pattern, f"has more than {MOST_PARTS:,} parts")
        self.steps.append(step)

    def _taken(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        match = expression.match(self.pattern, self.offset)
        if match:
            self.offset = match.end()
        return match

    def _choice(self) -> _Node:
        branches = [self._sequence()]
        while self.pattern.startswith("|", self.offset):
            self.offset += 1
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else _either(branches)

    def _sequence(self) -> _Node:
        nodes = []
        while self.offset < len(self.pattern) and self.pattern[self.offset] not in "|)":
            nodes.append(self._repeated(self._atom()))

        def write(compiler: _Compiler) -> None:
            for node in nodes:
                node.write(compiler)

        return _Node(write, all(node.can_be_empty for node in nodes))

    def _atom(self) -> _Node:
        if place := self._taken(_NO_WIDTH):
            step = _Step(place=re.compile(place[0], self.flags))
            return _Node(lambda compiler: compiler.write(step), True)
        if group := self._taken(_GROUP):
            inside = self._choice()
            self.offset += 1  # the closing bracket
            return _marked(inside) if group[1] == GROUP else inside
        if char := self._taken(_ONE):
            step = _Step(char=re.compile(char[0] if char[0] != "{" else r"\{", self.flags))
            return _Node(lambda compiler: compiler.write(step), False)
        raise _refused(self.pattern, f"uses `{self.pattern[self.offset : self.offset + 4]}`, which is not for this")

    def _repeated(self, node: _Node) -> _Node:
        count = self._taken(_COUNT)
        if not count:
            return node
        if self.pattern.startswith("+", self.offset):
            raise _refused(self.pattern, "uses a possessive repeat")
        lazy = self.pattern.startswith("?", self.offset)
        self.offset += lazy
        symbol, exactly, least, most = count.groups()
        if symbol:
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[symbol]
        elif exactly:
            low = int(exactly)
            high = low
        else:
            low, high = int(least or 0), int(most) if most else None
        if node.can_be_empty and high != 1:  # matchers disagree on what such a repeat does
            raise _refused(self.pattern, "repeats a part that can be empty")
        return _times(node, low, high, lazy)


def _marked(inside: _Node) -> _Node:
    def write(compiler: _Compiler) -> None:
        compiler.write(_Step(mark="start"))
        inside.write(compiler)
        compiler.write(_Step(mark="end"))

    return _Node(write, inside.can_be_empty)


def _either(branches: list[_Node]) -> _Node:
    def write(compiler: _Compiler) -> None:
        fork = len(compiler.steps)
        compiler.write(_Step())
        starts, ends = [], []
        for branch in branches:
            starts.append(len(compiler.steps))
            branch.write(compiler)
            ends.append(len(compiler.steps))
            compiler.write(_Step())
        compiler.steps[fork] = _Step(goto=tuple(starts))
        for end in ends:
            compiler.steps[end] = _Step(goto=(len(compiler.steps),))

    return _Node(write, any(branch.can_be_empty for branch in branches))


def _times(node: _Node, low: int, high: int | None, lazy: bool) -> _Node:
    def write(compiler: _Compiler) -> None:
        for _ in range(low):
            node.write(compiler)
        forks = []
        for _ in range(1 if high is None else high - low):
            forks.append(len(compiler.steps))
            compiler.write(_Step())
            node.write(compiler)
        if high is None:
            compiler.write(_Step(goto=(forks[0],)))
        after = len(compiler.steps)
        for fork in forks:
            compiler.steps[fork] = _Step(goto=(after, fork + 1) if lazy else (fork + 1, after))

    return _Node(write, low == 0 or node.can_be_empty)
