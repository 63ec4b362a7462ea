"""Rows that Python makes: each value is the same in a new table, which has a type for it."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from dataproc.domain.chunk import Piece, number
from dataproc.domain.unit import SourcePlan
from dataproc.sources.external.rows import RowReader, schema_of
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.conftest import PostgresServers
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, Query, a_unit

D = Decimal
NUMBERS = count()
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")
CASES: dict[str, tuple[list[Any], str, list[str | None]]] = {
    # values, the type of the column, and the values as PostgreSQL writes them
    "decimals": ([D("1.50"), D("-0.001"), D("1" * 60), None], "numeric", ["1.50", "-0.001", "1" * 60, None]),
    "large integers": ([1, 2**70, -(2**63) - 1], "numeric", ["1", str(2**70), str(-(2**63) - 1)]),
    "decimals and integers": ([D("0.10"), 7], "numeric", ["0.10", "7"]),
    "decimals and floats": ([D("0.10"), 0.1, 1e-7], "numeric", ["0.10", "0.1", "0.0000001"]),
    "floats and integers": ([0.1, 7], "double precision", ["0.1", "7"]),
    "uuids": ([SOME_UUID, None], "uuid", [str(SOME_UUID), None]),
    "objects": ([{"a": [1, None], "d": D("1.50")}, {}], "jsonb", ['{"a": [1, null], "d": 1.50}', "{}"]),
    "arrays": ([[1, "x"], (2,), None], "jsonb", ['[1, "x"]', "[2]", None]),
    "objects and arrays": ([{"a": 1}, [1]], "jsonb", ['{"a": 1}', "[1]"]),
    "uuids and texts": ([SOME_UUID, "x"], "text", [str(SOME_UUID), "x"]),
    "decimals and truth": ([D("1.50"), True], "text", ["1.50", "true"]),
    "times and NaT": (
        [pd.Timestamp("2024-01-02"), pd.NaT], "timestamp without time zone", ["2024-01-02 00:00:00", None],
    ),
    "integers and NA": ([1, pd.NA], "bigint", ["1", None]),
}  # fmt: skip
LATER: dict[str, tuple[Any, Any]] = {
    "numeric": (D("1.5"), "1.5"),
    "uuid": (SOME_UUID, str(SOME_UUID)),
    "jsonb": ({}, "{}"),
    "int64": (1, 2**70),
}
"""By type: a value of the first rows, and a later one that has another type."""


@pytest.fixture(scope="module")
def url(postgres_servers: PostgresServers) -> Iterator[str]:
    """Give a prepared warehouse that the tests of this module share."""
    with postgres_servers.database(18, "template0") as url:
        PostgresWarehouse(url, ALWAYS_DIRECT).prepare()
        Query(url)("CREATE SCHEMA sales")
        yield url


@pytest.mark.parametrize("load", ["auto", "staged"])
@pytest.mark.parametrize("case", CASES)
def test_a_new_table_has_a_type_that_holds_the_values(url: str, case: str, load: str) -> None:
    values, sql_type, texts = CASES[case]
    rows, table = [{"n": n, "x": value} for n, value in enumerate(values)], f"sales.t{next(NUMBERS)}"
    schema = schema_of(rows, "rows")
    pieces = [Piece(*RowReader("rows", schema).table(rows))]

    published = LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), load, table).publish(
        SourcePlan((a_unit(),), schema), number("u0", schema, pieces)
    )

    assert published.account.rejected == 0
    found = Query(url)(f"SELECT x::text FROM {table} ORDER BY n")
    assert [text for (text,) in found] == texts
    shown = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'x'"
    assert Query(url)(shown, table) == [(sql_type,)]


@pytest.mark.parametrize("name", LATER)
def test_a_later_value_of_another_type_is_set_aside(name: str) -> None:
    first, later = ({"x": value} for value in LATER[name])

    rows, rejects = RowReader("rows", schema_of([first], "rows")).table([first, later, {"x": None}])

    assert rows.num_rows == 2
    assert rejects["reason"].to_pylist() == [f"row 2: column 'x' does not fit type {name}"]
