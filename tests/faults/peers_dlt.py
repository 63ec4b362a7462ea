"""Append Parquet files with dlt through ADBC, as a scheduler would have it done: run again after a failure, it goes on.

Runs in an environment of its own, by `tests.faults.peers`. The name of the pipeline and the folder of its state are the
same in every run, so that dlt finds what it has left there. `arrow`: dlt reads the files as Arrow tables and writes a
Parquet file of its own. `import`: it takes the files as they are.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
import pyarrow.parquet as pq


def main() -> None:
    """Load all files once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("state")
    parser.add_argument("way", choices=("arrow", "import"))
    options = parser.parse_args()
    destination = dlt.destinations.postgres(credentials=sys.stdin.readline().strip())
    pipeline = dlt.pipeline("peer", destination=destination, dataset_name=options.dataset, pipelines_dir=options.state)
    files = sorted(options.folder.glob("*.parquet"))
    found = (pq.read_table(file) for file in files) if options.way == "arrow" else imported(files)
    pipeline.run(
        dlt.resource(found, name="orders"),
        table_name="orders",
        loader_file_format="parquet",
        write_disposition="append",
    )


def imported(files: list[Path]) -> Iterator[object]:
    """Yield each file, marked for import."""
    for file in files:
        footer = pq.ParquetFile(file)
        schema = footer.schema_arrow.empty_table()
        yield dlt.mark.with_file_import(str(file), "parquet", footer.metadata.num_rows, hints=schema)


if __name__ == "__main__":
    main()
