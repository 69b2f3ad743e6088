"""`llmkit perturb` as a user meets it: sources, bad rows, workers, resuming, pages."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from helpers.processes import run, started

from llmkit.cli import app, common
from llmkit.perturb import stream, undo
from llmkit.types import Edit

ROWS = [
    {"id": f"q{i}", "question": f"Maria buys {i} red apples because they are cheaper. How many?", "answer": str(i)}
    for i in range(300)
]


@pytest.fixture
def llmkit(capfdbinary, tmp_path, monkeypatch):
    """Runs a command in an empty folder; returns exit code, output lines and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))

    def run(*args: str, stdin: bytes | None = None) -> tuple[int, list[bytes], str]:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = app.run(["perturb", *args])
        out, err = capfdbinary.readouterr()
        return code, out.splitlines(), err.decode()

    yield run
    common.settings.debug = common.settings.quiet = False


def jsonl(rows: list[dict]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def source(tmp_path) -> str:
    Path(tmp_path, "in.jsonl").write_bytes(jsonl(ROWS))
    return "in.jsonl"


def test_rows_come_out_in_order_with_what_was_done(llmkit, source):
    code, lines, err = llmkit(source, "--op", "ec,uic", "--rate", "0,0.2", "--copies", "2", "--limit", "3")
    assert code == 0
    assert "24 rows written" in err
    rows = [json.loads(line) for line in lines]
    assert [r["id"] for r in rows] == [f"q{i}" for i in range(3) for _ in range(8)]
    seen = [(r["perturbation"]["operator"], r["perturbation"]["rate"], r["perturbation"]["copy"]) for r in rows[:8]]
    assert seen == [(op, rate, copy) for op in ("ec", "uic") for rate in (0.0, 0.2) for copy in (0, 1)]
    for row in rows:
        made = row["perturbation"]
        assert undo(row["question"], [Edit(**e) for e in made["edits"]]) == made["original"]
        assert set(made["strength"]) == {"words", "chars"}
        assert (row["question"] == made["original"]) == (made["rate"] == 0)


def test_sources_give_the_same_noise(llmkit, source, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with gzip.open("in.jsonl.gz", "wb") as file:
        file.write(jsonl(ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), "in.parquet")
    Path("in.csv").write_text(
        "id,question,answer\n" + "".join(f"{r['id']},{r['question']},{r['answer']}\n" for r in ROWS)
    )
    expected = llmkit(source, "--op", "ec")[1]
    assert len(expected) == 300
    for other in ("in.jsonl.gz", "in.parquet", "in.csv"):
        assert llmkit(other, "--op", "ec")[1] == expected
    assert llmkit("-", "--op", "ec", stdin=jsonl(ROWS))[1] == expected


def test_workers_do_not_change_a_byte(llmkit, source, monkeypatch):
    monkeypatch.setattr(stream, "_CHUNK", 50)
    assert llmkit(source, "--op", "ec,sc", "--workers", "2")[1] == llmkit(source, "--op", "ec,sc")[1]


def test_no_more_processes_are_started_than_there_is_work_for(llmkit, source, monkeypatch):
    sizes = []

    class Pool(stream.ProcessPoolExecutor):
        def __init__(self, workers, *more):
            sizes.append(workers)
            super().__init__(workers, *more)

    monkeypatch.setattr(stream, "ProcessPoolExecutor", Pool)
    alone = llmkit(source, "--op", "ec")[1]
    assert llmkit(source, "--op", "ec", "--workers", "1024")[1] == alone
    assert sizes == []
    monkeypatch.setattr(stream, "_CHUNK", 100)
    assert llmkit(source, "--op", "ec", "--workers", "1024")[1] == alone
    assert sizes == [3]


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_are_read_as_they_are_needed(workers):
    from llmkit.perturb import Perturber
    from llmkit.perturb.input_rows import InputRow
    from llmkit.perturb.stream import _CHUNK, RowPerturber, perturb_rows

    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield InputRow(ROWS[taken % 300], str(taken))

    chunks = perturb_rows(RowPerturber({"ec": Perturber("ec", rate=0.1)}), endless(), workers)
    for _ in range(3):
        next(chunks)
    chunks.close()
    assert taken <= _CHUNK * (3 * workers + 3)


def test_a_recipe_is_a_source(llmkit, source):
    Path("own.jsonl").write_bytes(jsonl([{"key": "a", "text": ROWS[1]["question"], "gold": "9"}]))
    Path("r.yaml").write_text(
        "version: 1\ndata: {path: own.jsonl, question: text, id: key, answer: gold}\n"
        "perturb: {conditions: [ec, sc], rate: 0.2}\n"
    )
    code, lines, _ = llmkit("r.yaml")
    rows = [json.loads(line) for line in lines]
    assert (code, [r["perturbation"]["operator"] for r in rows]) == (0, ["ec", "sc"])
    assert all(r["key"] == "a" and r["text"] != ROWS[1]["question"] for r in rows)


def test_a_hub_set_is_streamed(llmkit, monkeypatch):
    import datasets

    asked = []

    def load(name, split, streaming):
        asked.append((name, split, streaming))
        return iter(ROWS[:3])

    monkeypatch.setattr(datasets, "load_dataset", load)
    code, lines, _ = llmkit("hub:some/set:train", "--op", "ec")
    assert (code, len(lines)) == (0, 3)
    assert asked == [("some/set", "train", True)]


def test_a_hub_that_is_not_there_is_one_clear_error(llmkit):
    code, _, err = llmkit("hub:nobody/nothing", "--op", "ec")
    assert code == 2
    assert "hub set `nobody/nothing` is not available" in err


def test_a_task_is_a_source(llmkit):
    code, lines, _ = llmkit("task:arithmetic", "--op", "ec", "--limit", "5", "--set", "data.size=20")
    rows = [json.loads(line) for line in lines]
    assert (code, len(rows)) == (0, 5)
    assert set(rows[0]) == {"id", "question", "answer", "perturbation"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ids_are_found_wherever_they_stand(llmkit, workers, monkeypatch):
    """Lines with a plain id go to the workers unread; what comes out is what reading them first gives."""
    monkeypatch.setattr(stream, "_CHUNK", 10)
    text = "Maria buys red apples because they are cheaper. How many {n} are left?"
    rows = [
        {"id": "a", "question": text},
        {"question": text, "id": 7},
        {"meta": {"id": 7}, "question": text},
        {"question": text, "answer": '"id": 7'},
        {"question": text, "id": None},
        {"question": text, "id": ""},
        {"question": text.replace("{n}", "more"), "id": -1.5},
        {"question": text.replace("{n}", "more"), "idea": 7},
    ] * 3
    given = jsonl(rows)
    made = [json.loads(line) for line in llmkit("-", "--op", "ec", "--workers", workers, stdin=given)[1]]
    read_first = [json.loads(line) for line in llmkit("-", "--op", "ec", "--limit", "24", stdin=given)[1]]
    assert made == read_first
    assert len(made) == 24


def test_rows_before_a_bad_line_are_written(llmkit, source):
    Path("bad.jsonl").write_bytes(jsonl(ROWS) + b'{"id": 5, "question": 5}\n' + jsonl(ROWS))
    Path("no_ids.jsonl").write_bytes(Path("bad.jsonl").read_bytes().replace(b'"id"', b'"key"'))
    for workers, name in product(("1", "2"), ("bad.jsonl", "no_ids.jsonl")):
        code, lines, err = llmkit(name, "--op", "ec", "--workers", workers)
        assert (code, len(lines)) == (2, 300)
        assert f"{name}:301: field `question` holds a number" in err
        assert "hint: `--skip-bad-lines`" in err


def test_rows_without_ids_are_told_apart_by_occurrence(llmkit):
    same = jsonl([{"question": ROWS[1]["question"]}] * 6)
    texts = [json.loads(line)["question"] for line in llmkit("-", "--op", "ec", "--rate", "0.3", stdin=same)[1]]
    assert len(set(texts)) >= 5
    again = [json.loads(line)["question"] for line in llmkit("-", "--op", "ec", "--rate", "0.3", stdin=same)[1]]
    assert again == texts


@pytest.mark.parametrize("kept", [0, 1, 1000, 20_000, None])
def test_an_interrupted_file_is_resumed(llmkit, source, kept):
    llmkit(source, "--op", "ec,woo", "--out", "whole.jsonl")
    whole = Path("whole.jsonl").read_bytes()
    Path("part.jsonl").write_bytes(whole[:kept])
    code, _, _ = llmkit(source, "--op", "ec,woo", "--out", "part.jsonl", "--resume")
    assert code == 0
    assert Path("part.jsonl").read_bytes() == whole


def test_a_file_of_other_settings_is_not_touched(llmkit, source):
    llmkit(source, "--op", "ec", "--out", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    code, _, err = llmkit(source, "--op", "ec", "--seed", "8", "--out", "out.jsonl", "--resume")
    assert (code, Path("out.jsonl").read_bytes()) == (2, before)
    assert "was not written by this command" in err
    code, _, err = llmkit(source, "--op", "ec", "--out", "out.jsonl")
    assert code == 2
    assert "exists" in err
    assert Path("out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{not json}", "not JSON"),
        (b'{"question": "caf\xe9"}', "not UTF-8 (byte 0xe9"),
        (b'{"text": "no question"}', "no field `question`"),
        (b'{"question": 5}', "holds a number, not text"),
        (b'{"question": null}', "holds null, not text"),
        (b'"only a string"', "must be an object"),
    ],
)
def test_a_bad_row_stops_with_its_place_or_is_skipped_and_counted(llmkit, line, message):
    given = jsonl(ROWS[:1]) + line + b"\n" + jsonl(ROWS[1:2])
    code, lines, err = llmkit("-", "--op", "ec", stdin=given)
    assert code == 2
    assert "<stdin>:2: " in err
    assert message in err
    code, lines, err = llmkit("-", "--op", "ec", "--skip-bad-lines", stdin=given)
    assert (code, len(lines)) == (0, 2)
    assert "1 bad line skipped" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.jsonl"], "no such file"),
        (["in.jsonl", "--op", "ek"], "unknown operator `ek`"),
        (["in.jsonl", "--op", "ec", "--rate", "2"], "not in 0..1"),
        (["in.jsonl", "--field", "text"], "no field `text`"),
        (["in.jsonl", "--op", "llm:ec"], "needs a model"),
        (["in.jsonl", "--resume"], "only an output file"),
        (["in.jsonl", "--op", "ec", "--protect", "("], "not a regular expression"),
        (["in.jsonl", "--op", ""], "no operator is given"),
        (["in.jsonl", "--op", "ec", "--html", "none/page.html"], "none/page.html: no such folder"),
        (["task:gsm9k"], "unknown task"),
        (["in.txt"], "unknown type of file"),
        ([], "no source of rows is given"),
    ],
)
def test_what_a_user_gets_wrong_is_one_clear_error(llmkit, source, args, message):
    Path("in.txt").write_text("x")
    code, lines, err = llmkit(*args)
    assert (code, lines) == (2, [])
    assert message in err
    assert "hint:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["noisy.csv", "noisy.parquet", "noisy.jsonl.gz"])
