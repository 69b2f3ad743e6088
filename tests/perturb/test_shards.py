"""`llmkit perturb` in shards: every cut writes each row once, and the check proves it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.processes import started
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.cli import app
from llmkit.errors import DataError, Incomplete
from llmkit.perturb import Perturber, parts, undo
from llmkit.perturb.input_rows import RowFields
from llmkit.perturb.parts import Layout
from llmkit.perturb.shards import Inputs, ShardRows
from llmkit.perturb.stream import RowPerturber
from llmkit.recipe.schema import DataSection
from llmkit.types import Edit

QUESTION = "Maria buys {} red apples because they are cheaper than yesterday. How many are left?"


def _lines(numbers, **more) -> bytes:
    rows = [{"id": f"q{number}", "question": QUESTION.format(number), **more} for number in numbers]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[str]:
    """Inputs of every type, 150 rows in all, beside an empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(_lines(range(60)))
    Path("b.jsonl.gz").write_bytes(gzip.compress(_lines(range(60, 90))))
    rows = [json.loads(line) for line in _lines(range(90, 130)).splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), "c.parquet", row_group_size=7)
    texts = "".join(f'q{number},"{QUESTION.format(number)}"\n' for number in range(130, 140))
    Path("d.csv").write_text("id,question\n" + texts, encoding="utf-8")
    with pa.OSFile("e.jsonl.zst", "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write(_lines(range(140, 150)))
    return ["a.jsonl", "b.jsonl.gz", "c.parquet", "d.csv", "e.jsonl.zst"]


def _write(sources, folder, count, *flags) -> list[Path]:
    for number in range(1, count + 1):
        assert app.run(["perturb", *sources, "--op", "ec", "-o", folder, "--shard", f"{number}/{count}", *flags]) == 0
    return sorted(Path(folder).glob("part-*"))


def _content(written: list[Path]) -> bytes:
    return b"".join(path.read_bytes() for path in written)


@pytest.mark.slow
def test_any_number_of_shards_writes_the_same_bytes(files):
    whole = _content(_write(files, "one", 1))

    assert [json.loads(line)["id"] for line in whole.splitlines()] == [f"q{number}" for number in range(150)]
    for count in (2, 7, 40):
        assert _content(_write(files, f"in{count}", count)) == whole
        assert app.run(["perturb", *files, "--op", "ec", "-o", f"in{count}", "--check"]) == 0


def test_a_shard_writes_what_the_plain_command_writes(files, capfdbinary):
    assert app.run(["perturb", "a.jsonl", "--op", "ec"]) == 0
    plain = capfdbinary.readouterr().out

    assert _content(_write(["a.jsonl"], "out", 3)) == plain


def test_workers_change_no_byte(files):
    assert _content(_write(files, "two", 1, "--workers", "2")) == _content(_write(files, "one", 1))


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    count=st.integers(1, 12),
    ends=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_every_line_belongs_to_exactly_one_shard(tmp_path_factory, lengths, count, ends):
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    lines = [json.dumps({"question": "x" * length}).encode() for length in lengths]
    path.write_bytes(b"\n".join(lines) + b"\n" * ends)
    inputs = Inputs([str(path)])

    pieces = [
        line.rstrip(b"\n") for number in range(1, count + 1) for _, line in inputs.items(inputs.span((number, count)))
    ]

    assert pieces == lines


@given(size=st.integers(0, 10**12), count=st.integers(1, 1000))
def test_spans_lie_end_to_end(size, count):
    inputs = Inputs([])
    inputs._starts = [0, size]
    spans = [inputs.span((number, count)) for number in range(1, count + 1)]

    assert spans[0].start == 0
    assert spans[-1].end == size
    assert all(one.end == next_one.start for one, next_one in pairwise(spans))


def test_rows_without_ids_get_equal_noise_for_equal_texts_in_any_cut(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = json.dumps({"question": QUESTION.format(3)}).encode() + b"\n"
    Path("same.jsonl").write_bytes(row * 20)

    texts = {json.loads(line)["question"] for line in _content(_write(["same.jsonl"], "out", 4)).splitlines()}

    assert len(texts) == 1


def test_every_shard_sees_the_language_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    english = [{"id": i, "question": QUESTION.format(i)} for i in range(200)]
    german = [
        {"id": i, "question": f"Maria kauft {i} rote Äpfel, weil sie heute billiger sind. Wie viele hat sie dann?"}
        for i in range(200, 260)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in english + german), encoding="utf-8")

    whole = _content(_write(["rows.jsonl"], "one", 1, "--op", "hw"))

    assert _content(_write(["rows.jsonl"], "four", 4, "--op", "hw")) == whole


def test_parquet_and_zstd_hold_the_same_rows(files):
    plain = [json.loads(line) for line in _content(_write(files, "plain", 2)).splitlines()]
    tables = [pq.read_table(path) for path in _write(files, "parquet", 3, "--format", "parquet")]
    packed = _write(files, "zstd", 2, "--compression", "zstd")

    rows = [row | {"perturbation": json.loads(row["perturbation"])} for table in tables for row in table.to_pylist()]
    unpacked = b"".join(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd").read() for path in packed)

    assert rows == plain
    assert [json.loads(line) for line in unpacked.splitlines()] == plain


def test_compact_edits_give_the_original_back_and_no_edits_keep_none(files):
    full, compact, none = (
        [json.loads(line) for line in _content(_write(["a.jsonl"], folder, 1, *flags)).splitlines()]
        for folder, flags in (("full", ()), ("compact", ("--compact-edits",)), ("none", ("--no-edits",)))
    )

    for long, short, bare in zip(full, compact, none, strict=True):
        text = short["question"]
        edits = [Edit(start, end, old, text[start:end]) for start, end, old in short["perturbation"]["edits"]]
        assert undo(text, edits) == long["perturbation"]["original"]
        assert text == long["question"] == bare["question"]
        assert not {"original", "edits"} & set(bare["perturbation"])


def test_a_shard_that_is_done_is_not_written_again(files):
    (part,) = _write(["a.jsonl"], "out", 1)
    written_at = part.stat().st_mtime_ns

    assert app.run(["perturb", "a.jsonl", "--op", "ec", "-o", "out", "--shard", "1/1"]) == 0
    assert part.stat().st_mtime_ns == written_at


def _damage(what: str) -> None:
    part, marker = Path("out/part-00002-of-00003.jsonl"), Path("out/_done/00002-of-00003.json")
    if what == "no part":
        part.unlink()
        marker.unlink()
    elif what == "no file":
        part.unlink()
    elif what == "a letter":
        part.write_bytes(part.read_bytes().replace(b"Maria", b"Marie", 1))
    elif what == "a row twice":
        part.write_bytes(part.read_bytes() * 2)
    elif what == "a part of another cut":
        Path("out/part-00001-of-00002.jsonl").write_bytes(b"{}\n")
    elif what == "another seed":
        marker.unlink()
        assert app.run(["perturb", "a.jsonl", "--op", "ec", "--seed", "8", "-o", "other", "--shard", "2/3"]) == 0
        Path("other/_done/00002-of-00003.json").rename(marker)
    elif what == "a marker of text":
        marker.write_text("done", encoding="utf-8")
    elif what == "another version":
        marker.write_text(
            marker.read_text().replace('"version": "0.1.0"', '"version": "0.0.9"').replace('"job": "', '"job": "0'),
            encoding="utf-8",
        )


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("no part", 4, "1 of 3 parts are missing: 2"),
        ("no file", 2, "no such file"),
        ("a letter", 2, "its content is not what its marker says"),
        ("a row twice", 2, "bytes, its marker says"),
        ("a part of another cut", 2, "belongs to no part that is done"),
        ("another seed", 2, "from other inputs or with other flags"),
        ("a marker of text", 2, "not a marker of a part"),
        ("another version", 2, "was written by llmkit 0.0.9"),
    ],
)
def test_the_check_finds_what_is_missing_doubled_or_damaged(files, capfd, what, code, says):
    _write(["a.jsonl"], "out", 3)
    assert app.run(["perturb", "-o", "out", "--check"]) == 0
    _damage(what)
    capfd.readouterr()

    assert app.run(["perturb", "-o", "out", "--check"]) == code
    assert says in capfd.readouterr().err


