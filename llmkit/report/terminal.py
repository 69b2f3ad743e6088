"""A run on one screen: accuracy, what each arm wins and costs, gates. At most 100 columns wide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit import terminal
from llmkit.conditions import Condition
from llmkit.measure.cells import NOISY, STAND
from llmkit.measure.doubts import warnings
from llmkit.measure.results import Metrics
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from llmkit.measure.results import GateResult

WIDTH = 100
ABLATION = (STAND, "correct_only", "guide_only", "rop")  # the paper's Table 4: neither stage, one of them, both
_PER_TABLE = 7  # conditions side by side
_FOLDED = 16  # characters; a longer name (`file:PATH`) is folded, so that no number beside it is cut
_VERDICTS = {"pass": "green", "fail": "red", "undecided": "yellow"}


def console(width: int = WIDTH) -> Console:
    """Standard output, `width` columns wide where it is a file or a pipe, so that no table in it is cut."""
    return terminal.console(width)


def summary(metrics: Mapping[str, Any], gates: Sequence[GateResult] = ()) -> Group:
    """The tables of a run, as something Rich can print."""
    from rich.console import Group
    from rich.text import Text

    against = _against_stand(metrics)
    tested = any(row["metric"] == "drop" for row in metrics["holm"])  # losses that the recipe declares to be compared
    losses = _losses(metrics) if tested or not against else []
    tables = [*_accuracy(metrics), *against, *losses, *_ablation(metrics), _cost(metrics)]
    if gates:
        tables.append(_gates(gates))
    spaced = [part for table in tables for part in (table, Text())]
    first = [Text(f"{line}\n", style="bold") for line in headlines(metrics)]
    warned = [Text(f"warning: {line}", style="yellow") for line in warnings(Metrics.read(metrics))]
    return Group(*first, *spaced, *warned, Text("\n".join(_notes(metrics)), style="dim"))


def headlines(metrics: Mapping[str, Any]) -> list[str]:
    """Returns what comes before all numbers: that no repair can be expected of a model that restores nothing."""
    marked = {arm: found["restored"] for arm, found in metrics["arms"].items() if found.get("mark")}
    if not marked:
        return []
    share = max(marked.values())
    return [f"This model cannot correct: under noise it restored {share:.2f} of the errors ({', '.join(marked)})."]


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """Returns what one must know to read the numbers, warnings first."""
    return [f"Warning: {line}." for line in warnings(Metrics.read(metrics))] + _notes(metrics)


def changed_share(metrics: Mapping[str, Any], condition: str) -> str:
    """The share of questions that the noise of a condition changed, as a table shows it; "" where there is none."""
    noise = metrics.get("noise", {})  # older runs did not count
    if condition == NOISY:
        shares = [row["share"] for row in noise.values()]
        return f"{sum(shares) / len(shares):.3f}" if shares else ""
    return f"{noise[condition]['share']:.3f}" if condition in noise else ""


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    n, clusters, percent = metrics["questions"], metrics["clusters"], f"{metrics['level']:.0%}"
    what = f"{n} questions" if clusters == n else f"{n} questions from {clusters} templates"
    lines = [f"{what}; ranges are {percent} intervals; unparsed and failed answers count as wrong."]
    if engine := metrics.get("engine"):
        dtype = f"in {engine['dtype']}" if engine["dtype"] else "in a dtype that its server does not state"
        lines.append(f"Answered by {engine['kind']}, {dtype}.")
    if metrics["chance"]:
        lines.append(f"Guessing would be right on {metrics['chance']:.3f}.")
    if (found := metrics["minimum_detectable_effect"]) and found["value"]:
        lines.append(f"A gain below {found['value']:.3f} would go unseen in more than one of five such runs.")
    for arm, floor in metrics["noise_floor"].items():
        if arm == STAND:
            share = floor["verdict_differs"]
            lines.append(f"Noise floor: asked twice, {share['value']:.3f} ({_span(share)}) of clean verdicts differ.")
    return lines + _one_source(metrics)


def _one_source(metrics: Mapping[str, Any]) -> list[str]:
    """A line for each arm that repairs from the very table that a kind of noise was drawn from."""
    from llmkit.perturb import OPERATORS
    from llmkit.rop import ARMS

    lines = []
    for arm in metrics["arms"]:
        name = arm.rpartition("/")[2]  # of several runs side by side
        resource = ARMS[name].resource if name in ARMS else ""
        ours = {op for op in OPERATORS if resource and OPERATORS[op].resource == resource}
        # What a file holds was drawn elsewhere; behind a bar stands the operator for what the file does not have.
        shared = [
            c for c in metrics["conditions"] if ours.intersection(re.findall(r"\w+", re.sub(r"file:[^|]*", "", c)))
        ]
        if shared:
            files = ", pairs from a file aside" if any("file:" in c for c in shared) else ""
            what = f"{arm} repairs {', '.join(shared)} from the table that this noise is drawn from ({resource}{files})"
            lines.append(f"{what}: the best case, not what it does to other look-alikes.")
    return lines


def _accuracy(metrics: Mapping[str, Any]) -> list[Table]:
    conditions = [c for c in metrics["conditions"] if c == CLEAN or not Condition.parse(c).clean]
    if sum(Condition.parse(c).noisy for c in conditions) > 1:
        conditions.append(NOISY)
    tables = []
    for start in range(0, len(conditions), _PER_TABLE):
        shown = conditions[start : start + _PER_TABLE]
        table = _table("Accuracy" if not start else "Accuracy, continued", "arm", *shown)
        for arm, found in metrics["arms"].items():
            cells = [found["conditions"].get(c, {}).get("accuracy") for c in shown]
            table.add_row(
                _marked(arm, found), *(f"{c['value']:.3f}\n[dim]{_span(c)}[/dim]" if c else "" for c in cells)
            )
        if any(shares := [changed_share(metrics, c) for c in shown]):
            table.add_section()
            table.add_row("questions changed", *shares, style="dim")
        tables.append(table)
    return tables


def _against_stand(metrics: Mapping[str, Any]) -> list[Table]:
    arms = {arm: found for arm, found in metrics["arms"].items() if found.get("gain") or found.get("clean_drop")}
    if not arms:
        return []
    share = changed_share(metrics, NOISY)
    title = f"Against stand (noise changed {share} of the questions)" if share else "Against stand"
    table = _table(title, "arm", "gain under noise", "recovery", "harm to clean", "clean altered")
    adjusted = _adjusted(metrics)
    for arm, found in arms.items():
        p = adjusted.get(("clean_drop", arm, CLEAN))
        over = (found.get("over_correction") or {}).get("altered")
        table.add_row(
            _marked(arm, found, 14),
            _signed(found.get("gain", {}).get(NOISY)),
            _signed(found.get("recovery", {}).get(NOISY), plus=False),
            _signed(found.get("clean_drop")) + ("" if p is None else f"\n[dim]p, Holm {_p(p)}[/dim]"),
            f"{over['value']:.3f} {_span(over)}" if over else "",
        )
    return [table]


def _losses(metrics: Mapping[str, Any]) -> list[Table]:
    """What noise takes from each arm, where nothing else is compared."""
    tables, adjusted = [], _adjusted(metrics)
    for arm, found in metrics["arms"].items():
        if not found.get("drop"):
            continue
        title, ps = _p_column({c: (adjusted.get(("drop", arm, c)), drop.get("p")) for c, drop in found["drop"].items()})
        columns = ("changed", "loss", "relative loss", "right to wrong", "wrong to right", title)
        table = _table(f"Loss of {_escaped(arm)}", "noise", *columns)
        table.padding = (0, 0, 0, 1)
        for condition, drop in found["drop"].items():
            if condition == NOISY and len(found["drop"]) == 2:
                continue  # the average of one kind of noise is that kind
            flips = found["flips"][condition]
            table.add_row(
                _escaped(condition),
                changed_share(metrics, condition),
                _signed(drop),
                _signed(drop["relative"], plus=False),
                *(f"{flips[way]['value']:.3f} ({_span(flips[way])})" if flips[way]["of"] else "" for way in flips),
                ps[condition] + _undecided(drop),
            )
        tables.append(table)
    return tables


def _ablation(metrics: Mapping[str, Any]) -> list[Table]:
    if any(arm not in metrics["arms"] for arm in ABLATION):
        return []
    adjusted, gains = _adjusted(metrics), metrics["arms"]["rop"].get("gain", {})
    title, ps = _p_column({c: (adjusted.get(("gain", "rop", c)), gain.get("p")) for c, gain in gains.items()})
    columns = ("changed", "neither", "correct only", "guide only", "both (rop)", "both - neither", title)
    table = _table("Ablation", "noise", *columns)
    table.padding = (0, 0, 0, 1)
    for condition in [c for c in metrics["conditions"] if Condition.parse(c).noisy]:
        cells = [metrics["arms"][arm]["conditions"].get(condition, {}).get("accuracy") for arm in ABLATION]
        if all(cells):
            table.add_row(
                _escaped(condition),
                changed_share(metrics, condition),
                *(f"{cell['value']:.3f}" for cell in cells),
                _signed(gains.get(condition)),
                ps.get(condition, "") + _undecided(gains.get(condition)),
            )
    return [table]


def _cost(metrics: Mapping[str, Any]) -> Table:
    priced = any(cell["price"] is not None for arm in metrics["arms"].values() for cell in arm["conditions"].values())
    more = ["price"] if priced else []
    columns = ("calls", "prompt", "cached", "generated", "s/answer", *more, "unparsed", "cut", "errors")
    table = _table("Cost", "arm", *columns)
    if priced:
        table.padding = (0, 0, 0, 1)  # all columns in 100 characters
    for arm, found in metrics["arms"].items():
        cells = [cell for condition, cell in found["conditions"].items() if condition != NOISY]
        timing = metrics["timing"].get(arm, {}).values()
        seconds = [t["engine_seconds"] for t in timing if t["engine_seconds"] is not None]
        prompt, completion = (sum(c["tokens"][kind] for c in cells) for kind in ("prompt", "completion"))
        table.add_row(
            _escaped(arm),
            f"{sum(c['calls'] for c in cells):,}",
            f"{prompt:,}",
            f"{sum(t['prefix_cached_tokens'] for t in timing) / max(prompt, 1):.0%}",
            f"{completion:,}",
            f"{sum(seconds) / max(sum(c['outcomes'] for c in cells), 1):,.2f}" if seconds else "-",
            *([f"{sum(c['price'] or 0 for c in cells):.4f}"] if priced else []),
            *(f"{sum(c[key] for c in cells):,}" for key in ("unparsed", "cut", "errors")),
        )
    return table


def _marked(arm: str, found: Mapping[str, Any], width: int = 40) -> str:
    """An arm's name, with what a reader must know of it below, at most `width` columns wide."""
    from textwrap import fill

    return _escaped(arm) + (f"\n[dim]{fill(found['mark'], width)}[/dim]" if found.get("mark") else "")


