"""`llmkit cache`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from llmkit.engines import ResponseCache
from llmkit.types import Reply

CACHE = Path("cache")


@pytest.fixture
def full(llmkit):
    """A cache with two answers, one set, one model and a file that is not llmkit's."""
    CACHE.mkdir()
    with ResponseCache() as cache:
        cache.put("a", Reply("1"))
        cache.put("b", Reply("2"))
    for name, size in (("data/gsm8k/x.arrow", 2000), ("models/smollm2/model.safetensors", 5000), ("mine.txt", 10)):
        (CACHE / name).parent.mkdir(parents=True, exist_ok=True)
        (CACHE / name).write_bytes(b"x" * size)
    return llmkit


def info(llmkit) -> dict[str, dict]:
    return {row["kind"]: row for row in json.loads(llmkit("cache", "info", "--json")[1])["kinds"]}


def test_info_of_nothing_makes_nothing(llmkit):
    rows = info(llmkit)
    assert {(row["bytes"], row["items"]) for row in rows.values()} == {(0, 0)}
    assert not CACHE.exists()


def test_info_counts(full):
    rows = info(full)
    assert rows["responses"]["items"] == 2
    assert (rows["data"]["bytes"], rows["data"]["items"]) == (2000, 1)
    assert (rows["models"]["bytes"], rows["models"]["items"]) == (5000, 1)
    code, out, err = full("cache", "info")
    assert code == 0
    assert "4.9 KiB" in out
    assert str(CACHE) in err


def test_clear_asks_and_without_a_terminal_refuses(full, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = full("cache", "clear", "data")
    assert code == 2
    assert err == "error: this deletes data (2.0 KiB)\nhint: add --yes to do it without being asked\n"
    assert info(full)["data"]["bytes"] == 2000


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2000), ("y\n", 0)])
def test_the_answer_counts(full, monkeypatch, answer, left):
    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", stdin)
    full("cache", "clear", "data")
    assert info(full)["data"]["bytes"] == left


def test_clear_by_kind(full):
    assert full("cache", "clear", "data", "responses", "--yes")[0] == 0
    rows = info(full)
    assert (rows["responses"]["items"], rows["data"]["bytes"], rows["models"]["bytes"]) == (0, 0, 5000)


def test_clear_all_leaves_what_is_not_llmkits(full):
    found = json.loads(full("cache", "clear", "--yes", "--json")[1])
    assert found["cleared"] == ["responses", "data", "models"]
    assert (CACHE / "mine.txt").exists()
    assert not (CACHE / "models").exists()
    assert "nothing to clear" in full("cache", "clear", "data", "models", "--yes")[2]


def test_a_damaged_cache_can_be_seen_and_cleared(full):
    for path in CACHE.glob("responses.sqlite*"):
        path.write_bytes(b"this is no database, and long enough to be read as one" * 100)
    assert info(full)["responses"]["items"] is None
    assert full("cache", "clear", "responses", "--yes")[0] == 0
    assert info(full)["responses"]["items"] == 0


def test_an_unknown_kind(full):
    code, _, err = full("cache", "clear", "respones", "--yes")
    assert code == 2
    assert "did you mean `responses`?" in err
