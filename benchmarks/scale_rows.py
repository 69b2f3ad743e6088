"""Rows a second of the same noise by `llmkit perturb --shard`, inside Ray Data and inside datatrove: for
benchmarks/scale.py, which runs each way in a process of its own.

    python benchmarks/scale_rows.py WAY WORKERS FEW ROWS OUT
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WAYS = ("plain", "ray", "datatrove")
NOISE, RATE = "typing", 0.1
FILES = 4  # of one input: what datatrove cuts by
GROUP = 1_000  # rows: `--shard` cuts between row groups, and few large ones cannot be shared evenly
LIMIT = 7200  # seconds for one measurement


def write_rows(folder: Path, count: int) -> Path:
    """Writes short questions as Parquet, in as many files as two workers can share evenly."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for file in range(FILES):
        numbers = range(file, count, FILES)
        table = pa.table(
            {
                "id": [f"row-{number}" for number in numbers],
                "question": [f"How many plums does Eva have after buying {number} more?" for number in numbers],
            }
        )
        pq.write_table(table, folder / f"rows-{file}.parquet", row_group_size=GROUP)
    return folder


def seconds(way: str, workers: int, few: Path, rows: Path, out: Path) -> tuple[float, float]:
    """Returns the seconds that one way takes for a few rows, its start-up, and for all the others."""
    command = [sys.executable, __file__, way, str(workers), str(few), str(rows), str(out)]
    # By default Ray gives its workers a lower priority, and beside other work they would hardly run.
    env = os.environ | {"RAY_worker_niceness": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=env)
    if done.returncode:
        sys.exit(f"{way} with {workers} workers failed: {done.stderr[-2000:]}")
    start, again, took = json.loads(done.stdout.splitlines()[-1])
    # Ray's processes stay, and only planning and listing begin anew; the others start their processes each time.
    return start, took - again


def plain(workers: int, rows: Path, out: Path) -> None:
    """Runs one process a shard, as a user would from a shell."""
    files = sorted(map(str, rows.glob("*.parquet")))
    flags = ["--op", NOISE, "--rate", str(RATE), "-o", str(out), "--format", "parquet", "--quiet"]
    shards = [
        subprocess.Popen(
            [sys.executable, "-m", "llmkit", "perturb", *files, *flags, "--shard", f"{number}/{workers}"],
            stdout=subprocess.DEVNULL,
        )
        for number in range(1, workers + 1)
    ]
    codes = [process.wait() for process in shards]
    if any(codes):
        sys.exit("a shard failed")


def ray(workers: int, rows: Path, out: Path) -> None:
    """Runs docs/scale.md's pipeline on a local cluster."""
    import ray
    import ray.data

    from llmkit.perturb import Perturber

    if not ray.is_initialized():
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init("local", num_cpus=workers, object_store_memory=2**29, **quiet)
        ray.data.DataContext.get_current().enable_progress_bars = False
    read = ray.data.read_parquet(str(rows), override_num_blocks=FILES)
    read.map_batches(Perturber(NOISE, rate=RATE)).write_parquet(str(out))


def datatrove(workers: int, rows: Path, out: Path) -> None:
    """Runs docs/scale.md's pipeline by the local executor."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    from llmkit.integrations.datatrove import Perturb, row_of

    reader, writer = ParquetReader(str(rows), text_key="question"), ParquetWriter(str(out), adapter=row_of)
    steps = [reader, Perturb(f"{NOISE}@{RATE}"), writer]
    LocalPipelineExecutor(pipeline=steps, tasks=workers, workers=workers, logging_dir=str(out) + "-logs").run()


def rows_in(out: Path) -> int:
    """Counts the rows of all Parquet files below a folder."""
    import pyarrow.parquet as pq

    return sum(pq.ParquetFile(path).metadata.num_rows for path in out.rglob("*.parquet"))


def timed(way: str, workers: int, rows: Path, out: Path) -> float:
    """Returns how long one way takes for the rows in a folder. Exits where not all of them were written."""
    began = time.perf_counter()
    {"plain": plain, "ray": ray, "datatrove": datatrove}[way](workers, rows, out)
    took = time.perf_counter() - began
    if rows_in(out) != rows_in(rows):
        sys.exit(f"{rows_in(out)} of {rows_in(rows)} rows were written")
    return took


if __name__ == "__main__":
    way, count, *folders = sys.argv[1:]
    few, rows, out = map(Path, folders)
    parts = {"first": few, "again": few, "all": rows}
    print(json.dumps([timed(way, int(count), part, out / name) for name, part in parts.items()]))
    if way == "ray":
        import ray as cluster

        cluster.shutdown()