def test_lines_of_json_are_not_written_under_the_name_of_another_form(llmkit, source, name):
    code, _, err = llmkit(str(source), "--op", "ec", "-o", name)
    assert code == 2
    assert "JSON lines" in err
    assert "noisy.jsonl" in err
    assert not Path(name).exists()


def test_odd_texts_pass_through(llmkit):
    texts = ["", "x", "7.5", "👩‍👩‍👧 ❤️", "e\u0301", "שלום עולם", "\ud800 lone", "word " * 20_000]
    code, lines, err = llmkit("-", "--op", "ec", stdin=jsonl([{"question": text} for text in texts]))
    rows = [json.loads(line) for line in lines]
    assert code == 0
    assert [r["perturbation"]["original"] for r in rows] == texts
    assert "unchanged" in err
    assert rows[0]["perturbation"]["rejected"] == "the text is empty"


def test_a_second_pass_keeps_the_first_record(llmkit, source):
    first = llmkit(source, "--op", "ec", "--limit", "1")[1][0]
    second = json.loads(llmkit("-", "--op", "uic", stdin=first + b"\n")[1][0])
    assert second["perturbation"]["previous"] == json.loads(first)["perturbation"]


def test_statistics_pages_and_previews(llmkit, source):
    code, lines, err = llmkit(
        source, "--op", "ec,hw", "--rate", "0.3", "--stats", "--html", "page.html", "--limit", "20"
    )
    assert (code, len(lines)) == (0, 40)
    page = Path("page.html").read_text()
    assert page.count("<p dir=") == 40
    assert "<del>" in page
    assert "<ins>" in page
    assert "http" not in page
    code, lines, _ = llmkit(source, "--op", "ec", "--preview", "2")
    assert b"[-" in b"".join(lines)
    assert b"{+" in b"".join(lines)
    code, _, err = llmkit(source, "--op", "ec", "--stats", "--json", "--limit", "20")
    facts = json.loads(err.splitlines()[0])["ec"]
    assert facts["rows"] == 20
    assert facts["words"] == pytest.approx(0.1, abs=0.03)


