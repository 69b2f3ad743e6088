"""Several runs in one table, every arm of each a row: which repair is worth it, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.conditions import Condition
from llmkit.engines.model_paths import adapter_folder
from llmkit.errors import UsageError
from llmkit.measure import changed
from llmkit.measure.cells import NOISY, Cells, Plan, arm_order, number
from llmkit.measure.cells import estimate as as_row
from llmkit.measure.compare import run_names, same_questions
from llmkit.parsing import parse_json
from llmkit.recipe.schema import IntervalSection
from llmkit.runs.samples import Sample, dtype_of, read_samples, recipe_of
from llmkit.terminal import literal
from llmkit.types import CLEAN

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("clean", "noisy", "clean, change", "noisy, change", "tokens/answer", "training")


@dataclass(frozen=True, slots=True)
class Beside:
    """One row for each run and arm; changes are against the first row, on the questions that all runs share."""

    questions: int
    conditions: list[str]
    rows: list[dict[str, Any]]
    noise: dict[str, dict[str, dict[str, Any]]]
    """By run, then condition: how many of the shared questions noise changed."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """The dtype of each run, in words."""

    def json(self) -> dict[str, Any]:
        facts = {"questions": self.questions, "conditions": self.conditions}
        return {**facts, "noise": self.noise, "dtypes": self.dtypes, "rows": self.rows}

    def table(self) -> Table:
        """As a Rich table."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=literal(self._title), title_justify="left")
        table.caption, table.caption_justify = literal("\n".join(self._below)), "left"
        table.add_column("run, arm", overflow="fold")
        for name in _COLUMNS:
            table.add_column(name, justify="right")
        for row in self.rows:  # intervals stand under their values: beside them the table would be 150 columns wide
            table.add_row(*(literal(text.replace(" [", "\n[")) for text in _cells(row)))
        return table

    def html(self) -> str:
        """As a page of its own that loads nothing."""
        head = "".join(f"<th>{escape(name)}</th>" for name in ("run, arm", "", *_COLUMNS))
        most = max(found["high"] for row in self.rows for found in row["accuracy"].values() if found)
        rows = "".join(
            f"<tr><td>{escape(first)}</td><td>{_bars(row, most)}</td>{''.join(map(_td, rest))}</tr>"
            for row, (first, *rest) in ((row, _cells(row)) for row in self.rows)
        )
        page = _PAGE.replace("@title@", escape(self._title)).replace("@head@", head).replace("@rows@", rows)
        shares = "".join(f"<li>{escape(line)}</li>" for line in self._below)
        return page.replace("@changed@", shares).replace("@first@", escape(_cells(self.rows[0])[0]))

    @property
    def _below(self) -> list[str]:
        """Returns what is said below the table."""
        return [*changed.lines(self.noise), *(f"{run}: dtype {dtype}" for run, dtype in self.dtypes.items())]

    @property
    def _title(self) -> str:
        return f"{self.questions} shared questions, clean and under {', '.join(self.conditions) or 'no noise'}"


def beside(runs: Sequence[Path | str], section: IntervalSection | None = None) -> Beside:
    """Accuracy, change against the first run's first arm, tokens and training time of every run and arm.

    Noisy accuracy averages the conditions that all runs have. Training time is the adapter's own. UsageError for fewer
    than two runs, DataError where no question is shared.
    """
    section = section or IntervalSection()
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs", "llmkit runs compare RUN_A RUN_B")
    paths = [Path(run) for run in runs]
    read = [list(read_samples(path)) for path in paths]
    names, trainings = run_names(paths), [_training(path) for path in paths]
    same, _ = same_questions(dict(zip(names, read, strict=True)))
    shared = set.intersection(
        *({s.outcome.condition for s in samples if Condition.parse(s.outcome.condition).noisy} for samples in read)
    )
    kept = [
        replace(s, outcome=replace(s.outcome, arm=f"{i}/{s.outcome.arm}"))
        for i, samples in enumerate(read)
        for s in samples
        if s.outcome.question_id in same and (s.outcome.condition in shared or s.outcome.condition == CLEAN)
    ]
    cells = Cells(kept)
    arms = sorted(cells.arms, key=lambda arm: (int(arm.partition("/")[0]), arm_order(arm.partition("/")[2])))
    plan, first = Plan(cells), arms[0]
    for arm in arms[1:]:
        for condition in (CLEAN, NOISY):
            plan.add((arm, condition), {(arm, condition): 1.0, (first, condition): -1.0})
    changes = plan.solve(section.level)
    rows = []
    for arm in arms:
        place, _, name = arm.partition("/")
        found = {condition: changes.get((arm, condition)) for condition in (CLEAN, NOISY)}
        rows.append(
            {
                "run": names[int(place)],
                "arm": name,
                "accuracy": {c: cells.accuracy(arm, c, section.level) for c in (CLEAN, NOISY)},
                "change": {c: as_row(e) if e else None for c, e in found.items()},
                "tokens_per_answer": _tokens([s for c, group in cells.samples.items() if c[0] == arm for s in group]),
                "training": trainings[int(place)],
            }
        )
    counted = changed.of_runs(dict(zip(names, read, strict=True)), same)
    dtypes = {name: dtype_of(path) for name, path in zip(names, paths, strict=True)}
    return Beside(len(same), [c for c in cells.conditions if c in shared], rows, counted, dtypes)


