"""A local server that plays the part of GitHub's API that comments need, and the variables of a runner."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class GitHub:
    """Keeps the comments of one pull request. Use as a context manager.

    `refuses` maps a method to the status that it is answered with; `login` is whom the token belongs to, None for the
    token of a workflow, which may not ask. `asked` lists what came: method, path, token.
    """

    def __init__(self, comments: list[dict[str, Any]] | None = None, login: str | None = None, **refuses: int) -> None:
        self.comments = comments or []
        self.login = login
        self.refuses = refuses
        self.asked: list[tuple[str, str, str]] = []
        outer = self

        class Handler(_Handler):
            github = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> GitHub:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def write(self, body: str) -> dict[str, Any]:
        """Adds a comment as the token's owner would."""
        user = {"login": self.login or "github-actions[bot]", "type": "User" if self.login else "Bot"}
        self.comments.append({"id": 1000 + len(self.comments), "user": user, "body": body})
        return self.comments[-1]

    @property
    def bodies(self) -> list[str]:
        """The texts of the comments."""
        return [comment["body"] for comment in self.comments]


class _Handler(BaseHTTPRequestHandler):
    github: GitHub

    def log_message(self, *args: Any) -> None:
        """Keeps the terminal clean."""

    def do_GET(self) -> None:
        if self._refused("GET"):
            return None
        path, _, query = self.path.partition("?")
        if path == "/user":
            known = self.github.login
            return self._send(200, {"login": known}) if known else self._send(403, {"message": "not accessible"})
        page = int(re.search(r"page=(\d+)$", query)[1])
        return self._send(200, self.github.comments[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        if not self._refused("POST"):
            self._send(201, self.github.write(self._body()["body"]))

    def do_PATCH(self) -> None:
        if not self._refused("PATCH"):
            number = int(self.path.rpartition("/")[2])
            comment = next(c for c in self.github.comments if c["id"] == number)
            comment["body"] = self._body()["body"]
            self._send(200, comment)

    def _refused(self, method: str) -> bool:
        self.github.asked.append((method, self.path, self.headers.get("Authorization", "")))
        status = self.github.refuses.get(method)
        if status:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        return bool(status)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _send(self, status: int, content: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


def runner(folder: Path, github: GitHub, **more: str) -> dict[str, str]:
    """The variables that a runner sets for the step of a pull request."""
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.url,
        "GITHUB_REPOSITORY": "ann/shop",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output.txt"),
        "INPUT_TOKEN": "token-of-the-job",
        **more,
    }
