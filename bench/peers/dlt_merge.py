"""Merge Parquet files with dlt through ADBC, one folder after the other; print the seconds of each merge as JSON.

Runs in an environment of its own. The first folder meets no table, and each later one what those before it have left.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import adbc_driver_postgresql.dbapi  # noqa: F401 - imported before the clock starts
import dlt
import pyarrow as pa
import pyarrow.parquet as pq


def main() -> None:
    """Merge each folder, after a merge of one row that makes dlt import all that it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    url = sys.stdin.readline().strip()
    with tempfile.TemporaryDirectory(prefix="dlt-") as state:
        merge(url, f"{options.dataset}_warm", state, [pa.table({"order_id": [1]})])
        seconds = [merge(url, options.dataset, state, read(folder)) for folder in options.folders]
        sys.stdout.write(json.dumps({"seconds": seconds, "dlt": dlt.__version__}))


def merge(url: str, dataset: str, state: str, rows: object) -> float:
    """Return how many seconds a merge takes."""
    destination = dlt.destinations.postgres(credentials=url)
    pipeline = dlt.pipeline(dataset, destination=destination, dataset_name=dataset, pipelines_dir=state)
    started = time.perf_counter()
    pipeline.run(
        rows,
        table_name="orders",
        loader_file_format="parquet",
        write_disposition="merge",
        primary_key="order_id",
    )
    return time.perf_counter() - started


def read(folder: Path) -> Iterator[object]:
    """Yield the rows of the files as Arrow tables."""
    return (pq.read_table(file) for file in sorted(folder.glob("*.parquet")))


if __name__ == "__main__":
    main()