def _tokens(samples: Sequence[Sample]) -> float | None:
    """Prompt and completion tokens of all calls, for one answer."""
    used = [s.outcome.usage.prompt + s.outcome.usage.completion for s in samples]
    return number(sum(used) / len(used)) if used else None


def _training(run: Path) -> dict[str, Any] | None:
    """What the run's adapter cost to train, from the metrics.json beside it or in it; None without adapter."""
    model = recipe_of(run).get("model")
    adapter = model.get("adapter") if isinstance(model, Mapping) else None
    if not adapter:
        return None
    folder, metrics = adapter_folder(adapter), {}
    for place in (folder.parent, folder):
        with suppress(OSError, ValueError):
            metrics = parse_json((place / "metrics.json").read_text(encoding="utf-8"))
            break
    return {key: metrics.get(key) for key in ("method", "seconds", "trainable_parameters", "steps")}


def _cells(row: Mapping[str, Any]) -> list[str]:
    training, tokens = row["training"], row["tokens_per_answer"]
    if training is None:
        spent = "none"
    else:
        spent = "unknown" if training["seconds"] is None else f"{training['seconds'] / 60:.1f} min"
    return [
        f"{row['run']}, {row['arm']}",
        *(_span(row["accuracy"][c], "") for c in (CLEAN, NOISY)),
        *(_span(row["change"][c], "+") for c in (CLEAN, NOISY)),
        "–" if tokens is None else f"{tokens:.0f}",
        spent,
    ]


def _span(cell: Mapping[str, Any] | None, sign: str) -> str:
    if cell is None:
        return "–"
    return f"{cell['value']:{sign}.3f} [{cell['low']:{sign}.3f}, {cell['high']:{sign}.3f}]"


def _td(cell: str) -> str:
    """A value, its interval small under it."""
    value, _, interval = cell.partition(" [")
    return f"<td>{escape(value)}{f'<small>[{escape(interval)}</small>' if interval else ''}</td>"


def _bars(row: Mapping[str, Any], most: float) -> str:
    """Clean over noisy accuracy as bars with their intervals, up to `most`."""
    drawn = []
    for condition in (CLEAN, NOISY):
        found = row["accuracy"][condition]
        if found is None:
            continue
        value, low, high = (100 * found[key] / most for key in ("value", "low", "high"))
        drawn.append(
            f'<span class="bar {condition}"><b style="width:{value:.1f}%"></b>'
            f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i></span>'
        )
    return "".join(drawn)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Runs beside each other · llmkit</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
div { overflow-x: auto; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid #8885; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
small { display: block; opacity: .65; }
.bar { display: block; position: relative; width: 8rem; height: .7rem; margin: .2rem 0; }
.bar b { position: absolute; inset: 0 auto 0 0; border-radius: 2px; }
.bar i { position: absolute; top: calc(50% - 1px); height: 2px; background: currentColor; }
.clean b { background: #8e939b; }
.noisy b { background: #d0683a; }
.key b { position: static; display: inline-block; width: .7rem; height: .7rem; }
</style>
</head>
<body>
<h1>Runs beside each other</h1>
<p>@title@. Bars: <span class="key clean"><b></b> clean</span>, <span class="key noisy"><b></b> noisy</span>.
Brackets are 95 % intervals; changes are paired, against @first@. Tokens count prompt and reply of every
call that an answer took.</p>
<ul>@changed@</ul>
<div><table><thead><tr>@head@</tr></thead><tbody>@rows@</tbody></table></div>
</body>
</html>
"""
