"""Specs, which name operators: `ec`, `chars(4)`, `file:PATH`, compositions `ec+uic`, mixtures `mix(ec:0.7,sc:0.3)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from llmkit.errors import UsageError
from llmkit.perturb.base import OPERATORS, Operator, weighted
from llmkit.perturb.either import Either, located

_TAKES_A_PATH = ("file:", "natural:", "like:")  # "+" may be part of a path
_LEAST_SHARE = 1e-6
_EXAMPLE = "write e.g. `mix(ec:0.7,sc:0.3)`"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NUMBERED = re.compile(rf"(.+):{_NUMBER.pattern}|(\w+)\({_NUMBER.pattern}\)")  # chars:4, chars(4)


class Chain(tuple[Operator, ...]):
    """Operators that are applied one after the other, and what holds for all or any of them."""

    def __init__(self, _: Iterable[Operator]) -> None:
        self.protects = all(member.protects for member in self)
        self.adds_numbers = any(member.adds_numbers for member in self)
        self.changes_numbers = any(member.changes_numbers for member in self)
        self.fitted = any(member.fitted for member in self)


@dataclass(frozen=True)
class Mixture:
    """One of several chains of operators per item, drawn by weight."""

    chains: tuple[Chain, ...]
    weights: tuple[float, ...]

    def as_paper(self) -> Mixture:
        """Returns the same mixture with each operator as it is at `--rate paper`."""
        return Mixture(tuple(Chain(member.as_paper() for member in chain) for chain in self.chains), self.weights)

    def draw(self, rng: Random) -> Chain:
        """Draws the chain for one item; a single one costs no random number."""
        if len(self.chains) == 1:
            return self.chains[0]
        return self.chains[weighted(dict(enumerate(self.weights)), rng)]


def split(specs: str, separator: str = ",") -> list[str]:
    """Splits a list of specs at commas outside brackets.

    >>> split("ec, mix(ec:0.7,sc:0.3), chars(4)")
    ['ec', 'mix(ec:0.7,sc:0.3)', 'chars(4)']
    """
    parts, bracket_depth = [""], 0
    for char in specs:
        bracket_depth += (char == "(") - (char == ")")
        if char == separator and bracket_depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def parse_spec(spec: str, data_dir: str | None = None) -> Mixture:
    """Returns the operators of a spec, ready to use. Files are looked up below `data_dir`, too."""
    spec = spec.strip()
    if not (spec.startswith("mix(") and spec.endswith(")")):
        return Mixture((_chain(spec, data_dir),), (1.0,))
    chains, weights = [], []
    for part in split(spec[4:-1]):
        weighted_spec, colon, weight = part.rpartition(":")
        try:
            weights.append(float(weight) if colon else 1.0)
        except ValueError:
            weighted_spec, colon = part, ""
            weights.append(1.0)
        chains.append(_chain(weighted_spec if colon else part, data_dir))
    if any(member.most_calls for chain in chains for member in chain):
        raise UsageError(
            f"`{spec}`: an operator that asks a model cannot be mixed with others", "make two files and mix their lines"
        )
    if not chains:
        raise UsageError(f"`{spec}` contains no operator", _EXAMPLE)
    # The negation also refuses nan, and the share refuses weights so unequal that one operator would never be drawn.
    total_weight = sum(weights)
    if not all(weight > 0 and weight / total_weight >= _LEAST_SHARE for weight in weights):
        raise UsageError(
            f"`{spec}`: every weight must be finite and above 0, and at least a millionth of the sum", _EXAMPLE
        )
    return Mixture(tuple(chains), tuple(weights))


def _chain(spec: str, data_dir: str | None) -> Chain:
    operator_specs = [spec] if spec.startswith(_TAKES_A_PATH) else split(spec, "+")
    if not operator_specs:
        raise UsageError("an operator is empty", "`llmkit perturb --list` shows all operators")
    chain = Chain(_operator(operator_spec, data_dir) for operator_spec in operator_specs)
    if len(chain) > 1 and any(member.most_calls for member in chain):
        raise UsageError(
            f"`{spec}`: an operator that asks a model cannot be combined with others",
            "pipe one `llmkit perturb` into another",
        )
    return chain


def _operator(spec: str, data_dir: str | None) -> Operator:
    if spec.startswith(_TAKES_A_PATH):
        name, _, path = spec.partition(":")
        path, bar_sign, other_spec = path.partition("|")
        located_path = located(path, data_dir)
        if not bar_sign:
            return OPERATORS[name](str(located_path))
        # With a second operator the file may be missing.
        from_file = OPERATORS[name](str(located_path)) if located_path.exists() else None
        return Either(from_file, _operator(other_spec, data_dir))
    name, colon, argument = spec.partition(":")
    if spec.endswith(")") and (not colon or "(" in name):
        name, _, argument = spec[:-1].partition("(")
    return OPERATORS[name.strip()](argument.strip() or None)


def spec_names(specs: str | Sequence[str]) -> list[str]:
    """Expands specs as given on a command line or in a recipe into one per condition. A number repeats the operator
    before it.

    >>> spec_names("ec,chars:1,4,7")
    ['ec', 'chars:1', 'chars:4', 'chars:7']
    """
    spec_list: list[str] = []
    for spec_text in [specs] if isinstance(specs, str) else specs:
        last_operator = ""
        for name in split(spec_text):
            if last_operator and _NUMBER.fullmatch(name):
                name = f"{last_operator}:{name}"
            numbered = _NUMBERED.fullmatch(name)
            last_operator = (numbered[1] or numbered[2]) if numbered else ""
            spec_list.append(name)
    return spec_list
