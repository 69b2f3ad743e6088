"""Conditions: what a question is asked under, and the only reader and writer of their names.

Files and tables name a condition by a string ("clean", "ec", "ec@0.3", "clean#2"); what a set of instructions was
tuned on is named in the same way ("pooled", "ec", "all but ec").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from llmkit.types import CLEAN

POOLED = "pooled"  # all kinds of noise together
_HELD_OUT = "all but "
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_REPLICATE = re.compile(r"[2-9]|[1-9]\d{1,5}")
_CALLED = re.compile(rf"(\w+)\(({_NUMBER.pattern})\)")  # chars(4)


@dataclass(frozen=True)
class Condition:
    """One condition. `str` gives its name, `parse` reads it.

    `spec` is what `llmkit perturb --op` takes ("ec", "chars:4", "mix(ec,sc)"), or "clean", or "pooled". `rate` is the
    share of words to change, where the recipe asks for several rates. `replicate` numbers repeats of the same text,
    which measure what changes by itself. `held_out` is the kind of noise that was left out of a pool.

    >>> Condition.parse("ec@0.3")
    Condition(spec='ec', rate=0.3, replicate=1, held_out=None)
    >>> str(Condition("clean", replicate=2)), str(Condition("ec", 0.3, 2)), str(Condition("pooled", held_out="ec"))
    ('clean#2', 'ec@0.3#2', 'all but ec')
    """

    spec: str
    rate: float | None = None
    replicate: int = 1
    held_out: str | None = None

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(name: str) -> Condition:
        """Returns the condition that a name stands for. Every string is the name of one."""
        if name.startswith(_HELD_OUT):
            return Condition(POOLED, held_out=name.removeprefix(_HELD_OUT))
        once, mark, number = name.rpartition("#")
        # As above: "clean#02" would be written otherwise, so it is a name as it stands.
        if mark and once and _REPLICATE.fullmatch(number) and (first := Condition.parse(once)).replicate == 1:
            return replace(first, replicate=int(number))
        spec, mark, rate = name.rpartition("@")
        # A name whose rate would be written otherwise is a name as it stands: no two names are one condition.
        if mark and spec and _NUMBER.fullmatch(rate) and float(f"{float(rate):g}") == float(rate) < 10:
            return Condition(spec, float(rate))
        return Condition(name)

    def __str__(self) -> str:
        if self.held_out is not None:
            return f"{_HELD_OUT}{self.held_out}"
        rate = "" if self.rate is None else f"@{self.rate:g}"
        return f"{self.spec}{rate}{f'#{self.replicate}' if self.replicate > 1 else ''}"

    @property
    def once(self) -> Condition:
        """The condition itself, where this one repeats it."""
        return replace(self, replicate=1)

    @property
    def again(self) -> Condition:
        """The condition that asks the same texts a second time."""
        return replace(self, replicate=2)

    @property
    def clean(self) -> bool:
        """True where the clean text is asked: once, or again."""
        return self.spec == CLEAN

    @cached_property  # asked for every answer
    def noisy(self) -> bool:
        """True where anything is to be changed, the first time it is asked: neither clean nor at strength 0."""
        return not self.clean and self.replicate == 1 and (self.strength is None or self.strength[1] != 0)

    @property
    def strength(self) -> tuple[str, float] | None:
        """The operator and how strong it is: ("ec", 0.1) for "ec@0.1", ("chars", 4.0) for "chars:4" and "chars(4)".

        None where no strength is stated.
        """
        if self.rate is not None:
            return self.spec, self.rate
        if called := _CALLED.fullmatch(self.spec):
            return called[1], float(called[2])
        operator, mark, number = self.spec.rpartition(":")
        return (operator, float(number)) if mark and operator and _NUMBER.fullmatch(number) else None


REPLICATE = str(Condition(CLEAN, replicate=2))
"""The condition that asks every clean question a second time: what differs is the engine's own noise."""
