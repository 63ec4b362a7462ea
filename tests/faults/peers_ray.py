"""Append Parquet files with Ray Data's own `write_sql`; run by `tests.faults.peers`."""

import argparse
import sys
from functools import partial
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import ray


def main() -> None:
    """Load all files once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("table")
    options = parser.parse_args()
    url = sys.stdin.readline().strip()
    ray.init(address=options.address, log_to_driver=False)
    files = sorted(str(file) for file in options.folder.glob("*.parquet"))
    marks = ", ".join(["%s"] * len(pq.read_schema(files[0]).names))
    rows = ray.data.read_parquet(files)
    rows.write_sql(f"INSERT INTO {options.table} VALUES ({marks})", partial(psycopg.connect, url))


if __name__ == "__main__":
    main()
