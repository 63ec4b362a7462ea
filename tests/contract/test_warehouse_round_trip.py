"""Whatever table goes in, that table comes out: random rows of all supported types, both ways."""

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from dataproc.domain.chunk import POSITION
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.conftest import DEFAULT_MAJOR, WAREHOUSE, PostgresServers
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, Query, a_unit, chunks_of, struct_of

NUMBERS = count()
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | TEXT,
    lambda inside: st.lists(inside, max_size=3),
    max_leaves=5,
)
KINDS: list[tuple[pa.DataType, SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-(2**7), 2**7 - 1)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint32(), st.integers(0, 2**32 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.decimal128(20, 5), st.decimals(min_value=-(10**14), max_value=10**14, places=5)),
    (pa.decimal256(60, 2), st.decimals(min_value=-(10**20), max_value=10**20, places=2)),
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.string_view(), TEXT),
    (pa.dictionary(pa.int16(), pa.string()), st.sampled_from(["new", "paid", "Zoë"])),
    (pa.binary(), st.binary()),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    (pa.duration("us"), st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6))),
    (pa.list_(pa.string()), st.lists(st.none() | TEXT)),
    (pa.list_(pa.list_(pa.int32())), st.lists(st.lists(st.integers(-5, 5)))),
    (struct_of(a=pa.int64(), b=pa.string()), st.fixed_dictionaries({"a": st.integers(0, 9), "b": TEXT})),
]


@st.composite
def tables(draw: DrawFn) -> pa.Table:
    """Draw a table of any columns and rows, in any chunks."""
    rows = draw(st.integers(0, 20))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    columns: dict[str, Any] = {f"c{i}": column(draw, dtype, values, rows) for i, (dtype, values) in enumerate(kinds)}
    return pa.table({"n": pa.array(range(rows), pa.int64()), **columns})


def column(draw: DrawFn, dtype: pa.DataType, values: SearchStrategy[Any], rows: int) -> "pa.ChunkedArray[Any]":
    """Draw a column with nulls, cut anywhere, so that its pieces begin within a buffer."""
    cells: Any = pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), dtype)
    cut = draw(st.integers(0, rows))
    return pa.chunked_array([cells[:cut], cells[cut:]])


@pytest.fixture(scope="module")
def url(postgres_servers: PostgresServers) -> Iterator[str]:
    with postgres_servers.database(DEFAULT_MAJOR, WAREHOUSE) as url:
        Query(url)("CREATE SCHEMA sales")
        yield url


@pytest.mark.parametrize("way", ["direct", "staged"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(rows=tables())
def test_what_is_read_back_equals_what_went_in(url: str, way: str, rows: pa.Table) -> None:
    table = f"sales.t{next(NUMBERS)}"

    published = LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), way, table).run(rows)

    assert published.account.loaded == rows.num_rows
    assert Query(url).table(table, binary=True) == [tuple(row.values()) for row in rows.to_pylist()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(st.text(st.sampled_from("a\x00é"), max_size=3), max_size=40))
def test_exactly_the_rows_that_postgresql_refuses_are_set_aside(url: str, rows: list[str]) -> None:
    table = f"sales.t{next(NUMBERS)}"
    trial = LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), "staged", table)

    published = trial.run(pa.table({"n": pa.array(range(len(rows)), pa.int64()), "x": pa.array(rows, pa.string())}))

    bad = [i for i, text in enumerate(rows) if "\x00" in text]
    assert Query(url).table(table) == [(i, text) for i, text in enumerate(rows) if i not in bad]
    aside = Query(url)("SELECT position, column_name FROM dataproc_load.reject WHERE target = %s ORDER BY 1", table)
    assert aside == [(i, "x") for i in bad]
    assert published.account.rejected == len(bad)


def test_the_number_of_a_row_never_reaches_the_target(url: str) -> None:
    LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), table="sales.numbered").run(pa.table({"x": [date(2024, 1, 1)]}))

    names = Query(url)("SELECT attname FROM pg_attribute WHERE attrelid = 'sales.numbered'::regclass AND attnum > 0")
    assert names == [("x",)]
    assert POSITION in chunks_of(a_unit().id, pa.table({"x": [1]}))[0].rows.column_names
