"""Wheels and fresh environments, made from what is installed here: no index is asked."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import processes

ROOT = Path(__file__).parents[2]


def run(*command: object, cwd: Path) -> str:
    """Runs a command and returns its output, without this process's own Python paths."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def attempt(
    *command: object, cwd: Path, input: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command with the environment `variables`, which may fail."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return processes.run([*map(str, command)], cwd=cwd, env=environment | variables, input=input)


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout into a folder."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A fresh virtual environment without any package, its folders, and the pip that works on it."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = self.bin / "python"
        asked = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
        self.packages = Path(asked.strip())
        self.pip = [sys.executable, "-m", "pip", "--python", self.python]

    def install(self, *arguments: object, cwd: Path) -> None:
        """Installs a wheel or a checkout, without its requirements."""
        run(*self.pip, "install", "-q", "--no-deps", "--no-index", *arguments, cwd=cwd)

    def link(self, distribution: importlib.metadata.Distribution) -> None:
        """Puts a distribution that is installed here into the environment, as links to its files."""
        for file in set(distribution.files or ()):  # some lists name a file twice
            source = Path(distribution.locate_file(file))
            if ".." not in file.parts and source.is_file():
                target = self.packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source.resolve())

    def size(self) -> int:
        """Bytes of all installed packages."""
        return sum(file.stat().st_size for file in self.packages.rglob("*") if file.is_file())


def required(requirements: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """The distributions, of those installed here, that a package manager would install for some requirements."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [Requirement(line) for line in requirements]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        found[name] = importlib.metadata.distribution(name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                queue += _needs(found[name], extra)
    return found


def _needs(distribution: importlib.metadata.Distribution, extra: str) -> Iterator[Requirement]:
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement
