"""Runs llmkit's commands inside the test process, in an empty folder with an empty cache."""

from __future__ import annotations

import pytest

from llmkit.cli import app, common


@pytest.fixture
def llmkit(capfd, tmp_path, monkeypatch):
    """Runs a command; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def run(*args: str) -> tuple[int, str, str]:
        code = app.run(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    yield run
    common.settings.debug = common.settings.quiet = False