def test_the_check_compares_with_the_flags_it_is_given(files, capfd):
    _write(["a.jsonl"], "out", 2)

    assert app.run(["perturb", "a.jsonl", "--op", "ec", "-o", "out", "--check"]) == 0
    assert app.run(["perturb", "a.jsonl", "--op", "sc", "-o", "out", "--check"]) == 2
    assert app.run(["perturb", "-o", "nothing", "--check"]) == 4


@pytest.mark.parametrize(
    ("given_flags", "says"),
    [
        (["a.jsonl", "d.csv"], "goes into a folder"),
        (["a.jsonl", "-o", "out", "--shard", "4/3"], "--shard 4/3"),
        (["a.jsonl", "-o", "out", "--shard", "1/2", "--limit", "3"], "--limit"),
        (["a.jsonl", "-o", "out", "--shard", "1/2", "--resume"], "--resume"),
        (["a.jsonl", "-o", "a.jsonl", "--shard", "1/2"], "a.jsonl is a file"),
        (["a.jsonl", "a.jsonl", "-o", "out"], "given twice"),
        (["-", "-o", "out", "--shard", "1/2"], "cannot be cut"),
        (["a.jsonl", "-o", "out", "--format", "csv"], "--format csv"),
        (["a.jsonl", "-o", "out", "--compression", "lz"], "--compression lz"),
        (["a.jsonl", "--no-edits", "--compact-edits"], "exclude each other"),
        (["nix://a/b.jsonl", "-o", "out"], "names no file system"),
        (["none.jsonl", "-o", "out", "--shard", "1/2"], "no such file"),
        (["rows.txt", "-o", "out", "--shard", "1/2"], "unknown type of file"),
    ],
)
def test_what_cannot_be_done_is_said_and_writes_nothing(files, capfd, given_flags, says):
    assert app.run(["perturb", *given_flags, "--op", "ec"]) == 2
    assert says in capfd.readouterr().err
    assert not Path("out").exists()


