"""Addresses of servers in a file that changes while a run goes on: `--base-url @servers.txt`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from llmkit.errors import DataError, UsageError
from llmkit.secrets import public_url, remember_address

_SIGN = "@"


def is_address(url: str) -> bool:
    """Returns whether a text is the address of a server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, an IPv6 address without its end
        return False


class ServerList:
    """The addresses of one file, a line each; empty lines and those that begin with # are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, urls: Sequence[str]) -> ServerList | None:
        """Returns the file that is given in the place of addresses, if one is. UsageError for both at once."""
        files = [url for url in urls if url.startswith(_SIGN)]
        if files and len(urls) > 1:
            raise UsageError(f"{files[0]} lists all servers", "give the file alone, with every address in it")
        return cls(Path(files[0].removeprefix(_SIGN))) if files else None

    def read(self) -> list[str]:
        """Returns the addresses. DataError for a file that cannot be read, and for a line that is no address."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise DataError(f"{self.path}: {reason}", "it holds the address of a server in each line") from None
        urls: dict[str, None] = {}  # in their order, each once
        for number, line in enumerate(lines, 1):
            url = line.strip()
            if not url or url.startswith("#"):
                continue
            remember_address(url)
            if not is_address(url):
                raise DataError(
                    f"{self.path}:{number}: not the address of a server: {public_url(url)}",
                    "it looks like http://HOST[:PORT]/v1",
                )
            urls[url] = None
        return list(urls)
