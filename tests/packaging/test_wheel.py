"""The wheel, installed where no checkout is: it holds what llmkit needs, and its command works."""

from __future__ import annotations

import os
import re
import shlex
import site
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from llmkit import __version__
from llmkit.recipe import shipped_recipes

ROOT = Path(__file__).parents[2]


def run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    return next(folder.glob("*.whl"))


def fresh(folder: Path) -> tuple[Path, list[object]]:
    """The `bin` folder of a fresh environment over the dependencies that are here, and the pip that installs in it."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    binaries = folder / ("Scripts" if sys.platform == "win32" else "bin")
    packages = Path(
        run(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # Plain lines in a .pth go behind the new environment's own packages, and the .pth files of the folders that they
    # name are not read: the wheel is found first, and an editable install of the checkout not at all.
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (packages / "dependencies.pth").write_text("\n".join(sorted(folders)))
    pip = [sys.executable, "-m", "pip", "--python", binaries / "python", "install", "-q", "--no-deps", "--no-index"]
    return binaries, pip


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` folder of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("venv")
    binaries, pip = fresh(folder)
    run(*pip, wheel, cwd=folder)
    return binaries


@pytest.mark.parametrize("kind", ["prompts", "recipes", "adapters"])
def test_what_is_shipped_is_inside(wheel, kind):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [p.relative_to(ROOT / kind) for p in (ROOT / kind).rglob("*") if p.is_file()]
    assert sources
    assert {f"llmkit/_{kind}/{p.as_posix()}" for p in sources} <= names


def test_every_module_is_inside_and_nothing_else_of_the_checkout(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "llmkit").rglob("*.py")}
    assert modules <= names
    assert {name.partition("/")[0] for name in names} == {"llmkit", f"llmkit-{__version__}.dist-info"}


def test_the_installed_command_runs_outside_the_checkout(installed, tmp_path):
    assert run(installed / "llmkit", "--version", cwd=tmp_path) == f"llmkit {__version__}\n"
    imported = run(installed / "python", "-c", "import llmkit; print(llmkit.__file__)", cwd=tmp_path)
    assert Path(imported.strip()).is_relative_to(installed.parent)
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_checks_every_shipped_recipe(installed, tmp_path):
    names = shipped_recipes()
    out = run(installed / "llmkit", "recipe", "check", *names, cwd=tmp_path)
    assert [line.partition(": ok (")[0] for line in out.splitlines()] == names


def test_the_installed_prompts_can_be_read(installed, tmp_path):
    code = "from llmkit import prompts; print(*prompts.names(), sep='\\n')"
    folder = ROOT / "prompts"
    expected = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.md"))
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == expected


def test_the_installed_adapters_are_found(installed, tmp_path):
    code = "from llmkit.engines.model_paths import shipped_adapters; print(*shipped_adapters())"
    expected = sorted(p.parent.name for p in (ROOT / "adapters").glob("*/adapter_config.json"))
    assert expected
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == expected


def test_the_readme_installs_from_the_repository_and_from_no_index(tmp_path):
    """llmkit is not on the package index, where names like it belong to others."""
    lines = re.findall(r"pip install ([^`\n]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert lines, "README.md says how to install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in lines:
        (where,) = shlex.split(line)
        place, _, extras = where.partition("[")
        assert place == ".", f"`pip install {line}` does not install this repository"
        assert {e.strip() for e in extras.rstrip("]").split(",") if e} <= set(project["optional-dependencies"])
    binaries, pip = fresh(tmp_path)
    run(*pip, "--no-build-isolation", *shlex.split(lines[0]), cwd=ROOT)
    assert run(binaries / "llmkit", "--version", cwd=tmp_path) == f"llmkit {__version__}\n"
