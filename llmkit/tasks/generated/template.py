"""Word-problem templates: text with gaps, numbers drawn for them, and the worked steps that give the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from llmkit.tasks import numbers
from llmkit.tasks.base import Item
from llmkit.tasks.generated.words import MEN, THINGS, WOMEN

Draw = tuple[int, int] | tuple[int, int, Decimal] | list[int]
"""How a number is drawn: from low to high, in steps of a third value (1 by default), or from a list."""

QUARTER = Decimal("0.25")
HALF = Decimal("0.5")

_TRIES = 2000
_LARGEST = 20_000
_GAP = re.compile(r"(\$?)\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_PRONOUNS = {"she": ("she", "her", "her", "herself"), "he": ("he", "him", "his", "himself")}


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of word problem. Its level is its number of steps, each one operation on two numbers.

    `text` has gaps ({name}, {he}, {things}, {a}) and alternatives ([one|other]). A step is the name of its value, its
    operation ("a - b", "half / 2", "p% of a") and a sentence where the value's gap shows the whole equation.
    """

    id: str
    text: str
    draws: Mapping[str, Draw]
    steps: Sequence[tuple[str, str, str]]
    things: str = "small"
    decimals: int = 0
    """Decimals that a step's value may have."""

    @property
    def level(self) -> int:
        return len(self.steps)

    def fill(self, rng: Random) -> Item:
        """Returns a question from this template; numbers are drawn until every step's value is plausible."""
        words = _words(rng, self.things)
        text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), self.text)
        for _ in range(_TRIES):
            values = {name: _draw(rng, draw) for name, draw in self.draws.items()}
            equations = {name: _work(operation, name, values) for name, operation, _ in self.steps}
            if all(self._plausible(values[name]) for name in equations):
                break
        else:
            raise ValueError(f"template {self.id}: no plausible numbers in {_TRIES} tries")
        gold = numbers.write(values[self.steps[-1][0]])
        worked = [_fill(sentence, words | equations, values) for _, _, sentence in self.steps]
        solution = " ".join([*worked, f"The answer is {gold}."])
        meta = {"template": self.id, "level": self.level, "solution": solution}
        return Item(_fill(text, words, values), gold, group=self.id, meta=meta)

    def _plausible(self, value: Decimal) -> bool:
        """Returns whether a value suits a story: large enough for a plural, not too large, and no long decimal."""
        return 2 <= value <= _LARGEST and value == round(value, self.decimals)


def _draw(rng: Random, draw: Draw) -> Decimal:
    if isinstance(draw, list):
        return Decimal(rng.choice(draw))
    low, high = draw[:2]
    step = draw[2] if len(draw) == 3 else Decimal(1)
    return low + step * rng.randint(0, int((high - low) / step))


def _work(operation: str, name: str, values: dict[str, Decimal]) -> str:
    """Does one step, notes its value under `name`, and returns it as an equation."""
    left, sign, right = operation.split()
    a, b = (values[side.rstrip("%")] if side.rstrip("%") in values else Decimal(side) for side in (left, right))
    match sign:
        case "+":
            value = a + b
        case "-":
            value = a - b
        case "*":
            value = a * b
        case "/":
            value = a / b
        case "of":
            value = a * b / 100
    values[name] = value
    return f"{numbers.write(a)}{'%' if sign == 'of' else ''} {sign} {numbers.write(b)} = {numbers.write(value)}"


def _words(rng: Random, things: str) -> dict[str, str]:
    people = rng.sample([(name, "she") for name in WOMEN] + [(name, "he") for name in MEN], 3)
    words = {}
    for suffix, (name, he) in zip(("", "2", "3"), people, strict=True):
        forms = zip(("he", "him", "his", "himself"), _PRONOUNS[he], strict=True)
        for gap, word in [("name", name), *forms]:
            words[gap + suffix] = word
            words[gap.capitalize() + suffix] = word.capitalize()
    for suffix, (one, many) in zip(("", "2"), rng.sample(THINGS[things], 2), strict=True):
        words["thing" + suffix], words["things" + suffix] = one, many
    return words


def _fill(text: str, words: Mapping[str, str], values: Mapping[str, Decimal]) -> str:
    """Fills the gaps; a price after `$` that is no whole number has two decimals."""

    def gap(match: re.Match[str]) -> str:
        dollar, name = match[1], match[2]
        if name in words:
            return dollar + words[name]
        value = values[name]
        return dollar + (f"{value:.2f}" if dollar and value != value.to_integral() else numbers.write(value))

    return _GAP.sub(gap, text)
