"""Load the files of an S3 folder with dlt through ADBC; print the seconds of `pipeline.run` and the memory as JSON.

Runs in an environment of its own. dlt's filesystem source lists and opens the files; pyarrow reads them as Arrow
tables, which is faster than the readers of rows that come with the source, and all go through dlt as Parquet files.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import adbc_driver_postgresql.dbapi  # noqa: F401 - imported before the clock starts
import dlt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from dlt.sources.credentials import AwsCredentials
from dlt.sources.filesystem import FileItemDict, filesystem

BLOCK = 16 * 1024 * 1024


def main() -> None:
    """Load once for real, after a load of one row that makes dlt import all that it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("endpoint")
    parser.add_argument("dataset")
    options = parser.parse_args()
    database = sys.stdin.readline().strip()
    with tempfile.TemporaryDirectory(prefix="dlt-") as state:
        load(database, f"{options.dataset}_warm", state, [pa.table({"order_id": [1]})])
        seconds = load(database, options.dataset, state, tables(options.url, options.endpoint))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": peak, "dlt": dlt.__version__}))


def tables(url: str, endpoint: str) -> object:
    """Return the rows of all files as Arrow tables."""
    credentials = AwsCredentials(
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=endpoint,
        region_name=os.environ["AWS_REGION"],
    )
    files = filesystem(bucket_url=url, credentials=credentials, file_glob="*")
    return files | dlt.transformer(rows_of, name="orders")


def rows_of(items: Iterable[FileItemDict]) -> Iterator[pa.Table]:
    """Yield the rows of some files."""
    for item in items:
        with item.open(compression="auto") as file:
            yield from read(item["file_name"], file)


def read(name: str, file: object) -> Iterator[pa.Table]:
    """Yield the rows of a file."""
    if name.endswith(".parquet"):
        yield from (pa.Table.from_batches([batch]) for batch in pq.ParquetFile(file).iter_batches(128 * 1024))
    elif ".csv" in name:
        options = pa_csv.ReadOptions(block_size=BLOCK)
        yield from (pa.Table.from_batches([batch]) for batch in pa_csv.open_csv(file, options))
    else:
        yield pa_json.read_json(file, pa_json.ReadOptions(block_size=BLOCK))


def load(url: str, dataset: str, state: str, rows: object) -> float:
    """Return how many seconds a load takes."""
    destination = dlt.destinations.postgres(credentials=url)
    pipeline = dlt.pipeline(dataset, destination=destination, dataset_name=dataset, pipelines_dir=state)
    started = time.perf_counter()
    pipeline.run(rows, table_name="orders", loader_file_format="parquet", write_disposition="append")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
