"""Load Parquet files with dlt through ADBC; print the seconds of `pipeline.run` as JSON.

Runs in an environment of its own. `arrow`: dlt reads the files as Arrow tables and writes Parquet files of its own.
`import`: the files are taken as they are; dlt neither reads nor rewrites their rows.
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
    """Load once for real, after a load of one row that makes dlt import all that it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--way", choices=("import", "arrow"), default="arrow")
    options = parser.parse_args()
    url = sys.stdin.readline().strip()
    with tempfile.TemporaryDirectory(prefix="dlt-") as state:
        load(url, f"{options.dataset}_warm", state, [pa.table({"order_id": [1]})])
        resource = imported(options.folder) if options.way == "import" else read(options.folder)
        sys.stdout.write(json.dumps({"seconds": load(url, options.dataset, state, resource), "dlt": dlt.__version__}))


def load(url: str, dataset: str, state: str, rows: object) -> float:
    """Return how many seconds a load takes."""
    destination = dlt.destinations.postgres(credentials=url)
    pipeline = dlt.pipeline(dataset, destination=destination, dataset_name=dataset, pipelines_dir=state)
    started = time.perf_counter()
    pipeline.run(rows, table_name="orders", loader_file_format="parquet", write_disposition="append")
    return time.perf_counter() - started


def imported(folder: Path) -> object:
    """Return the files themselves, with the schema of the first."""
    return dlt.resource(marked(folder), name="orders")


def marked(folder: Path) -> Iterator[object]:
    """Yield each file, marked for import."""
    for file in sorted(folder.glob("*.parquet")):
        footer = pq.ParquetFile(file)
        schema = footer.schema_arrow.empty_table()
        yield dlt.mark.with_file_import(str(file), "parquet", footer.metadata.num_rows, hints=schema)


def read(folder: Path) -> object:
    """Return the rows of the files as Arrow tables."""
    return dlt.resource((pq.read_table(file) for file in sorted(folder.glob("*.parquet"))), name="orders")


if __name__ == "__main__":
    main()
