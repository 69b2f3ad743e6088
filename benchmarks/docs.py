"""Runs the commands that the docs show and writes what they print; a test keeps the pages true.

    python benchmarks/docs.py [PAGE ...]

Each fenced block of docs/ and README.md with a line `$ llmkit ...` is a session. Its commands run in a folder of
their own, with the page's `FILES` (doc_files.py) in it, and what they print is compared with the block. In a block,
`...` stands for anything, also for whole lines. A comment on the line above the block says how it is treated otherwise:

    <!-- llmkit: DATE, REASON -->     not run, because it needs a model, a server or much time; its output is of DATE
    <!-- llmkit: run by TEST -->      not run here, but by another test, which is named
    <!-- llmkit: labels -->           run; only the first word of each line is compared, as the rest is the machine's
    <!-- llmkit: with NAME -->        run, with the files of `FILES["PAGE NAME"]` instead of the page's

The flags of every command, of blocks without `$`, of those that are not run and of commands within the text too, are
checked against the command line itself: each command and flag exists, and each key of `--set`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doc_files import FILES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?:^<!-- llmkit: (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
NOT_RUN = re.compile(r"\d{1,2} [A-Z][a-z]+ \d{4}, .+|run by tests/\S+\.py")


@dataclass(frozen=True)
class Block:
    """A fenced block that holds commands."""

    page: str
    line: int
    note: str
    body: str

    @property
    def is_session(self) -> bool:
        """Shows what its commands print."""
        return re.search(r"^\$ (?:.*\| )?llmkit ", self.body, re.M) is not None

    @property
    def is_run(self) -> bool:
        return self.is_session and not NOT_RUN.fullmatch(self.note)

    def commands(self) -> list[str]:
        """Returns the command lines, `$` and output left out."""
        if not self.is_session:
            return [line for line in self.body.splitlines() if re.match(r"(.*\| |[A-Z_]+=\S+ )?llmkit [a-z-]", line)]
        return [line.removeprefix("$ ") for line in self.body.splitlines() if line.startswith("$ ")]

    def files(self) -> dict[str, str]:
        """Returns the files of its folder."""
        name = f"{self.page} {self.note.removeprefix('with ')}" if self.note.startswith("with ") else self.page
        return FILES.get(name, {})


def is_way_to_run(note: str) -> bool:
    """Returns whether a comment says how a session is run: by its labels, or with other files."""
    return note == "labels" or (note.startswith("with ") and any(name.endswith(f" {note[5:]}") for name in FILES))


def blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of a page that hold a command of llmkit."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        block = Block(page.relative_to(ROOT).as_posix(), line, match["note"] or "", match["body"])
        if match["language"] in ("", "sh", "console") and block.commands():
            yield block


def mentions(page: Path) -> list[str]:
    """Returns the commands that a page mentions in its text, outside of blocks."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(command.split()) for command in re.findall(r"`((?:[A-Z_]+=\S+ )?llmkit [a-z-][^`]*)`", text)]


def run(block: Block) -> str:
    """Runs a session and returns the block's text with what its commands print today."""
    with tempfile.TemporaryDirectory() as place:
        home, folder, programs = (Path(place, name) for name in ("home", "work", "bin"))
        for made in (home, folder, programs):
            made.mkdir()
        for name, text in block.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        program = programs / "llmkit"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m llmkit "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        shell = _Shell(folder, home, programs)
        return "\n".join(f"$ {command}\n{shell.output(command)}".rstrip() for command in block.commands()) + "\n"


class _Shell:
    """Runs one command after the other, in one folder and with nothing of the user's own settings."""

    def __init__(self, folder: Path, home: Path, programs: Path) -> None:
        kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS") if name in os.environ}
        self.environment = {
            **kept,
            "HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "LLMKIT_CACHE": str(home / "cache"),
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.folder, self.status = folder, 0

    def output(self, command: str) -> str:
        """Returns what a command prints, stdout and stderr as they come."""
        if command == "echo $?":
            return str(self.status)
        shell = ["bash", "-c", command]
        done = subprocess.run(
            shell,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.status = done.returncode
        return done.stdout.replace(str(self.folder), ".").replace(self.environment["LLMKIT_CACHE"], "~/.cache/llmkit")


def agrees(block: Block, printed: str) -> bool:
    """Returns whether the block shows what was printed, with its ellipses for whatever they leave out."""
    tidy = _labels if block.note == "labels" else _tidy
    shown, printed = tidy(block.body), tidy(printed)
    pattern = ".*?".join(re.escape(part) for part in re.split(r"\.\.\.", shown))
    return re.fullmatch(pattern, printed, re.S) is not None


def _labels(text: str) -> str:
    return re.sub("─+", "─", "\n".join(line.split()[0] for line in text.splitlines() if line.strip()))


def _tidy(text: str) -> str:
    """Returns a text without spaces at the ends of lines and without empty lines before a command."""
    return re.sub(r"\n\n+(?=\$ )", "\n", re.sub(r"[ \t]+$", "", text, flags=re.M)).strip()


def words_of(command: str) -> list[list[str]]:
    """Returns the arguments of each `llmkit` in a command line, without what belongs to the shell."""
    command = re.sub(r"\s\[(--.*?)\](?=\s|$)", r" \1", command)  # a synopsis: optional parts in brackets
    command = re.sub(r"<[a-z]+>", "NAME", command)
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    inside = False
    for word in lexer:
        if word in ("|", "&&", ";", ">", "2>", "||"):
            inside = False
        elif word == "llmkit" and not inside:
            inside = True
            calls.append([])
        elif inside and word != "...":
            calls[-1].append(word)
    return calls


def faults(words: list[str]) -> list[str]:
    """Returns what the command line does not know of a call: a command, a flag, a key of `--set`."""
    import typer
    from typer.main import get_command

    from llmkit.cli.app import app
    from llmkit.recipe.faults import all_keys

    if set(words) & {"--install-completion", "--show-completion"}:  # Typer's own: to parse them is to run them
        return []
    command, context, name, rest = get_command(app), None, "llmkit", words
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what `--help` prints
            while True:
                context = command.make_context(name, list(rest), parent=context)
                if not hasattr(command, "resolve_command"):
                    break
                name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    except typer.Exit:
        return []
    except typer.TyperException as error:
        return [error.format_message()]
    keys = [after.partition("=")[0] for word, after in itertools.pairwise(words) if word == "--set"]
    options = ("finetune.options.", "eval.judge.")  # those of a method, any name; and of a section that may be left out
    return [f"recipes have no key {key}" for key in keys if key not in set(all_keys()) and not key.startswith(options)]


def main() -> None:
    chosen = {Path(name).resolve() for name in sys.argv[1:]}
    for page in PAGES:
        if chosen and page not in chosen:
            continue
        text = page.read_text(encoding="utf-8")
        for block in blocks(page):
            if not block.is_run or agrees(block, printed := run(block)):
                continue
            if "..." in block.body or block.note == "labels":
                print(f"{block.page}:{block.line} has parts left out: write it by hand from this\n{printed}")
            else:
                text = text.replace(block.body, printed)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
