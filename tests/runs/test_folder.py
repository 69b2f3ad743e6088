"""The run folder: a journal that survives, files without secrets, one process at a time."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers.processes import started
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError, Incomplete, UsageError
from llmkit.files import atomic, write_atomic
from llmkit.runs import RunFolder
from llmkit.terminal import visible


def open_folder(root, **kwargs):
    given = {"recipe": "seed: 7\n", "resolved": "seed: 7\nversion: 1\n", **kwargs}
    return RunFolder.open(root, "demo", "0123456789ab", **given)


def test_a_new_folder_holds_what_was_asked_for_and_where_it_ran(tmp_path):
    with open_folder(tmp_path) as folder:
        assert folder.path == tmp_path / "demo-0123456789ab"
        assert (folder.path / "recipe.yaml").read_text() == "seed: 7\n"
        assert (folder.path / "recipe.resolved.yaml").read_text() == "seed: 7\nversion: 1\n"
        env = json.loads((folder.path / "env.json").read_text())
    assert env["packages"]["torch"]
    assert env["hardware"]["cores"] == os.cpu_count()
    assert os.uname().nodename not in json.dumps(env)


def test_the_journal_gives_back_what_was_appended(tmp_path):
    rows = [{"id": i, "text": text} for i, text in enumerate(["é\n\u2028", "\x00{{ x }}", "\ud800"])]
    with open_folder(tmp_path) as folder:
        for row in rows:
            folder.append(row)
    with open_folder(tmp_path) as folder:
        assert list(folder.entries()) == rows


def is_whole(text):
    """Returns whether no two halves of a surrogate pair stand beside each other: in JSON these are the pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == text


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=())).filter(is_whole))
def test_no_file_of_a_run_holds_a_control_sequence_and_each_reads_back_equal(text):
    value = {"text": text, text: ["\x9b2J", "\u202e", "größer"]}
    with TemporaryDirectory() as root, RunFolder.reopen(Path(root)) as folder:
        folder.append(value)
        folder.write_json("metrics.json", value)
        read = [*folder.entries(), json.loads((folder.path / "metrics.json").read_text(encoding="utf-8"))]
        written = [(folder.path / name).read_text(encoding="utf-8") for name in ("samples.jsonl", "metrics.json")]
    assert read == [value, value]
    assert [visible(text) for text in written] == written
    assert all("größer" in text for text in written), "what is only foreign stays readable"


def test_a_journal_with_raw_characters_is_still_read(tmp_path):
    row = {"kind": "note", "key": "\x9b2J\u202e\x7f\ud800", "n": 1}
    line = json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
    with open_folder(tmp_path) as folder:
        (folder.path / "samples.jsonl").write_bytes(line.encode("utf-8", "surrogatepass"))
        folder.append(row)
        assert list(folder.entries()) == [row, row]


@pytest.mark.parametrize("torn", ['{"id": 1, "te', '{"id": 1}', "x" * 200_000])
def test_a_line_that_was_being_written_is_cut(tmp_path, torn):
    with open_folder(tmp_path) as folder:
        folder.append({"id": 0})
        journal = folder.path / "samples.jsonl"
    with open(journal, "a", encoding="utf-8") as file:
        file.write(torn)
    with open_folder(tmp_path) as folder:
        folder.append({"id": 2})
        assert [e["id"] for e in folder.entries()] == [0, 2]


def test_a_damaged_line_is_named(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.append({"id": 0})
        (folder.path / "samples.jsonl").open("a").write("not json\n")
        with pytest.raises(DataError, match=r"samples\.jsonl:2"):
            list(folder.entries())


def test_two_processes_never_share_a_folder_and_a_dead_one_is_taken_over(tmp_path):
    script = (
        "import sys, time; from llmkit.runs import RunFolder\n"
        f"folder = RunFolder.open({str(tmp_path)!r}, 'demo', '0123456789ab', recipe=None, resolved='')\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with started([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process"):
            open_folder(tmp_path)
    with open_folder(tmp_path) as folder:
        folder.append({"id": 0})


def test_a_full_disk_stops_the_run_and_keeps_what_was_written(tmp_path, monkeypatch):
    with open_folder(tmp_path) as folder:
        folder.append({"id": 0})
        write = os.write

        def full(fd, data):
            write(fd, data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(Incomplete, match="no space"):
            folder.append({"id": 1})
        monkeypatch.undo()
        monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(Incomplete, match="no space"):
            folder.write_json("metrics.json", {"a": 1})
        monkeypatch.undo()
        assert not list(folder.path.glob("*metrics*"))
    with open_folder(tmp_path) as folder:
        assert list(folder.entries()) == [{"id": 0}]


def test_a_result_file_is_old_or_new_and_never_half(tmp_path, monkeypatch):
    with open_folder(tmp_path) as folder:
        folder.write_json("metrics.json", {"a": 1})
        monkeypatch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder.write_json("metrics.json", {"a": 2})
        assert json.loads((folder.path / "metrics.json").read_text()) == {"a": 1}
        assert not list(folder.path.glob("*.tmp"))


def test_two_threads_write_one_file_each_as_a_whole(tmp_path):
    path = tmp_path / "digests.json"
    with atomic(path) as slow:
        slow.write(b"the slow ")
        quick = threading.Thread(target=write_atomic, args=(path, "the quick one"))
        quick.start()
        quick.join()
        assert path.read_text() == "the quick one"
        slow.write(b"one")
    assert path.read_text() == "the slow one"
    assert list(tmp_path.iterdir()) == [path]


def test_no_secret_is_ever_written(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-very-plain-key")
    recipe = "engine: {base_url: ['https://me:hunter22@host/v1?api_key=abc123def']}\n# sk-abcdefghijklmnop1234\n"
    with open_folder(tmp_path, recipe=recipe, resolved=recipe) as folder:
        folder.append({"error": "401 for a-very-plain-key at https://me:hunter22@host/v1, Bearer abcdefgh.ijk"})
        folder.write_json("metrics.json", {"header": "Authorization: Bearer a-very-plain-key"})
        written = "".join(p.read_text() for p in folder.path.iterdir())
    for secret in ("a-very-plain-key", "hunter22", "abc123def", "sk-abcdefghijklmnop1234", "abcdefgh.ijk"):
        assert secret not in written
    assert "https://***@host/v1?api_key=***" in written
