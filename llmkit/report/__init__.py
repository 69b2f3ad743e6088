"""Shows what was measured: tables in the terminal, report.html, junit.xml, Markdown, outcomes as CSV and Parquet.

One view (view.py) decides what is shown and how numbers are written; everything else in this room draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmkit.extras import installed
from llmkit.files import write_atomic
from llmkit.measure.results import Metrics
from llmkit.report.terminal import summary
from llmkit.runs.samples import Sample

__all__ = ["summary", "write"]


def write(folder: Path, samples: Sequence[Sample], metrics: Metrics) -> list[Path]:
    """Writes report.html, outcomes.csv, outcomes.parquet and, where there are gates, junit.xml. Returns their paths.

    Without pyarrow there is no outcomes.parquet; outcomes.csv has the same rows. What the report says of model, seed
    and instructions is read from the other files in the run folder.
    """
    from llmkit.report import html, junit, tabular, view
    from llmkit.report.facts import facts

    shown = view.of_run(metrics, facts(folder), samples)
    table = tabular.table(samples)
    # Each is made when it is written: a run may have more answers than there is room for in several forms.
    files: dict[str, Callable[[], bytes | Iterable[bytes]]] = {
        "report.html": lambda: html.page(shown).encode("utf-8", "replace"),
        "outcomes.csv": lambda: tabular.csv_lines(table),
    }
    if installed("pyarrow"):
        files["outcomes.parquet"] = lambda: tabular.parquet(table)
    if metrics.gates:
        files["junit.xml"] = lambda: junit.document(shown)
    for name, content in files.items():
        write_atomic(folder / name, content())
    return [folder / name for name in files]
