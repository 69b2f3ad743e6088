"""Files that may be on this machine or, by fsspec, anywhere else: a name with `://` is opened by fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from llmkit.errors import DataError, UsageError
from llmkit.extras import need
from llmkit.files import atomic, on_disk


def is_remote(name: str) -> bool:
    """Returns whether a name is that of a file that fsspec opens ("s3://bucket/rows.parquet")."""
    return "://" in name


def size_of(name: str) -> int:
    """Returns the size of a file in bytes. DataError where there is none."""
    with _explained(name):
        return int(_system(name).size(name)) if is_remote(name) else Path(name).stat().st_size


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Opens a file to read its bytes, from any position. DataError where that is not possible."""
    with _explained(name), _system(name).open(name, "rb") if is_remote(name) else open(name, "rb") as file:
        yield cast("IO[bytes]", file)


def names_in(folder: str) -> list[str]:
    """Returns the names of the files in a folder, without hidden ones; none where it does not exist."""
    with _explained(folder):
        if not is_remote(folder):
            path = Path(folder)
            names = [entry.name for entry in path.iterdir() if entry.is_file()] if path.is_dir() else []
        else:
            system = _system(folder)
            system.invalidate_cache()  # another machine may have written there since
            found = system.ls(folder, detail=True) if system.isdir(folder) else []
            names = [str(entry["name"]).rpartition("/")[2] for entry in found if entry["type"] == "file"]
    return sorted(name for name in names if not name.startswith("."))


def below(folder: str, *names: str) -> str:
    """Returns the name of a file below a folder."""
    return "/".join((folder.rstrip("/"), *names)) if is_remote(folder) else str(Path(folder, *names))


@contextmanager
def published(name: str) -> Iterator[IO[bytes]]:
    """Opens a file that appears whole when the block ends, or not at all. Incomplete where the disk is full.

    Locally it has a temporary name until then. Remote stores show an object when it is closed, and the marker that is
    written after a part says that it was.
    """
    with _explained(name):
        if is_remote(name):
            system = _system(name)
            system.makedirs(name.rpartition("/")[0], exist_ok=True)
            with system.open(name, "wb") as file:
                yield file
            return
        path = Path(name)
        with on_disk(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as local:
            yield local


def _system(name: str) -> Any:
    need("fsspec", extra="remote", what=name)
    import fsspec

    protocol = name.partition("://")[0]
    try:
        return fsspec.filesystem(protocol)
    except ValueError:
        raise UsageError(f"{name}: `{protocol}://` names no file system", "s3://, gs://, abfs:// …") from None
    except ImportError as error:
        raise UsageError(f"{name}: {error}", "install what fsspec asks for") from None


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns what a file system says into a DataError. A full disk is somebody else's to explain (`on_disk`)."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{name}: {error.strerror or error}") from None
