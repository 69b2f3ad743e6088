"""Commands of llmkit that are forks of a process which has imported what they need: a training imports for seconds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from helpers.processes import LIMIT, limited, started
from llmkit.extras import lasting

HOUR = 3600.0  # the process lasts as long as the tests that use it; each command has a limit of its own

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextlib.contextmanager
def commands(modules: Sequence[str], paths: Sequence[Path]) -> Iterator[Run]:
    """Yields run(*args, cwd, cache, input=""): an llmkit command in a process of its own, which finds more packages in
    `paths`."""
    found = [*map(str, paths), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(found)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        tempfile.TemporaryDirectory() as folder,
        started([sys.executable, "-m", "helpers.forking", *modules], HOUR, env=environment, **pipes) as server,
    ):
        files = [str(Path(folder, name)) for name in ("in", "out", "err")]

        def run(*args: str, cwd: Path, cache: Path, input: str = "") -> subprocess.CompletedProcess[str]:
            Path(files[0]).write_text(input, encoding="utf-8")
            server.stdin.write(json.dumps({"args": args, "cwd": str(cwd), "cache": str(cache), "files": files}) + "\n")
            server.stdin.flush()
            with limited(server, LIMIT):
                code = int(server.stdout.readline())
            return subprocess.CompletedProcess(args, code, *(Path(name).read_text("utf-8") for name in files[1:]))

        yield run


def become(args: list[str], cwd: str, cache: str, files: list[str]) -> None:
    """Turns a fork into the command, which exits."""
    os.chdir(cwd)
    os.environ["LLMKIT_CACHE"] = cache
    for number, name in enumerate(files):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 the old one has read ahead
    sys.argv = ["llmkit", *args]
    main: Any = import_module("llmkit.cli.app").main
    main()


if __name__ == "__main__":
    with lasting():  # or the first search for garbage in each fork copies all of it
        for module in sys.argv[1:]:
            import_module(module)
    for line in sys.stdin:
        if (process := os.fork()) == 0:
            become(**json.loads(line))
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
