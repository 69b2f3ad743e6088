"""The file of `--servers`: the addresses of the servers that answer, kept true by the process that starts them."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.files import lock, write_atomic

HEADER = "# servers that answer now: kept by llmkit serve, read by --base-url @FILE"


class ServersFile:
    """A file that lists the servers of this process. Use as a context manager: at its end the file is removed.

    However this process ends, a second one (`keeper`) removes the file, and kills the servers that outlive it by
    `seconds`. Every change replaces the whole file, so that readers never see a part of it.
    """

    def __init__(self, path: Path, seconds: int) -> None:
        self.path, self._seconds = path, seconds
        self._urls: dict[int, str] = {}  # by the server's process id, in the order in which they became ready
        self._changing = threading.Lock()
        self._held = ExitStack()

    def __enter__(self) -> ServersFile:
        """Raises UsageError where the file is another's, or cannot be written."""
        if not self.path.name or (self.path.exists() and not self.path.is_file()):  # a device would be replaced, too
            raise UsageError(f"{self.path} is not a file", "give the name of a file with --servers")
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(self.path.with_name(f".{self.path.name}.lock"), wait=False))
                self._refuse_foreign()
                self._write()
            except BlockingIOError as error:
                raise UsageError(
                    f"another llmkit serve keeps {self.path}", "give this one a file of its own with --servers"
                ) from error
            except OSError as error:
                raise UsageError(
                    f"cannot write {self.path}: {error.strerror}", "give a file in a folder that you may write to"
                ) from error
            stack.callback(self.path.unlink, missing_ok=True)
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "llmkit.serving.keeper", str(self.path.absolute()), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # whoever reads ours to its end need not wait for it
                text=True,
                start_new_session=True,  # Ctrl-C is not for it
            )
            stack.callback(self._dismiss)
            self._held = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def started(self, pid: int) -> None:
        """Notes a server that has to end with this process."""
        self._say(f"started {pid}")

    def ended(self, pid: int) -> None:
        """Notes that a server and all that it started are gone."""
        self._say(f"ended {pid}")

    def add(self, pid: int, url: str) -> None:
        """Lists a server that answers."""
        with self._changing:
            self._urls[pid] = url
            self._write()

    def remove(self, pid: int) -> None:
        """Takes a server out, if it is listed."""
        with self._changing:
            if self._urls.pop(pid, None):
                self._write()

    def clear(self) -> None:
        """Takes all servers out."""
        with self._changing:
            self._urls.clear()
            self._write()

    def _write(self) -> None:
        write_atomic(self.path, "\n".join([HEADER, *self._urls.values()]) + "\n")

    def _refuse_foreign(self) -> None:
        """Raises UsageError for a file that something else wrote: it would be lost."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        if content and not content.startswith(HEADER.encode()):
            raise UsageError(
                f"{self.path} was not written by llmkit serve, which would overwrite it",
                "remove it, or give another file with --servers",
            )

    def _say(self, line: str) -> None:
        assert self._keeper.stdin is not None
        with self._changing, suppress(BrokenPipeError):  # a keeper that was killed: all else goes on
            print(line, file=self._keeper.stdin, flush=True)

    def _dismiss(self) -> None:
        with suppress(BrokenPipeError):
            self._keeper.communicate()
