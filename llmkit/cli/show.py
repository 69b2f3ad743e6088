"""`llmkit show`: a file that llmkit wrote, for a person to read."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import common

File = Annotated[str, typer.Argument(metavar="FILE", help="A repair.json, or the name of a shipped adapter with one.")]


def show(file: File, json_: common.Json = False) -> None:
    """Show what a file says that llmkit wrote: a repair with its gate, its guarantee, and what it won and cost."""
    from llmkit.repair import describe, document

    repair = document.read(file)
    if json_:
        common.print_json({**repair.model_dump(mode="json"), "says": describe.guarantee(repair)})
    else:
        print(describe.render(repair))
