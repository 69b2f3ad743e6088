"""The script of the GitHub Action (action.yml): runs a recipe, writes the step summary, keeps one comment up to date.

    python -m llmkit.ci.github

Everything comes by environment variables (`INPUT_*` from action.yml, `GITHUB_*` from the runner), so that no input is
ever a part of a shell's text. Ends with the exit code of the command; a comment that cannot be written is a warning.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from llmkit.report.markdown import LONGEST
from llmkit.secrets import scrub

_EXITS = {
    0: "every gate passed",
    2: "the recipe or a flag is wrong",
    3: "a gate failed",
    4: "the run is incomplete; what finished is saved",
    5: "a gate is undecided",
}
_FILES = ("report.html", "junit.xml", "metrics.json", "outcomes.csv")
_TIMEOUT = 30.0  # seconds, of one request
_MOST_PAGES = 30  # of 100 comments each
_NOT_FOR_THE_RUN = ("INPUT_TOKEN", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


class CommentFailed(Exception):
    """A comment that could not be written, and why."""


@dataclass(frozen=True)
class Ran:
    """What a command came to: its exit code, the folders of its runs, and its error in words."""

    code: int
    folders: tuple[Path, ...]
    error: str


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Does all of it, and returns the exit code of the command."""
    recipe = [environment["INPUT_RECIPE"]] if environment.get("INPUT_RECIPE") else []
    try:
        more = shlex.split(environment.get("INPUT_ARGUMENTS", ""))
    except ValueError as error:
        print(_command("error", f"the input `arguments` cannot be split into words: {error}"))
        return 2
    command = environment.get("INPUT_COMMAND") or "eval"
    if command not in ("eval", "rop"):
        print(_command("error", "the input `command` is eval or rop"))
        return 2
    ran = _run([command, *recipe, *more], environment)
    body = _document(ran, command)
    _append(environment.get("GITHUB_STEP_SUMMARY"), body)
    files = [str(path.resolve()) for folder in ran.folders for name in _FILES if (path := folder / name).is_file()]
    _append(environment.get("GITHUB_OUTPUT"), _output("runs", [str(f) for f in ran.folders]) + _output("files", files))
    _append(environment.get("GITHUB_OUTPUT"), f"exit-code={ran.code}\n")
    if environment.get("INPUT_COMMENT", "true") == "true":
        try:
            _comment(body, environment)
        except CommentFailed as error:
            print(_command("warning", f"llmkit could not comment: {error}. The step summary has the same text."))
    return ran.code


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """Runs a command of llmkit and shows what it prints, in which the runner must see no command of its own."""
    # Without the token of the pull request, because an application that is asked must not have it.
    kept = {name: value for name, value in environment.items() if name not in _NOT_FOR_THE_RUN}
    pause = secrets.token_hex(16)
    print(f"::stop-commands::{pause}", flush=True)
    lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kept,
        encoding="utf-8",
        errors="replace",
    )
    readers = [
        threading.Thread(target=_show, args=(stream, output, lines[name]), daemon=True)
        for name, stream, output in (("stdout", process.stdout, sys.stdout), ("stderr", process.stderr, sys.stderr))
    ]
    for reader in readers:
        reader.start()
    code = process.wait()
    for reader in readers:
        reader.join()
    print(f"\n::{pause}::", flush=True)
    folders = [Path(line.removeprefix("run:").strip()) for line in lines["stdout"] if line.startswith("run:")]
    error = next((line.strip() for line in reversed(lines["stderr"]) if line.startswith("error:")), "")
    return Ran(code, tuple(folders), error)


def _show(stream: IO[str], output: IO[str], kept: list[str]) -> None:
    for line in stream:
        output.write(line)
        output.flush()
        kept.append(line)


