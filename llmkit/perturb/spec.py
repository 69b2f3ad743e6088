"""What is asked for by name: `ec`, `chars(4)`, `file:PATH`, compositions `ec+uic`, mixtures `mix(ec:0.7,sc:0.3)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.errors import UsageError
from llmkit.perturb.base import OPERATORS, Operator, weighted
from llmkit.perturb.either import Either, located

_TAKES_A_PATH = ("file:", "natural:")  # "+" may be part of a path
_LEAST_SHARE = 1e-6
_EXAMPLE = "write e.g. `mix(ec:0.7,sc:0.3)`"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NUMBERED = re.compile(rf"(.+):{_NUMBER.pattern}|(\w+)\({_NUMBER.pattern}\)")  # chars:4, chars(4)


class Chain(tuple[Operator, ...]):
    """Operators that are applied one after the other, and what holds for all or any of them."""

    def __init__(self, _: Iterable[Operator]) -> None:
        self.protects = all(op.protects for op in self)
        self.adds_numbers = any(op.adds_numbers for op in self)
        self.changes_numbers = any(op.changes_numbers for op in self)


@dataclass(frozen=True)
class Mixture:
    """One of several chains of operators per item, drawn by weight."""

    chains: tuple[Chain, ...]
    weights: tuple[float, ...]

    def as_paper(self) -> Mixture:
        """The same with each operator as it is at `--rate paper`."""
        return Mixture(tuple(Chain(op.as_paper() for op in chain) for chain in self.chains), self.weights)

    def draw(self, rng: Random) -> Chain:
        """The chain for one item; a single one costs no random number."""
        if len(self.chains) == 1:
            return self.chains[0]
        return self.chains[weighted(dict(enumerate(self.weights)), rng)]


def split(specs: str, at: str = ",") -> list[str]:
    """A list of specs, parted at commas outside brackets.

    >>> split("ec, mix(ec:0.7,sc:0.3), chars(4)")
    ['ec', 'mix(ec:0.7,sc:0.3)', 'chars(4)']
    """
    parts, depth = [""], 0
    for char in specs:
        depth += (char == "(") - (char == ")")
        if char == at and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def parse_spec(spec: str, data_dir: str | None = None) -> Mixture:
    """The operators of a spec, ready to use. Files are looked for below `data_dir`, too."""
    spec = spec.strip()
    if not (spec.startswith("mix(") and spec.endswith(")")):
        return Mixture((_chain(spec, data_dir),), (1.0,))
    chains, weights = [], []
    for part in split(spec[4:-1]):
        name, colon, weight = part.rpartition(":")
        try:
            weights.append(float(weight) if colon else 1.0)
        except ValueError:
            name, colon = part, ""
            weights.append(1.0)
        chains.append(_chain(name if colon else part, data_dir))
    if any(op.most_calls for chain in chains for op in chain):
        raise UsageError(f"`{spec}`: an operator that asks a model stands alone", "make two files and mix their lines")
    if not chains:
        raise UsageError(f"`{spec}` mixes nothing", _EXAMPLE)
    # The negation also refuses nan, and the share refuses weights so unequal that one operator would never be drawn.
    total = sum(weights)
    if not all(weight > 0 and weight / total >= _LEAST_SHARE for weight in weights):
        raise UsageError(
            f"`{spec}`: every weight must be finite and above 0, and at least a millionth of the sum", _EXAMPLE
        )
    return Mixture(tuple(chains), tuple(weights))


def _chain(spec: str, data_dir: str | None) -> Chain:
    parts = [spec] if spec.startswith(_TAKES_A_PATH) else split(spec, "+")
    if not parts:
        raise UsageError("an empty operator", "`llmkit perturb --list` names them")
    chain = Chain(_operator(part, data_dir) for part in parts)
    if len(chain) > 1 and any(op.most_calls for op in chain):
        raise UsageError(
            f"`{spec}`: an operator that asks a model stands alone", "pipe one `llmkit perturb` into another"
        )
    return chain


def _operator(spec: str, data_dir: str | None) -> Operator:
    if spec.startswith(_TAKES_A_PATH):
        name, _, path = spec.partition(":")
        path, bar, other = path.partition("|")
        where = located(path, data_dir)
        if not bar:
            return OPERATORS[name](str(where))
        first = OPERATORS[name](str(where)) if where.exists() else None  # with a second operator the file is optional
        return Either(first, _operator(other, data_dir))
    name, colon, argument = spec.partition(":")
    if spec.endswith(")") and (not colon or "(" in name):
        name, _, argument = spec[:-1].partition("(")
    return OPERATORS[name.strip()](argument.strip() or None)


def spec_names(specs: str | Sequence[str]) -> list[str]:
    """Specs as given on a command line or in a recipe, one per condition. A number repeats the operator before it.

    >>> names("ec,chars:1,4,7")
    ['ec', 'chars:1', 'chars:4', 'chars:7']
    """
    found: list[str] = []
    for given in [specs] if isinstance(specs, str) else specs:
        operator = ""
        for name in split(given):
            if operator and _NUMBER.fullmatch(name):
                name = f"{operator}:{name}"
            numbered = _NUMBERED.fullmatch(name)
            operator = (numbered[1] or numbered[2]) if numbered else ""
            found.append(name)
    return found
