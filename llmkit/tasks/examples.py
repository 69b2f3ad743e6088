"""Applications that come with llmkit: rows of text, the prompt that asks them, and what an adapter was trained on."""

from __future__ import annotations

from pathlib import Path

from llmkit.errors import UsageError
from llmkit.files import write_atomic
from llmkit.registry import unknown
from llmkit.resources import shipped


def example_names() -> list[str]:
    """Returns the names of the shipped examples: the folders with rows in a CSV file."""
    return sorted({path.parent.name for path in shipped("examples").glob("*/*.csv")})


def copy_example(name: str, folder: Path) -> list[Path]:
    """Copies the files of an example into `folder` and returns their paths. UsageError for a name that is not known,
    and, before anything is written, where a file of that name has other contents."""
    if name not in example_names():
        raise unknown("example", name, example_names())
    contents = {folder / path.name: path.read_bytes() for path in sorted((shipped("examples") / name).iterdir())}
    if taken := [str(path) for path, content in contents.items() if path.exists() and path.read_bytes() != content]:
        raise UsageError(f"{' and '.join(taken)} would be overwritten", "name another folder, or move them away")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_atomic(path, content)
    return list(contents)
