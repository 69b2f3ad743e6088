"""`llmkit show`: a file that llmkit wrote, for a person to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli import common

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A repair.json, the name of a shipped adapter with one, or a shadow log of `llmkit proxy`.",
    ),
]


def show(file: File, json_: common.Json = False) -> None:
    """Show a file that llmkit wrote: a repair with its gate, guarantee, gain and cost, or a shadow log in numbers."""
    from llmkit.repair import describe, document

    if file.endswith(".jsonl"):
        _show_log(Path(file), json_)
        return
    repair = document.read(file)
    if json_:
        common.print_json({**repair.model_dump(mode="json"), "says": describe.guarantee(repair)})
    else:
        print(describe.render(repair))


def _show_log(path: Path, json_: bool) -> None:
    from llmkit.proxy import summary
    from llmkit.terminal import visible

    log = summary.read(path)
    if json_:
        common.print_json(log.json())
    else:
        print(visible(summary.render(log, path.name)))
