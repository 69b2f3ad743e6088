"""Rows of the official sets, from JSON files and from the hub, each with its place for error messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import DataError
from llmkit.parsing import parse_json
from llmkit.records import Record, json_lines
from llmkit.tasks.base import Hub


def json_rows(text: str, name: str) -> Iterator[Record]:
    """Yields the rows of a JSON list, of the `examples` of a BIG-bench task, or of JSON lines."""
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        if text.lstrip()[:1] == "[":
            raise DataError(f"{name}:{error.lineno}: not JSON ({error.msg})") from None
        yield from json_lines(text.split("\n"), name)
        return
    rows = value.get("examples", [value]) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(f"{name}: holds no list of rows")
    for index, row in enumerate(rows, 1):
        yield f"{name}: row {index}", row


def hub_rows(hub: Hub, part: str) -> Iterator[Record]:
    """Yields the rows of one part of a set on the hub, by `datasets.load_dataset`; whatever it raises goes through."""
    import datasets

    _knock(hub)
    for split in hub.parts[part]:
        rows = datasets.load_dataset(hub.name, hub.config, split=split, revision=hub.revision)
        for index, row in enumerate(rows, 1):
            yield f"{hub.name}/{split}: row {index}", row


def _knock(hub: Hub) -> None:
    """Fails at once where there is no hub: `load_dataset` would try again for half a minute."""
    from huggingface_hub import HfApi, constants

    downloaded = Path(constants.HF_HUB_CACHE) / f"datasets--{hub.name.replace('/', '--')}"
    if not constants.HF_HUB_OFFLINE and not downloaded.is_dir():
        HfApi().dataset_info(hub.name, revision=hub.revision, timeout=20)
