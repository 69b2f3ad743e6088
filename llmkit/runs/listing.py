"""The runs in a folder: the line that `llmkit runs ls` prints for each, and the run that a name stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.errors import DataError
from llmkit.registry import unknown
from llmkit.runs.run import Run, State


@dataclass(frozen=True, slots=True)
class Listing:
    """One run in a few words. `outcomes` counts answers; `changed` is local time, to the second."""

    run: str
    path: str
    state: State | Literal["damaged"]
    outcomes: int | None
    model: str | None
    task: str | None
    changed: str

    @classmethod
    def of(cls, run: Run) -> Listing:
        """Returns the line of a run. DataError where its recipe is damaged."""
        return cls(run.name, str(run.folder), run.state, run.count_answers(), run.model, run.task, _changed(run))


def listings(folder: Path) -> list[Listing]:
    """Returns a line for each run in a folder, the newest last.

    A damaged run is listed as such, so that it does not hide the others. DataError where there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no folder `{folder}`", "runs are written to `output.dir` of a recipe: name it with --dir")
    return sorted(map(_listing, runs_in(folder)), key=lambda listing: (listing.changed, listing.run))


def runs_in(folder: Path) -> list[Run]:
    """Returns the runs whose folders are directly in `folder`; none where it does not exist."""
    paths: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    return [run for run in map(Run, paths) if run.exists]


def find(name: str, folder: Path) -> Run:
    """Returns the run that `name` stands for: a run folder, or the name of one in `folder`, of which a start is enough.

    DataError where there is none or the start is that of several.
    """
    if (run := Run(name)).exists:
        return run
    runs = runs_in(folder)
    matches = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(sorted(run.name for run in matches))
        raise DataError(f"`{name}` is the start of several runs: {names}")
    if not runs:
        raise DataError(f"no run `{name}`: there are none in {folder}", "name their folder with --dir")
    raise unknown("run", name, [run.name for run in runs])


def _listing(run: Run) -> Listing:
    try:
        return Listing.of(run)
    except DataError:
        return Listing(run.name, str(run.folder), "damaged", None, None, None, _changed(run))


def _changed(run: Run) -> str:
    return run.changed.isoformat(" ", "seconds")
