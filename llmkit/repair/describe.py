"""A repair in words, for people: its chain and gate, its guarantee, gain and cost."""

from __future__ import annotations

from collections.abc import Iterator

from llmkit.repair.base import CORRECTORS
from llmkit.repair.document import Guarantee, RepairFile
from llmkit.terminal import visible

_HARM = {
    "changed": "of clean texts get another answer",
    "worse": "of all texts get a worse answer",
    "worse_of_clean": "of clean texts get a worse answer",
    "changed_of_all": "of all texts, noisy ones included, get another answer",
}
_SHOWN = 12  # powers of ten that are written out


def guarantee(document: RepairFile, void: str | None = None) -> str:
    """Returns the guarantee in a sentence, or "no guarantee: ..." with the reason. `void` is the reason why it does not
    apply."""
    if document.guarantee is None:
        return f"no guarantee: {'the gate' if document.gate else 'it has no gate and'} was not calibrated"
    if reasons := [*([void] if void else []), *document.doubts()]:
        return f"guarantee void: {'; '.join(reasons)}"
    return _bound(document.guarantee)


def claim(bound: Guarantee) -> str:
    """Returns the claim of a guarantee, without its evidence."""
    return (
        f"at most {_percent(bound.harm)} {_HARM[bound.definition]} because of this repair "
        f"({bound.confidence:.0%} confidence)"
    )


def _bound(bound: Guarantee) -> str:
    sentence = (
        f"{claim(bound)}: the gate fired on {bound.fired:,} of {bound.rows:,} rows and "
        f"{bound.harmed:,} were harmed, {_percent(bound.upper)} at most ({bound.date})"
    )
    if bound.reported_rows:
        sentence += (
            f"; on {bound.reported_rows:,} other rows it fired on {bound.reported_fired:,} and harmed "
            f"{bound.reported_harmed:,}"
        )
    return sentence


def lines(document: RepairFile, void: str | None = None) -> Iterator[tuple[str, str]]:
    """Yields the facts of a repair as (name, value); facts that it lacks are left out."""
    yield "chain", f"{document.chain} ({cost(document.chain)})"
    if document.instruction:
        yield "instruction", document.instruction
    if document.shots:
        yield "examples", f"{len(document.shots)} with each request"
    if document.provenance:
        yield "from", ", ".join(f"{name} {value}" for name, value in document.provenance.items())
    yield "gate", gate(document)
    if document.where is not None:
        yield "where", f"{document.where} (only this part of a turn is looked at)"
    yield "guarantee", guarantee(document, void)
    if document.model:
        identity = {name: value for name, value in document.model.model_dump().items() if value}
        yield "model", ", ".join([identity.pop("model"), *(f"{name} {value}" for name, value in identity.items())])
    yield "digest", document.digest or "none: written by hand"


def cost(chain: str) -> str:
    """Returns the price of a chain for one text: "no call", or that of the correctors that ask."""
    asking = [CORRECTORS[name].cost for name in chain.split("+") if CORRECTORS[name].asks]
    return ", ".join(asking) or "no call"


def gate(document: RepairFile) -> str:
    """Returns the condition on which the gate fires, in words."""
    if document.gate is None:
        return "none: every text is repaired"
    names = ", ".join(scale.detector for scale in document.gate.scales)
    threshold = document.gate.threshold
    if threshold <= 0:
        return f"fires on every text ({threshold:.3g})"
    often = f"1 in {10.0**threshold:,.0f}" if threshold <= _SHOWN else f"1 in 10^{threshold:.3g}"
    return f"fires where a text is rarer than {often} clean ones by {names or 'no detector'} ({threshold:.3g})"


def render(document: RepairFile, void: str | None = None) -> str:
    """Returns the whole repair as plain text of several lines, safe to print."""
    facts = list(lines(document, void))
    width = max(len(name) for name, _ in facts)
    lines_of_text = [f"{name:<{width}}  {' '.join(value.split())}" for name, value in facts]
    if document.effects:
        lines_of_text += ["", "what it won and cost"]
    for effect in document.effects:
        interval = "" if effect.low is None or effect.high is None else f" [{effect.low:.3f}, {effect.high:.3f}]"
        rows = f", {effect.rows:,} rows" if effect.rows else ""
        # On one line, or a name could pass for a fact of the repair.
        name = " ".join(f"{effect.measure} on {effect.condition}".split())
        lines_of_text.append(f"  {name}: {effect.value:.3f}{interval}{rows}")
    return visible("\n".join(lines_of_text))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