def test_the_list_names_every_operator(llmkit):
    from llmkit.perturb import OPERATORS

    code, lines, _ = llmkit("--list", "--json")
    listed = json.loads(b"\n".join(lines))
    assert code == 0
    assert [o["name"].partition(":")[0] for o in listed] == list(OPERATORS)
    assert all(o["example"] for o in listed if OPERATORS[o["name"].partition(":")[0]].shows_example)


def test_html_is_escaped(llmkit):
    row = jsonl([{"question": "Is <b>bold</b> & <script>alert(1)</script> really shown here today?"}])
    llmkit("-", "--op", "ec", "--rate", "0.5", "--html", "page.html", stdin=row)
    page = Path("page.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;" in page or "&lt;script&gt;" in page


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    path = Path(tmp_path, "in.jsonl")
    path.write_bytes(jsonl(ROWS * 20))
    command = f"{sys.executable} -m llmkit perturb {path} --op ec --workers 2 | head -n 1"
    done = run(["sh", "-c", command])
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr.lower()


INTERRUPTED = """
import sys
from multiprocessing.process import BaseProcess
from llmkit.cli import app
start = BaseProcess.start
def interrupted(self):
    start(self)
    raise KeyboardInterrupt
BaseProcess.start = interrupted
app.main(["perturb", sys.argv[1], "--op", "ec", "--workers", "2", "--out", sys.argv[2]])
"""


def test_an_interruption_between_the_starts_of_two_workers_ends_the_command(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(jsonl(ROWS * 4))
    done = run([sys.executable, "-c", INTERRUPTED, path, tmp_path / "out.jsonl"], limit=120)
    assert done.returncode == 130
    assert "error: interrupted" in done.stderr


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)])
def test_a_command_that_is_ended_leaves_no_workers_behind(tmp_path, sign, code):
    """With its whole group, as a terminal or `timeout` does. A worker would hold its stderr open."""
    path, out = Path(tmp_path, "in.jsonl"), Path(tmp_path, "out.jsonl")
    path.write_bytes(jsonl(ROWS * 200))
    command = [sys.executable, "-m", "llmkit", "perturb", str(path), "--op", "ec", "--workers", "2", "-o", str(out)]
    with started(command, stderr=subprocess.PIPE) as process:
        while not (out.exists() and out.stat().st_size):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, sign)
        process.communicate()
    assert process.returncode == code
