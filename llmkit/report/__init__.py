"""What a run leaves to be read: report.html, junit.xml, and its outcomes as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.extras import installed
from llmkit.files import write_atomic
from llmkit.measure.gates import GateResult
from llmkit.report.terminal import summary
from llmkit.runs.samples import Sample

__all__ = ["summary", "write"]


def write(
    folder: Path, samples: Sequence[Sample], metrics: Mapping[str, Any], gates: Sequence[GateResult] = ()
) -> list[Path]:
    """Writes report.html, outcomes.csv, outcomes.parquet and, where there are gates, junit.xml. Returns their paths.

    Without pyarrow there is no outcomes.parquet; outcomes.csv has the same rows. What the report says of model, seed
    and instructions is read from the other files in the run folder.
    """
    from llmkit.report import html, junit, tabular

    made = {"report.html": html.page(samples, metrics, html.facts(folder), gates).encode("utf-8", "replace")}
    table = tabular.table(samples)
    made["outcomes.csv"] = tabular.csv(table)
    if installed("pyarrow"):
        made["outcomes.parquet"] = tabular.parquet(table)
    if gates:
        made["junit.xml"] = junit.document(gates, folder.name, metrics)
    for name, content in made.items():
        write_atomic(folder / name, content)
    return [folder / name for name in made]
