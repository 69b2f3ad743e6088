"""Files of rows, and the command against a scripted model."""

from __future__ import annotations

import csv

import pytest
from helpers.fakes import FakeEngine
from helpers.shop import RECIPE, shop

from llmkit.cli import app, common


@pytest.fixture
def write(tmp_path):
    """write(name, texts, **columns): a CSV file of rows; returns its path."""

    def go(name, texts, **columns):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["body", *columns])
            writer.writerows(zip(texts, *columns.values(), strict=True))
        return str(path)

    return go


@pytest.fixture
def llmkit(capfd, monkeypatch, tmp_path, opens):
    """llmkit(*args, answer=shop): runs a command against the scripted model; returns exit code, stdout, stderr and the
    engine. The recipe is `shop.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CI", "1")
    (tmp_path / "shop.yaml").write_text(RECIPE)

    def go(*args, answer=shop):
        engine = FakeEngine(answer)
        opens(lambda model, section: engine)
        code = app.run([str(arg) for arg in args])
        return code, *capfd.readouterr(), engine

    yield go
    common.settings.debug = common.settings.quiet = False
