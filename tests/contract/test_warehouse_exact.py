"""Values that are not text reach a column exactly, or they are refused or set aside as the contract says."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataproc.arrow.numbers import float_texts
from dataproc.domain.errors import ContractViolationError
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.conftest import PostgresServers
from tests.warehouses import ALWAYS_DIRECT, WAYS, LoadTrial, Query

D = Decimal
NUMBERS = count()
CASES: list[tuple[str, pa.DataType, list[Any], list[Any]]] = [
    # column, type of the source, values that fit, values that do not
    ("numeric(12,2)", pa.float64(), [0.1, 2.55, -1.5, 0.29, 9999999999.99], [2.555, 1e10, 0.001, -2.005]),
    ("numeric(5,0)", pa.float64(), [2.0, -99999.0], [2.5, 0.5, 1e5]),
    ("numeric(38,20)", pa.float64(), [123456789.12345679, 1e-20, 0.1], [1e-21, 1e18]),
    ("numeric(12,2)", pa.float32(), [0.1, 2.5, 16777216.0], [2.555, 0.001]),
    ("numeric(12,2)", pa.float16(), [0.5, 2.25], [0.125]),
    ("numeric(50,2)", pa.float64(), [0.1, 1e20], [2.555]),
    ("numeric(50,2)", pa.decimal128(12, 4), [D("1.2300")], [D("1.2345")]),
    ("numeric(5,-2)", pa.int64(), [1200, -100], [1250, 1]),
    ("price", pa.float64(), [2.55], [2.555]),
    ("numeric(10,2)", pa.decimal128(10, 4), [D("1.2300")], [D("1.2345"), D("0.0001")]),
    ("numeric(10,2)", pa.decimal256(50, 4), [D("1.2300")], [D("1.2345"), D(10**40)]),
    ("real", pa.float64(), [0.1, 16777216.0, 0.10000000149011612, 1e38, -0.25], [16777217.0, 0.123456789, 1e39, 1e-50]),
    ("real", pa.int64(), [16777216, -5, 2**40], [16777217, 2**40 + 1]),
    ("real", pa.decimal128(38, 10), [D("0.1"), D("16777216")], [D("16777217"), D("0.1234567891")]),
    ("double precision", pa.int64(), [2**53, -(2**63), 2**60], [2**53 + 1, 2**63 - 1]),
    ("double precision", pa.uint64(), [2**53, 2**63], [2**53 + 1, 2**64 - 1]),
    ("double precision", pa.decimal128(12, 2), [D("0.35"), D("0.41"), D("9999999999.99")], []),
    ("double precision", pa.decimal128(38, 0), [D("12345"), D(2**100)], [D("12345678901234567890123456789")]),
    ("double precision", pa.decimal128(38, 20), [D("0.1"), D("0.30")], [D("0.12345678901234567891")]),
    ("integer", pa.float64(), [2.0, -(2.0**31)], [2.5, 2.0**31]),
    ("bigint", pa.float64(), [2.0**53, -(2.0**63)], [2.0**63, 0.1]),
    ("integer", pa.decimal128(12, 1), [D("2.0")], [D("2.5"), D(2**31)]),
    ("timestamp(3)", pa.timestamp("us"), [1000, 0], [1001]),
    ("timestamptz(0)", pa.timestamp("us", "UTC"), [1_000_000], [1_500_000]),
    ("time(3)", pa.time64("us"), [1000], [1001]),
    ("interval(3)", pa.duration("us"), [1000], [1001]),
    ("money", pa.decimal128(12, 4), [D("2.5500")], [D("2.5550")]),
]  # fmt: skip


@pytest.fixture(scope="module")
def url(postgres_servers: PostgresServers) -> Iterator[str]:
    """Give a prepared warehouse that the tests of this module share; each takes a table of its own."""
    with postgres_servers.database(18, "template0") as url:
        PostgresWarehouse(url, ALWAYS_DIRECT).prepare()
        Query(url)("CREATE SCHEMA sales")
        Query(url)("CREATE DOMAIN price AS numeric(8,2)")
        yield url


def new_table(url: str, sql_type: str) -> str:
    """Create a table with a column `x` of a type; return its name."""
    table = f"sales.t{next(NUMBERS)}"
    Query(url)(f"CREATE TABLE {table} (n bigint, x {sql_type})")
    return table


def rows_of(values: list[Any], dtype: pa.DataType) -> pa.Table:
    """Return rows with these values."""
    return pa.table({"n": pa.array(range(len(values)), pa.int64()), "x": pa.array(values).cast(dtype, safe=False)
                     if dtype == pa.float16() else pa.array(values, dtype)})  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("sql_type", "dtype", "fits", "_misfits"), CASES, ids=[f"{c[1]}->{c[0]}" for c in CASES])
def test_a_value_that_fits_is_the_one_that_postgresql_makes_of_its_text(
    url: str, way: str, *, sql_type: str, dtype: pa.DataType, fits: list[Any], _misfits: list[Any]
) -> None:
    table = new_table(url, sql_type)
    texts = [text_of(value, dtype) for value in fits]

    LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), way, table).run(rows_of(fits, dtype))

    wrong = f"SELECT x, w FROM {table} JOIN unnest(%s::text[]) WITH ORDINALITY AS u (w, i) ON i = n + 1 "
    assert Query(url)(f"{wrong} WHERE x IS DISTINCT FROM w::{sql_type}", texts) == []


def text_of(value: Any, dtype: pa.DataType) -> str:
    """Return a value as PostgreSQL reads it."""
    match value:
        case int() if pa.types.is_duration(dtype):
            return f"{value} microseconds"
        case int() if pa.types.is_temporal(dtype):
            return str(pa.scalar(value, dtype).cast(pa.string()).as_py())
        case float() | D() if value == int(value):
            return str(int(value))
        case _:
            return str(value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("sql_type", "dtype", "fits", "misfits"), CASES, ids=[f"{c[1]}->{c[0]}" for c in CASES])
def test_a_value_that_does_not_fit_is_set_aside_by_the_contract(
    url: str, way: str, *, sql_type: str, dtype: pa.DataType, fits: list[Any], misfits: list[Any]
) -> None:
    table = new_table(url, sql_type)
    trial = LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), way, table, terms={"contract": "discard_row"})

    published = trial.run(rows_of([*fits, *misfits, None], dtype))

    assert published.account.rejected == len(misfits)
    kept = [*range(len(fits)), len(fits) + len(misfits)]
    assert [n for n, _ in Query(url)(f"SELECT n, x::text FROM {table} ORDER BY n")] == kept


@pytest.mark.parametrize(
    ("sql_type", "value", "dtype"),
    [(case[0], value, case[1]) for case in CASES for value in case[3]],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused_without_a_contract(
    url: str, sql_type: str, value: object, dtype: pa.DataType
) -> None:
    table = new_table(url, sql_type)

    with pytest.raises(ContractViolationError, match="column x"):
        LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), table=table).run(rows_of([value], dtype))

    assert Query(url).table(table) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    doubles=st.lists(st.floats(), min_size=1, max_size=100),
    floats=st.lists(st.floats(width=32), min_size=1, max_size=100),
)
@example(doubles=[1e15, 999999999999999.0, 1e-4, 9.9e-5, 0.0, -0.0], floats=[1e6, 999999.0, 1234567.0, 1e-4, 3.4e38])
def test_the_text_of_a_floating_point_number_is_the_one_that_postgresql_writes(
    url: str, doubles: list[float], floats: list[float]
) -> None:
    trials = ((doubles, pa.float64(), "float8", 53), (floats, pa.float32(), "float4", 24))
    for values, dtype, sql_type, bits in trials:
        cells = pa.array(values, dtype)
        written = Query(url)(
            f"SELECT w::{sql_type}::text FROM unnest(%s::text[]) WITH ORDINALITY AS u (w, i) ORDER BY i",
            cells.cast(pa.string()).to_pylist(),
        )
        for found, (expected,) in zip(float_texts(cells), written, strict=True):
            text = str(found)
            is_whole = 2.0**bits <= abs(float(expected)) < float("inf")
            is_same = pa.array([text, expected]).cast(dtype).unique().to_pylist() == [float(expected)]
            assert text == expected or (is_whole and is_same and len(text) < len(expected))


ELEMENTS = [
    *(case for case in CASES if case[0] != "price"),
    ("date", pa.timestamp("us"), [0], [1]),
    ("timestamp", pa.timestamp("us", "Europe/Berlin"), [], []),
    ("uuid", pa.string(), ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], []),
    ("boolean", pa.bool_(), [True, False], []),
    ("varchar(3)", pa.string(), ["a,b", '"{', ""], []),
]
"""What each column of arrays takes as an element."""


KINDS: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    "list": pa.list_,
    "large list": pa.large_list,
    "fixed size list": lambda dtype: pa.list_(dtype, 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sql_type", "dtype", "fits", "misfits"), ELEMENTS, ids=[f"{c[1]}->{c[0]}" for c in ELEMENTS])
def test_an_element_of_a_list_is_held_to_the_rules_of_a_value(
    url: str, *, kind: str, sql_type: str, dtype: pa.DataType, fits: list[Any], misfits: list[Any]
) -> None:
    table, single = new_table(url, f"{sql_type}[]"), new_table(url, sql_type)
    elements = rows_of([*fits, *misfits], dtype)["x"]
    lists = pa.array([[one, None] for one in elements], KINDS[kind](dtype))
    rows = pa.table({"n": pa.array(range(len(lists)), pa.int64()), "x": lists})
    LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), "staged", single).run(rows_of(fits, dtype))

    published = LoadTrial(
        PostgresWarehouse(url, ALWAYS_DIRECT), "staged", table, terms={"contract": "discard_row"}
    ).run(rows)

    assert published.account.rejected == len(misfits)
    both = f"SELECT l.x, s.x FROM {table} AS l FULL JOIN {single} AS s USING (n)"
    assert Query(url)(f"{both} WHERE l.x IS DISTINCT FROM ARRAY[s.x, NULL]") == []
    for at in range(len(fits), len(lists)):
        with pytest.raises(ContractViolationError, match="column x"):
            LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), "staged", table).run(rows.slice(at, 1))


def test_lists_of_lists_nulls_and_moments_of_a_zone_reach_arrays_of_any_depth(url: str) -> None:
    table = new_table(url, "timestamp[]")
    moment = datetime(2026, 1, 1, 23, 59, tzinfo=UTC)
    zoned = pa.timestamp("us", "Europe/Berlin")
    values = [[[moment, None], [moment, moment]], None, []]
    rows = pa.table({"n": pa.array([0, 1, 2], pa.int64()), "x": pa.array(values, pa.list_(pa.list_(zoned)))})

    LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), "staged", table).run(rows)

    text = '"2026-01-01 23:59:00"'
    assert Query(url)(f"SELECT x::text FROM {table} ORDER BY n") == [
        (f"{{{{{text},NULL}},{{{text},{text}}}}}",), (None,), ("{}",)
    ]  # fmt: skip
