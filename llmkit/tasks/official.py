"""The official sets: files under the data folder, else the hub, normalised, split, and cached."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmkit.errors import DataError
from llmkit.extras import need
from llmkit.records import Record, decode
from llmkit.tasks import cache, sources
from llmkit.tasks.base import Hub, Item, Task, question
from llmkit.tasks.splits import digest, number, split_all, split_pool
from llmkit.tasks.text import normalise
from llmkit.types import Question

_SMALL = 1 << 20  # bytes of JSON that are read faster than the cache's library is imported


def read(task: Task, data_dir: str | None, wanted: str, skip_bad: bool = False) -> tuple[list[Question], int]:
    """Returns all questions of a set that is at hand, and the count of bad rows left out."""
    folder = _folder(data_dir)
    files = {part: folder / path for part, path in task.files.items() if (folder / path).is_file()} if folder else {}
    needed = ("all",) if "all" in task.files else ("test",) if wanted == "test" else ("pool", "test")
    missing = [task.files[part] for part in needed if part not in files]
    if not missing:
        return _from_files(task, files, skip_bad)
    if task.hub is None:
        raise _not_at_hand(task, folder, missing)
    return _from_hub(task, task.hub, skip_bad, lambda reason: _not_at_hand(task, folder, missing, reason))


def _folder(data_dir: str | None) -> Path | None:
    path = data_dir or os.environ.get("LLMKIT_DATA_DIR")
    if not path:
        return None
    folder = Path(path).expanduser()
    if not folder.is_dir():
        origin = "data.data_dir" if data_dir else "LLMKIT_DATA_DIR"
        raise DataError(f"{origin}: there is no folder {path}", "give the folder that holds gsm8k/, svamp/, …")
    return folder


def _from_files(task: Task, files: Mapping[str, Path], skip_bad: bool) -> tuple[list[Question], int]:
    raw = {part: path.read_bytes() for part, path in files.items()}
    small = sum(map(len, raw.values())) < _SMALL
    cached = None if skip_bad or small else cache.folder(task, raw.values())
    if cached and (questions := cache.read(cached)) is not None:
        return questions, 0
    names = {part: str(path) for part, path in files.items()}
    rows = {part: sources.json_rows(decode(raw[part], names[part]), names[part]) for part in files}
    questions, skipped = build(task, rows, task.read, skip_bad)
    if cached:
        cache.write(cached, questions)
    return questions, skipped


def _from_hub(
    task: Task, hub: Hub, skip_bad: bool, not_at_hand: Callable[[str], DataError]
) -> tuple[list[Question], int]:
    cached = cache.folder(task, [repr(hub).encode()])
    if (questions := cache.read(cached)) is not None:
        return questions, 0
    need("datasets", extra="hf", what=f"`{task.name}` from the hub", instead="or give its files' folder as --data-dir")
    try:
        rows = {
            part: [(where, row) for where, row in sources.hub_rows(hub, part) if task.wanted(row)] for part in hub.parts
        }
    except Exception as error:  # the hub's client raises whatever its own layers raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise not_at_hand(reason) from error
    questions, skipped = build(task, rows, task.read_hub, skip_bad)
    if not skipped:
        cache.write(cached, questions)
    return questions, skipped


def _not_at_hand(task: Task, folder: Path | None, missing: list[str], reason: str = "") -> DataError:
    files = " and ".join(missing)
    where = f"{files} is not in {folder}" if folder else "no data folder is given"
    hint = f"give a folder with {files} as --data-dir or LLMKIT_DATA_DIR"
    if task.hub is None:
        return DataError(f"`{task.name}` is not at hand: {where}", hint)
    hub = f"{task.hub.name} ({task.hub.config})" if task.hub.config else task.hub.name
    return DataError(
        f"`{task.name}` is not at hand: {where}, and the hub gives no {task.hub.name} ({reason})",
        f"{hint}, or go online once: the hub has it as {hub}",
    )


def build(
    task: Task, parts: Mapping[str, Iterable[Record]], read: Callable[[Any], Item], skip_bad: bool = False
) -> tuple[list[Question], int]:
    """Returns the questions of all parts, and the count of bad rows left out.

    A question of `test` is dropped from the pool. The order of rows changes nothing.
    """
    keyed: dict[str, list[tuple[str, str, Question]]] = {}  # by part: normalised text, group and question
    skipped = 0
    for part, rows in parts.items():
        keyed[part] = []
        for where, row in rows:
            try:
                keyed[part].append(_question(task, row, read))
            except (DataError, LookupError, TypeError, ValueError, AttributeError) as error:
                if not skip_bad:
                    raise _bad_row(task, where, row, error) from None
                skipped += 1
    tested = {group for _, group, _ in keyed.get("test", ())}
    questions: list[Question] = []
    for part, entries in keyed.items():
        kept = [entry for entry in entries if part != "pool" or entry[1] not in tested]
        kept.sort(key=lambda entry: (entry[0], entry[2].gold, entry[2].text))
        for (key, group, blank), count in zip(kept, number([key for key, *_ in kept]), strict=True):
            split = {"all": split_all(group), "pool": split_pool(group, task.dev_share)}.get(part, "test")
            id = f"{task.name}-{digest(key)}" + (f"-{count + 1}" if count else "")
            questions.append(replace(blank, id=id, split=split, cluster=f"{task.name}-{digest(group)}"))
    return questions, skipped


def _question(task: Task, row: Any, read: Callable[[Any], Item]) -> tuple[str, str, Question]:
    if isinstance(row, DataError):
        raise row
    item = read(row)
    key = normalise(item.text)
    return key, normalise(item.group) if item.group else key, question(item, task.kind, id="", split="")


def _bad_row(task: Task, where: str, row: Any, error: Exception) -> DataError:
    if isinstance(error, DataError):
        reason = error.message
    elif not isinstance(row, Mapping):
        reason = "not an object with fields"
    elif isinstance(error, KeyError):
        reason = f"no field `{error.args[0]}`"
    else:
        reason = f"a field is not what it should be ({error})"
    hint = f"`{task.name}` expects rows as its authors published them (docs/tasks.md); `--skip-bad-lines` counts others"
    return DataError(f"{where}: {reason}", hint)
