"""Orders to try things with: ten columns of mixed types, the same rows for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

NAMES = ("Alice Smith", "Bob Jones", "Zoë Müller", "Chen Wei", "Ana María", "O'Brien, Pat")
STATES = ("new", "paid", "shipped", "returned")
FIRST_SECOND = 1_700_000_000
SECONDS = 30_000_000


def orders(rows: int, *, seed: int = 1) -> pa.Table:
    """Return `rows` right orders; one note in five is null."""
    dice = np.random.default_rng(seed)
    customers = max(rows // 10, 1)
    micros = (FIRST_SECOND * 1_000_000 + dice.integers(0, SECONDS * 1_000_000, rows)).astype("datetime64[us]")
    users = np.char.add("user", dice.integers(0, customers, rows).astype(str))
    columns: dict[str, pa.Array[Any]] = {
        "order_id": pa.array(np.arange(rows), pa.int64()),
        "customer_id": pa.array(dice.integers(0, customers, rows), pa.int64()),
        "ts": pa.array(micros, pa.timestamp("us", "UTC")),
        "d": pa.array((19_000 + dice.integers(0, 900, rows)).astype("datetime64[D]")),
        "amount": pa.array(np.round(dice.gamma(2, 50, rows), 2), pa.float64()),
        "qty": pa.array(dice.integers(1, 100, rows), pa.int32()),
        "name": pa.array(np.array(NAMES)[dice.integers(0, len(NAMES), rows)]),
        "email": pa.array(np.char.add(users, "@example.com")),
        "status": pa.array(np.array(STATES)[dice.integers(0, len(STATES), rows)]),
        "note": pa.array(np.full(rows, "lorem ipsum dolor sit amet"), mask=dice.random(rows) < 0.2),
    }
    return pa.table(columns)


def wrong_orders(rows: int, *, seed: int = 2) -> pa.Table:
    """Return `rows` orders that break one rule each: no id, an amount below 0, an odd status, an odd email."""
    wrong = orders(rows, seed=seed).to_pylist()
    breaks = ({"order_id": None}, {"amount": -1.0}, {"status": "lost"}, {"email": "nobody"})
    return pa.Table.from_pylist(
        [row | breaks[number % len(breaks)] for number, row in enumerate(wrong)], schema=orders(0).schema
    )


def parts(rows: int, wrong: int, count: int) -> Iterator[pa.Table]:
    """Yield `rows` right orders and `wrong` wrong ones as `count` tables of about the same size."""
    right, bad = orders(rows), wrong_orders(wrong)
    for number in range(count):
        yield pa.concat_tables([share(right, number, count), share(bad, number, count)])


def share(table: pa.Table, number: int, count: int) -> pa.Table:
    """Return the rows of `table` that belong to part `number` of `count`."""
    start, stop = number * table.num_rows // count, (number + 1) * table.num_rows // count
    return table.slice(start, stop - start)
