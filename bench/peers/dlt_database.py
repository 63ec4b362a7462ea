"""Load a table from one database to another with dlt's `sql_database`; print the seconds of `pipeline.run` as JSON.

Runs in an environment of its own. The rows are read by the pyarrow backend, and loaded as Parquet files through ADBC.
"""

import argparse
import json
import os
import sys
import tempfile
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import adbc_driver_postgresql.dbapi  # noqa: F401 - imported before the clock starts
import dlt
import pyarrow as pa
from dlt.sources.sql_database import sql_table


def main() -> None:
    """Load once for real, after a load of one row that makes dlt import all that it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source_table")
    parser.add_argument("dataset")
    options = parser.parse_args()
    source, target = sys.stdin.readline().strip().split(" ")
    schema, _, table = options.source_table.partition(".")
    with tempfile.TemporaryDirectory(prefix="dlt-") as state:
        load(target, f"{options.dataset}_warm", state, [pa.table({"order_id": [1]})])
        # The driver that dlt's own installation brings; SQLAlchemy would look for another one.
        address = source.replace("postgresql:", "postgresql+psycopg2:", 1)
        options_of_table = {"backend": "pyarrow", "chunk_size": 100_000, "reflection_level": "full_with_precision"}
        rows = sql_table(credentials=address, schema=schema, table=table, **options_of_table)
        sys.stdout.write(json.dumps({"seconds": load(target, options.dataset, state, rows), "dlt": dlt.__version__}))


def load(url: str, dataset: str, state: str, rows: object) -> float:
    """Return how many seconds a load takes."""
    destination = dlt.destinations.postgres(credentials=url)
    pipeline = dlt.pipeline(dataset, destination=destination, dataset_name=dataset, pipelines_dir=state)
    started = time.perf_counter()
    pipeline.run(rows, table_name="orders", loader_file_format="parquet", write_disposition="append")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
