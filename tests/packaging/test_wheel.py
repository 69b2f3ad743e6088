"""The wheel, installed where no checkout is: it holds what llmkit needs, and its command works."""

from __future__ import annotations

import re
import shlex
import site
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from helpers.installing import ROOT, Environment, build_wheel, run

from llmkit import __version__
from llmkit.recipe import shipped_recipes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def over_what_is_here(folder: Path) -> Environment:
    """A fresh environment over the dependencies that are here."""
    environment = Environment(folder)
    # Plain lines in a .pth go behind the new environment's own packages, and the .pth files of the folders that they
    # name are not read: the wheel is found first, and an editable install of the checkout not at all.
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (environment.packages / "dependencies.pth").write_text("\n".join(sorted(folders)))
    return environment


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` folder of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("venv")
    environment = over_what_is_here(folder)
    environment.install(wheel, cwd=folder)
    return environment.bin


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
    assert {name.partition("/")[0] for name in names} == {"llmkit", f"llmkit_robust-{__version__}.dist-info"}


def test_the_distribution_has_a_name_of_its_own(wheel, installed, tmp_path):
    """The index compares names without dots, dashes, underscores and case, so that `llm-kit` rules `llmkit` out."""
    assert wheel.name == f"llmkit_robust-{__version__}-py3-none-any.whl"
    code = "from importlib.metadata import version; print(version('llmkit-robust'))"
    assert run(installed / "python", "-c", code, cwd=tmp_path) == f"{__version__}\n"


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
    code = "from llmkit import prompts; print(*prompts.prompt_names(), sep='\\n')"
    folder = ROOT / "prompts"
    expected = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.md"))
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == expected


def test_the_installed_adapters_are_found(installed, tmp_path):
    code = "from llmkit.engines.model_paths import shipped_adapters; print(*shipped_adapters())"
    expected = sorted(p.parent.name for p in (ROOT / "adapters").glob("*/adapter_config.json"))
    assert expected
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == expected


@pytest.mark.parametrize("name", ["extract", "tickets", "tools"])
def test_an_installed_example_can_be_copied(installed, tmp_path, name):
    run(installed / "llmkit", "data", "copy", name, cwd=tmp_path)
    expected = {p.name: p.read_bytes() for p in (ROOT / "examples" / name).iterdir()}
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == expected


def test_the_readme_installs_from_the_repository_and_from_no_index(tmp_path):
    """llmkit-robust is not published yet, and `llmkit` would be somebody else's package."""
    lines = re.findall(r"`pip install ([^`\n]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert lines, "README.md says how to install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in lines:
        (where,) = shlex.split(line)
        place, _, extras = where.partition("[")
        assert place == ".", f"`pip install {line}` does not install this repository"
        assert {e.strip() for e in extras.rstrip("]").split(",") if e} <= set(project["optional-dependencies"])
    environment = over_what_is_here(tmp_path)
    environment.install("--no-build-isolation", *shlex.split(lines[0]), cwd=ROOT)
    assert run(environment.bin / "llmkit", "--version", cwd=tmp_path) == f"llmkit {__version__}\n"