def _document(ran: Ran, command: str) -> str:
    """Returns the Markdown of the runs, with what the exit code means; short enough for a comment."""
    meaning = _EXITS.get(ran.code, "it failed; the log has the reason")
    parts = [f"`llmkit {command}` ended with exit code {ran.code}: {meaning}."]
    if not ran.folders and ran.error:
        fence = "`" * (max(map(len, re.findall("`+", ran.error)), default=0) + 3)
        parts.append(f"{fence}\n{scrub(ran.error)[:2_000]}\n{fence}")
    room = LONGEST - 1_000
    for folder in ran.folders:
        shown = subprocess.run(
            [sys.executable, "-m", "llmkit", "runs", "show", str(folder), "--markdown"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        ).stdout
        room -= len(shown.encode("utf-8"))
        if room < 0:
            parts.append("Further runs are left out here, because a comment has no room for them.")
            break
        parts.append(shown)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _comment(body: str, environment: Mapping[str, str]) -> None:
    """Writes the comment of a pull request, or writes it again where this Action wrote it before.

    Raises CommentFailed where GitHub does not let it. Does nothing where the event is about no pull request.
    """
    number = _pull_request(environment)
    if number is None:
        print("llmkit writes no comment: this event is about no pull request")
        return
    token = environment.get("INPUT_TOKEN")
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not token or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise CommentFailed("it has no token" if not token else "GITHUB_REPOSITORY names no repository")
    api = _Api(environment.get("GITHUB_API_URL") or "https://api.github.com", token)
    name = re.sub(r"[^\w.]+", "-", environment.get("INPUT_NAME") or "llmkit", flags=re.ASCII).strip("-")
    marker = f"<!-- llmkit: {name} -->"
    comments = f"/repos/{repository}/issues/{number}/comments"
    found = _own(api, comments, marker)
    written = {"body": f"{marker}\n{body}"}
    if found is None:
        api.call("POST", comments, written)
    else:
        api.call("PATCH", f"/repos/{repository}/issues/comments/{found}", written)


def _pull_request(environment: Mapping[str, str]) -> int | None:
    """Returns the number of the pull request that the event is about."""
    try:
        event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        number = event["pull_request"]["number"]
    except (KeyError, TypeError, OSError, ValueError, RecursionError):
        return None
    return number if isinstance(number, int) else None


def _own(api: _Api, comments: str, marker: str) -> int | None:
    """Returns the comment that begins with the marker and that this token, or a bot, wrote: anybody can write a
    marker."""
    try:
        login = _entry(api.call("GET", "/user"), "login")
    except CommentFailed:  # the token of a workflow may not ask who it is
        login = None
    for page in range(1, _MOST_PAGES + 1):
        found = api.call("GET", f"{comments}?per_page=100&page={page}")
        if not isinstance(found, list):
            raise CommentFailed("GitHub did not answer with a list of comments")
        for comment in found:
            user, number = _entry(comment, "user"), _entry(comment, "id")
            own = _entry(user, "login") == login if login else _entry(user, "type") == "Bot"
            if own and isinstance(number, int) and str(_entry(comment, "body")).startswith(marker):
                return number
        if len(found) < 100:
            break
    return None


def _entry(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would take the token along."""

    def redirect_request(self, *args: Any) -> None:
        """Returns no request."""


@dataclass(frozen=True)
class _Api:
    """GitHub's REST API."""

    url: str
    token: str

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """Returns what GitHub answers. Raises CommentFailed, with the remedy where there is one, for any fault."""
        data = None if content is None else json.dumps(content).encode("ascii")
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/vnd.github+json"}
        request = urllib.request.Request(self.url.rstrip("/") + path, data, headers, method=method)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            remedy = ""
            if error.code in (401, 403, 404):
                remedy = (
                    "; give the job `permissions: pull-requests: write` (for a pull request from a fork GitHub gives "
                    "none)"
                )
            raise CommentFailed(f"GitHub answered {error.code} to {method} {path.partition('?')[0]}{remedy}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise CommentFailed(f"GitHub did not answer to {method}: {error}") from None


def _append(path: str | None, text: str) -> None:
    """Adds to a file that the runner names; does nothing where it names none."""
    if path:
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(text)


def _output(name: str, values: Sequence[str]) -> str:
    """Returns an output of several lines, whose end no value can forge."""
    end = f"end-{secrets.token_hex(16)}"
    return "\n".join([f"{name}<<{end}", *values, end]) + "\n"


def _command(kind: str, message: str) -> str:
    """Returns a command of the runner, with the message as data."""
    data = scrub(message).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} title=llmkit::{data}"


if __name__ == "__main__":
    sys.exit(main())
