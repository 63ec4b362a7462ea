"""The reference data set: orders as Parquet parts and as one CSV, the same rows for the same seed."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

COLUMNS = """
    order_id bigint, customer_id bigint, ts timestamp with time zone, d date, amount double precision, qty integer,
    name text, email text, status text, note text
"""
"""The columns as PostgreSQL declares them, for tables that are made by hand."""

NAMES = ("Alice Smith", "Bob Jones", "Zoë Müller", "Chen Wei", "Ana María", "O'Brien, Pat")
STATES = ("new", "paid", "shipped", "returned")
NOTE = "lorem ipsum dolor sit amet"
FIRST_INSTANT, INSTANTS = 1_700_000_000_000_000, 30_000_000_000_000
FIRST_DAY, DAYS = 19_000, 900


@dataclass(frozen=True, slots=True)
class Orders:
    """The data set on disk, and what a table that holds it must show."""

    parts: Path
    csv: Path
    rows: int
    total: int
    """The sum of `order_id`."""


def orders(rows: int, seed: int = 1) -> pa.Table:
    """Return `rows` orders: ten columns of mixed types, one in five notes null."""
    rng = np.random.default_rng(seed)
    customers = max(rows // 10, 1)
    columns: dict[str, pa.Array[Any]] = {
        "order_id": pa.array(np.arange(rows, dtype=np.int64)),
        "customer_id": pa.array(rng.integers(0, customers, rows)),
        "ts": instants(rng.integers(0, INSTANTS, rows)),
        "d": pa.array((FIRST_DAY + rng.integers(0, DAYS, rows)).astype("datetime64[D]")),
        "amount": pa.array(np.round(rng.gamma(2, 50, rows), 2)),
        "qty": pa.array(rng.integers(1, 100, rows, dtype=np.int32)),
        "name": chosen(rng, NAMES, rows),
        "email": emails(rng.integers(0, customers, rows)),
        "status": chosen(rng, STATES, rows),
        "note": pa.array([NOTE] * rows, pa.string(), mask=rng.random(rows) < 0.2),
    }
    return pa.table(columns)


def instants(microseconds: npt.NDArray[np.int64]) -> "pa.Array[Any]":
    """Return times, so many microseconds after the first one."""
    times: pa.Array[Any] = pa.array(FIRST_INSTANT + microseconds, pa.int64())
    return times.cast(pa.timestamp("us", "UTC"))


def chosen(rng: np.random.Generator, words: tuple[str, ...], rows: int) -> "pa.Array[Any]":
    """Return `rows` of `words`, at random."""
    return pa.array(words, pa.string()).take(rng.integers(0, len(words), rows))


def emails(customers: npt.NDArray[np.int64]) -> "pa.Array[Any]":
    """Return the addresses of customers."""
    return pa.array(np.char.add(np.char.add("user", customers.astype(str)), "@example.com"))


def orders_on_disk(data: Path, rows: int, parts: int) -> Orders:
    """Return the data set of that size below `data`, written if it is not there yet."""
    folder = data / f"orders-{rows}-{parts}"
    if not folder.exists():
        half = folder.with_suffix(".new")
        shutil.rmtree(half, ignore_errors=True)
        write(orders(rows), half, parts)
        half.rename(folder)
    return Orders(folder / "parts", folder / "orders.csv", rows, rows * (rows - 1) // 2)


def write(table: pa.Table, folder: Path, parts: int) -> None:
    """Write a table as Parquet files and as one CSV."""
    (folder / "parts").mkdir(parents=True)
    for part in range(parts):
        start, stop = (table.num_rows * edge // parts for edge in (part, part + 1))
        piece = table.slice(start, stop - start)
        pq.write_table(piece, folder / "parts" / f"part-{part}.parquet", compression="snappy")
    pa_csv.write_csv(table, folder / "orders.csv")
