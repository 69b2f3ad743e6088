"""Noise inside Ray Data and datatrove, on a local cluster of two: the rows of the plain command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.processes import run

from llmkit.cli import app

QUESTION = "Maria buys {} red apples because they are cheaper than yesterday. How many are left?"


@pytest.fixture
def plain(tmp_path, monkeypatch) -> dict[str, str]:
    """Noisy texts by id, as `llmkit perturb` writes them, beside the rows as rows.parquet and in/rows-N.jsonl."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"q{number}", "question": QUESTION.format(number)} for number in range(120)]
    pq.write_table(pa.Table.from_pylist(rows), "rows.parquet", row_group_size=30)
    Path("in").mkdir()
    for part in range(2):
        lines = [json.dumps(row) + "\n" for row in rows[part::2]]
        Path(f"in/rows-{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    assert app.run(["perturb", "rows.parquet", "--op", "ec", "--rate", "0.2", "-o", "plain.jsonl"]) == 0
    return {row["id"]: row["question"] for row in map(json.loads, Path("plain.jsonl").read_text().splitlines())}


RAY = """
import json, ray, ray.data
from llmkit.perturb import Perturber
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=10**8)
rows = ray.data.read_parquet("rows.parquet").map_batches(Perturber("ec", rate=0.2), batch_size=16).take_all()
print(json.dumps([[row["id"], row["question"], json.loads(row["perturbation"])["original"]] for row in rows]))
"""

DATATROVE = """
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from llmkit.integrations.datatrove import Perturb, row_of
if __name__ == "__main__":
    steps = [JsonlReader("in", text_key="question"), Perturb("ec@0.2"),
             JsonlWriter("out", compression=None, adapter=row_of)]
    LocalPipelineExecutor(pipeline=steps, tasks=2, workers=2, logging_dir="logs").run()
"""


def _ran(script: str, name: str) -> str:
    Path(name).write_text(script, encoding="utf-8")
    done = run([sys.executable, name])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.e2e
def test_ray_data_gives_the_rows_of_the_plain_command(plain):
    pytest.importorskip("ray")

    rows = json.loads(_ran(RAY, "by_ray.py").splitlines()[-1])

    assert {row_id: text for row_id, text, _ in rows} == plain
    assert all(original == QUESTION.format(row_id[1:]) for row_id, _, original in rows)


@pytest.mark.e2e
def test_datatrove_gives_the_rows_of_the_plain_command(plain):
    pytest.importorskip("datatrove")

    _ran(DATATROVE, "by_datatrove.py")
    rows = [json.loads(line) for path in Path("out").glob("*.jsonl") for line in path.read_text().splitlines()]

    assert {row["id"]: row["text"] for row in rows} == plain
    assert {json.loads(row["metadata"]["perturbation"])["operator"] for row in rows} == {"ec"}


def test_datatrove_writes_documents_with_and_without_edits_into_one_parquet_file(tmp_path):
    pytest.importorskip("datatrove")
    from datatrove.data import Document
    from datatrove.pipeline.writers import ParquetWriter

    from llmkit.integrations.datatrove import Perturb

    documents = [Document(text=text, id=text) for text in ("7", QUESTION.format(1), "8", QUESTION.format(2))]
    for _ in ParquetWriter(str(tmp_path), batch_size=1).run(Perturb("ec@0.2").run(documents)):
        pass
    rows = pq.read_table(tmp_path / "000_00000.parquet").to_pylist()

    records = [json.loads(row["metadata"]["perturbation"]) for row in rows]
    assert [bool(record["edits"]) for record in records] == [False, True, False, True]


def test_a_missing_extra_is_named(monkeypatch):
    from llmkit.errors import UsageError
    from llmkit.extras import installed

    monkeypatch.setattr("llmkit.extras.installed", lambda package: package != "datatrove" and installed(package))
    monkeypatch.delitem(sys.modules, "llmkit.integrations.datatrove", raising=False)

    with pytest.raises(UsageError, match="datatrove") as raised:
        __import__("llmkit.integrations.datatrove")
    assert "llmkit-robust[datatrove]" in raised.value.hint
