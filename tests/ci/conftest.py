"""A small application and its rows, as a project has them that tests it."""

from __future__ import annotations

import pytest
from helpers.project import write_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of a project with `app.py`, `rows.jsonl` and `recipe.yaml`; it is the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_project(folder, monkeypatch)
    return folder
