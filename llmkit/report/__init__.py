"""Shows what was measured: tables in the terminal, report.html, junit.xml, Markdown, outcomes as CSV and Parquet.

One view (view.py) decides what is shown and how numbers are written; everything else in this room draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from llmkit.extras import installed
from llmkit.files import atomic, write_atomic
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
    written = [folder / "report.html", folder / "outcomes.csv"]
    write_atomic(written[0], html.page(shown).encode("utf-8", "replace"))
    if installed("pyarrow"):
        written.append(folder / "outcomes.parquet")
    with ExitStack() as stack:
        csv, *parquet = (stack.enter_context(atomic(path)) for path in written[1:])
        tabular.write(tabular.Answers(samples), csv, *parquet)
    if metrics.gates:
        written.append(folder / "junit.xml")
        write_atomic(written[-1], junit.document(shown))
    return written
