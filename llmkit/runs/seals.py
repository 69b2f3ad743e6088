"""The seal of a finished shard, shard.json: what has to be known of it before it is joined with the others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llmkit
from llmkit.errors import DataError, Incomplete
from llmkit.parsing import parse_json
from llmkit.runs import names
from llmkit.runs.folder import RunFolder
from llmkit.runs.journal import Counted

_AGAIN = "run that shard again: it asks only what is missing, and seals what it has"


@dataclass(frozen=True)
class Asks:
    """What a shard asks: the `command` and a digest of the `recipe` of the whole run, a digest of all that was `asked`
    in it, as files may change, and the number of `rows` of this shard."""

    command: str
    recipe: str
    asked: str
    rows: int


@dataclass(frozen=True)
class Seal(Asks):
    """A shard whose answers are all there: part i of n from 1, the version that made it, and its journal.

    `stale` are the keys of answers in the journal that no longer count, because the rows have changed since.
    """

    shard: tuple[int, int]
    llmkit: str
    outcomes: int
    stale: tuple[str, ...]
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The shard as `--shard` names it."""
        return f"{self.shard[0]}/{self.shard[1]}"


def digest_of(values: Iterable[object]) -> str:
    """Returns a digest of values by what Python shows of them."""
    whole = hashlib.sha256()
    for value in values:
        whole.update(f"{value!r}\n".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()[:16]


def write(folder: RunFolder, shard: tuple[int, int], asks: Asks, keys: Collection[str]) -> None:
    """Writes the seal of a shard that has an answer for each of these keys."""
    journal = folder.path / names.JOURNAL
    with open(journal, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    there = (key.decode("utf-8", "surrogatepass") for key in Counted(journal, failed=False).outcomes)
    stale = tuple(sorted(set(there).difference(keys)))
    size = journal.stat().st_size
    made = Seal(
        **asdict(asks),
        shard=shard,
        llmkit=llmkit.__version__,
        outcomes=len(keys),
        stale=stale,
        bytes=size,
        sha256=sha256,
    )
    folder.write_json(names.SEAL, asdict(made))


def read(folder: Path) -> Seal | None:
    """Returns the seal of a shard; None where it has none. DataError for a damaged one."""
    path = folder / names.SEAL
    try:
        content: Any = parse_json(path.read_text(encoding="utf-8"))
        first, of = content.pop("shard")
        stale = tuple(map(str, content.pop("stale")))
        made = Seal(shard=(first, of), stale=stale, **content)
        if not all(isinstance(number, int) for number in (first, of, made.rows, made.outcomes, made.bytes)):
            raise ValueError("something in it that should be a whole number is none")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(f"{path}: is not the seal of a shard: {error}", _AGAIN) from None
    return made


def sealed(folders: Sequence[Path]) -> list[Seal] | None:
    """Returns the seals of all shards of a run, which prove that these folders are the whole of it; None where none is
    sealed, as by an earlier llmkit.

    Incomplete where a shard is missing or unfinished. DataError where one is there twice, or is of another run, or was
    made by another version of llmkit. The journals are not read here: `joining.join` compares them.
    """
    found = [(folder, read(folder)) for folder in folders]
    seals = [(folder, one) for folder, one in found if one]
    if not seals:
        return None
    if unfinished := [str(folder) for folder, one in found if one is None]:
        raise Incomplete(f"{', '.join(unfinished)}: this shard is unfinished, others are finished", _AGAIN)
    first_folder, first = seals[0]
    by_number: dict[int, Path] = {}
    for folder, one in seals:
        _refuse_other(folder, one, first_folder, first)
        if one.shard[0] in by_number:
            raise DataError(
                f"shard {one.name} is there twice: {by_number[one.shard[0]]} and {folder}", "name each shard once"
            )
        by_number[one.shard[0]] = folder
    number = first.shard[1]
    if missing := [i for i in range(1, number + 1) if i not in by_number]:
        shown = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")
        raise Incomplete(
            f"{len(missing)} of {number} shards are missing: {shown}",
            f"name their folders as well, or run them first, e.g. --shard {missing[0]}/{number}",
        )
    return [one for _, one in seals]


def _refuse_other(folder: Path, one: Seal, first_folder: Path, first: Seal) -> None:
    """Raises DataError where two shards are not of the same run."""
    if (one.recipe, one.command) != (first.recipe, first.command):
        raise DataError(
            f"{folder} is not a shard of the same run as {first_folder}: what they ask differs",
            "name the shards of one run; compare their recipe.resolved.yaml",
        )
    if one.llmkit != first.llmkit:
        raise DataError(
            f"{folder} was made by llmkit {one.llmkit} and {first_folder} by {first.llmkit}, whose noise may differ",
            "run all shards with one version",
        )
    if one.shard[1] != first.shard[1]:
        raise DataError(
            f"{folder} is shard {one.name} and {first_folder} is shard {first.name}: they were cut differently",
            "name the shards of one cut",
        )
    if one.asked != first.asked:
        raise DataError(
            f"{folder} and {first_folder} were asked other questions, prompts or instructions: a file of theirs has "
            "changed in between",
            "give every shard the same files, and run those again that had others",
        )