def _gates(gates: Sequence[GateResult]) -> Table:
    table = _table("Gates", "gate", "measured", "interval", "verdict")
    for result in gates:
        colour = _VERDICTS[result.verdict]
        if result.value is None:
            measured = ["", result.reason or ""]
        else:
            measured = [f"{result.value:.3f}", f"[{result.low:.3f}, {result.high:.3f}]"]
            measured[1] += f"\n{result.reason}" if result.reason else ""
        table.add_row(
            _escaped(result.gate), measured[0], _escaped(measured[1]), f"[{colour}]{result.verdict}[/{colour}]"
        )
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.show_edge = False
    table.add_column(first, overflow="fold", min_width=min(len(first), _FOLDED))
    for name in columns:
        fixed = len(name) <= _FOLDED and name not in ("interval", "gate")
        table.add_column(_escaped(name), justify="right", no_wrap=fixed, overflow="fold", min_width=7)
    return table


def _escaped(text: str) -> str:
    return terminal.literal(text)


def _span(cell: Mapping[str, Any]) -> str:
    """.55-.74: an interval of a rate."""
    return "–".join(_short(cell[key]) for key in ("low", "high"))


def _adjusted(metrics: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """(metric, arm, condition) -> Holm's adjusted p-value, over the family that the recipe declares."""
    return {(row["metric"], row["arm"], row["condition"]): row["adjusted"] for row in metrics["holm"]}


def _p_column(ps: Mapping[str, tuple[float | None, float | None]]) -> tuple[str, dict[str, str]]:
    """The title of a column of p-values and its cells: adjusted ones where there are some, and raw ones as such."""
    if all(adjusted is None for adjusted, _ in ps.values()):
        return "p, raw", {name: _p(raw) for name, (_, raw) in ps.items()}
    cells = {n: _p(a) if a is not None else f"{_p(raw)} raw" if raw is not None else "" for n, (a, raw) in ps.items()}
    return "p, Holm", cells


def _undecided(cell: Mapping[str, Any] | None) -> str:
    """Said where p and interval disagree: the verdict is the interval's."""
    return "\n[dim]undecided[/dim]" if cell and cell.get("undecided") else ""


def _p(p: float | None) -> str:
    return "" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"


def _short(x: float, sign: str = "") -> str:
    """Two places, without the zero before the point."""
    return f"{x:{sign}.2f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:{sign}.2f}"


def _signed(cell: Mapping[str, Any] | None, plus: bool = True) -> str:
    """+0.112 [+.08 +.15]; a dash for what is null."""
    if cell is None:
        return ""
    if cell["value"] is None:
        return "-"
    sign = "+" if plus else ""
    return _escaped(f"{cell['value']:{sign}.3f} [{' '.join(_short(cell[key], sign) for key in ('low', 'high'))}]")