def test_rows_of_several_schemas_are_no_parquet_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_bytes(_lines(range(600), price=3) + _lines(range(600, 700), price="dear"))

    assert app.run(["perturb", "rows.jsonl", "--op", "ec", "-o", "out", "--format", "parquet"]) == 2
    assert "no one Parquet schema" in capfd.readouterr().err
    assert list(Path("out").iterdir()) == []


def test_a_full_disk_leaves_neither_part_nor_marker(files, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.Written, "write", full)
    rows = ShardRows(Inputs(["a.jsonl"]), (1, 2), RowFields(), DataSection())
    work = RowPerturber({"ec": Perturber("ec")})

    def made(sink):
        return sink.write(b"{}\n"), 0

    with pytest.raises(Incomplete, match="no space left"):
        parts.write_part(Layout("out"), (1, 2), rows.inputs, work, made)
    assert [path for path in Path("out").rglob("*") if path.is_file()] == []


def test_a_killed_shard_is_written_again_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_bytes(_lines(range(20_000)))
    command = [sys.executable, "-m", "llmkit", "perturb", "rows.jsonl", "--op", "ec", "-o", "out", "--shard", "1/1"]
    with started(command, stderr=subprocess.DEVNULL) as process:
        while not list(Path("out").glob(".part-*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert not list(Path("out").glob("part-*"))

    written = _write(["rows.jsonl"], "out", 1)

    assert len(_content(written).splitlines()) == 20_000
    assert app.run(["perturb", "-o", "out", "--check"]) == 0


def test_files_of_another_file_system_are_read_and_written(files):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in files:
        memory.pipe(f"/in/{name}", Path(name).read_bytes())
    sources = [f"memory://in/{name}" for name in files]

    for number in (1, 2):
        assert app.run(["perturb", *sources, "--op", "ec", "-o", "memory://out", "--shard", f"{number}/2"]) == 0

    assert app.run(["perturb", *sources, "--op", "ec", "-o", "memory://out", "--check"]) == 0
    remote = b"".join(memory.cat(name) for name in sorted(memory.glob("/out/part-*")))
    assert remote == _content(_write(files, "local", 2))


def test_a_marker_with_other_keys_is_refused(tmp_path):
    marker = tmp_path / "_done" / "00001-of-00001.json"
    marker.parent.mkdir()
    marker.write_text(json.dumps({"shard": 1, "of": 1, "code": "import os"}), encoding="utf-8")

    with pytest.raises(DataError, match="not a marker"):
        parts.parts_of(str(tmp_path))


def test_an_empty_input_makes_an_empty_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").write_bytes(b"")

    assert _content(_write(["empty.jsonl"], "out", 2)) == b""
    assert app.run(["perturb", "-o", "out", "--check"]) == 0
