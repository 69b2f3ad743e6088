"""The site builds without a warning and without the network, and its pages load nothing from elsewhere."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from helpers.benchmarks import ROOT
from helpers.processes import run

WITHOUT_NETWORK = """
import socket, sys

def refuse(*_, **__):
    raise OSError("the build of the site must not use the network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = run(
        [sys.executable, "-c", WITHOUT_NETWORK, "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in pages if not (site / path).is_file()} == set()


def test_no_page_loads_anything_from_elsewhere(site):
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=\"(?:https?:)?//|<link[^>]*rel=\"(?:stylesheet|preconnect)\"[^>]*//"
    )
    assert [path.name for path in site.rglob("*.html") if loads.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("perturb", ("Perturber", "Operator", "operator", "make_variants", "undo")),
        ("talklora", ("TalkLoraConfig", "TalkLoraLayer", "TalkLoraModel", "register")),
        ("engines", ("Engine", "EngineIdentity", "ResponseCache", "open_engine")),
    ],
)
def test_an_api_page_shows_what_the_package_exports(site, page, names):
    text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
    assert [name for name in names if f'id="llmkit.{page}.{name}"' not in text] == []


def test_files_that_the_pages_name_are_in_the_repository():
    named = re.compile(r"\b(?:adapters|benchmarks|docs|llmkit|prompts|recipes|requirements|tests)/[\w./-]+\.[a-z]+\b")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    missing = {(page.name, name) for page in pages for name in named.findall(page.read_text(encoding="utf-8"))}
    assert {(page, name) for page, name in missing if not (ROOT / name).exists()} == set()
