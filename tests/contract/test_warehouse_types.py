"""Every type that travels arrives as it was sent, both ways; what cannot travel is refused by the column's name."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from dataproc.domain.errors import ContractViolationError, RowRefusedError
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.conftest import WAREHOUSE, PostgresServers
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, Query, struct_of

NUMBERS = count()
NAN = float("nan")
WAYS = ("direct", "staged")
SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456)  # noqa: DTZ001 - a moment without a zone
OLD = datetime(1815, 6, 18, 11, 35)  # noqa: DTZ001 - as above


@pytest.fixture(scope="module", params=[18, 15])
def url(request: pytest.FixtureRequest, postgres_servers: PostgresServers) -> Iterator[str]:
    """Give a prepared warehouse that the tests of this module share; each takes a table of its own."""
    with postgres_servers.database(request.param, WAREHOUSE) as url:
        Query(url)("CREATE SCHEMA sales")
        yield url


def sent(url: str, values: "pa.Array[Any]", way: str, sql_type: str | None = None) -> tuple[str, list[Any]]:
    """Load a column; return the way that was taken, and the column as PostgreSQL holds it."""
    table = f"sales.t{next(NUMBERS)}"
    identifier = sql.Identifier(*table.split("."))
    if sql_type is not None:
        Query(url)(sql.SQL("CREATE TABLE {} (n bigint, x {})").format(identifier, sql.SQL(sql_type)).as_string())
    rows = pa.table({"n": pa.array(range(len(values)), pa.int64()), "x": values})
    published = LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), way, table).run(rows)
    assert published.account.loaded == len(values)
    return published.way, [x for _, x in Query(url).table(table)]


def type_of_new(url: str, dtype: pa.DataType) -> str:
    """Return the type of the column that a load makes for an Arrow type."""
    warehouse = PostgresWarehouse(url, ALWAYS_DIRECT)
    table = f"sales.t{next(NUMBERS)}"
    LoadTrial(warehouse, "direct", table).run(pa.table({"x": pa.array([], dtype)}))
    return str(Query(url)("SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                          "WHERE attrelid = to_regclass(%s) AND attnum = 1", table)[0][0])  # fmt: skip


D = Decimal
NEW: list[tuple[pa.DataType, str, list[Any], list[Any] | None]] = [
    (pa.bool_(), "boolean", [True, False, None], None),
    (pa.int8(), "smallint", [-128, 127, None], None),
    (pa.int16(), "smallint", [-(2**15), 2**15 - 1, None], None),
    (pa.int32(), "integer", [-(2**31), 2**31 - 1, None], None),
    (pa.int64(), "bigint", [-(2**63), 2**63 - 1, None], None),
    (pa.uint8(), "smallint", [0, 255, None], None),
    (pa.uint16(), "integer", [0, 2**16 - 1, None], None),
    (pa.uint32(), "bigint", [0, 2**32 - 1, None], None),
    (pa.uint64(), "numeric(20,0)", [0, 2**64 - 1, None], [D(0), D(2**64 - 1), None]),
    (pa.float16(), "real", [1.5, float("inf"), None], None),
    (pa.float32(), "real", [0.5, float("-inf"), None], None),
    (pa.float64(), "double precision", [0.1, float("inf"), -1e308, None], None),
    (pa.decimal128(12, 2), "numeric(12,2)", [D("-1.20"), D("9999999999.99"), D("0.00"), None], None),
    (pa.decimal128(38, 0), "numeric(38,0)", [D(10**38 - 1), D(-1), None], None),
    (pa.decimal128(38, 38), "numeric(38,38)", [D("0." + "1" * 38), None], None),
    (pa.decimal256(50, 3), "numeric(50,3)", [D("1" * 47 + ".123"), D("-0.001"), None], None),
    (pa.string(), "text", ["", "Zoë 🎈\t\n\\N", "NULL", None], None),
    (pa.large_string(), "text", ["a", None], None),
    (pa.string_view(), "text", ["a" * 100, None], None),
    (pa.dictionary(pa.int8(), pa.string()), "text", ["a", "b", "a", None], None),
    (pa.run_end_encoded(pa.int32(), pa.int64()), "bigint", [1, 1, None], None),
    (pa.null(), "text", [None, None], None),
    (pa.binary(), "bytea", [b"", b"\x00\xff", None], None),
    (pa.large_binary(), "bytea", [b"\xff\xff", None], None),
    (pa.binary_view(), "bytea", [b"\xff\xff", None], None),
    (pa.binary(2), "bytea", [b"\x00\x01", None], None),
    (pa.date32(), "date", [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31), None], None),
    (pa.date64(), "date", [date(1815, 6, 18), None], None),
    (pa.time32("s"), "time without time zone", [time(0, 0), time(23, 59, 59), None], None),
    (pa.time64("us"), "time without time zone", [time(23, 59, 59, 999999), None], None),
    (pa.time64("ns"), "time without time zone", [time(1, 2, 3, 4), None], None),
    (pa.timestamp("s"), "timestamp without time zone", [OLD, None], None),
    (pa.timestamp("us"), "timestamp without time zone", [NOON, OLD, None], None),
    (pa.timestamp("ns"), "timestamp without time zone", [NOON, OLD, None], None),
    (pa.timestamp("ms", "Europe/Berlin"), "timestamp with time zone", [datetime(2024, 7, 1, tzinfo=UTC), None], None),
    (pa.duration("ms"), "interval", [timedelta(days=40, milliseconds=1), timedelta(seconds=-1), None], None),
    (pa.uuid(), "uuid", [SOME_UUID.bytes, None], [SOME_UUID, None]),
    (pa.list_(pa.int32()), "jsonb", [[1, None], [], None], None),
    (pa.list_(pa.float64()), "jsonb", [[0.5, float("nan"), float("-inf")]], [[0.5, "NaN", "-Infinity"]]),
    (struct_of(a=pa.int8(), b=pa.list_(pa.string())), "jsonb", [{"a": 1, "b": ['"', "\\"]}, None], None),
    (struct_of(d=pa.decimal128(5, 2)), "jsonb", [{"d": D("1.50")}], [{"d": 1.5}]),
    (struct_of(d=pa.date32()), "jsonb", [{"d": date(2024, 1, 2)}], [{"d": "2024-01-02"}]),
    (struct_of(t=pa.timestamp("us")), "jsonb", [{"t": OLD}], [{"t": "1815-06-18T11:35:00"}]),
    (struct_of(b=pa.binary()), "jsonb", [{"b": b"\xff"}], [{"b": "\\xff"}]),
    (struct_of(i=pa.duration("us")), "jsonb", [{"i": timedelta(seconds=-1.5)}], [{"i": "PT-1.500000S"}]),
    (pa.map_(pa.string(), pa.int8()), "jsonb", [[("a", 1)], []], [{"a": 1}, {}]),
    (pa.map_(pa.int8(), pa.bool_()), "jsonb", [[(1, True)]], [{"1": True}]),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dtype", "sql_type", "values", "expected"), NEW, ids=lambda case: str(case)[:30])
def test_a_value_of_any_type_arrives_in_a_new_table_as_it_was_sent(
    url: str, way: str, *, dtype: pa.DataType, sql_type: str, values: list[Any], expected: list[Any] | None
) -> None:
    _, found = sent(url, pa.array(values, dtype), way)

    assert found == (values if expected is None else expected)
    assert type_of_new(url, dtype) == sql_type


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [case[0] for case in NEW], ids=str)
def test_a_second_load_fits_the_table_that_the_first_one_made(url: str, way: str, dtype: pa.DataType) -> None:
    table = f"sales.t{next(NUMBERS)}"
    rows = pa.table({"x": pa.array([], dtype)})
    warehouse = PostgresWarehouse(url, ALWAYS_DIRECT)

    for _ in range(2):
        LoadTrial(warehouse, way, table).run(rows)

    assert Query(url).table(table) == []


INTO: list[tuple[str, "pa.Array[Any]", list[Any]]] = [
    ("boolean", pa.array(["true", "0", None]), [True, False, None]),
    ("smallint", pa.array([1.0, -2.0, None]), [1, -2, None]),
    ("integer", pa.array(["12", "-3"]), [12, -3]),
    ("bigint", pa.array([True, False]), [1, 0]),
    ("real", pa.array([0.1, NAN], pa.float64()), [pytest.approx(0.1), pytest.approx(NAN, nan_ok=True)]),
    ("double precision", pa.array([D("1.25"), None]), [1.25, None]),
    ("numeric(10,2)", pa.array([5, -7, None], pa.int64()), [D("5.00"), D("-7.00"), None]),
    ("numeric(38,30)", pa.array([5], pa.int64()), [D(5)]),
    ("numeric(20,0)", pa.array([2**64 - 1], pa.uint64()), [D(2**64 - 1)]),
    ("numeric(6,2)", pa.array([1.01, 2.5]), [D("1.01"), D("2.50")]),
    ("numeric(50,10)", pa.array([D("1.5")]), [D("1.5")]),
    ("numeric", pa.array([7, None], pa.int64()), [D(7), None]),
    ("numeric", pa.array([D("1.230"), None]), [D("1.230"), None]),
    ("numeric", pa.array([0.1, 1e300]), [D("0.1"), D("1E+300")]),
    ("numeric", pa.array(["12.5"]), [D("12.5")]),
    ("text", pa.array([1, None]), ["1", None]),
    ("text", pa.array([[1, 2], None]), ["[1, 2]", None]),
    ("text", pa.array([date(2024, 1, 2)]), ["2024-01-02"]),
    ("varchar(3)", pa.array(["abc"]), ["abc"]),
    ("char(3)", pa.array(["a"]), ["a  "]),
    ("name", pa.array(["a"]), ["a"]),
    ("json", pa.array(['{"a": 1}', None]), [{"a": 1}, None]),
    ("json", pa.array([{"a": [1.5]}]), [{"a": [1.5]}]),
    ("jsonb", pa.array([1, None]), [1, None]),
    ("jsonb", pa.array([True]), [True]),
    ("uuid", pa.array([str(SOME_UUID), str(SOME_UUID).upper().replace("-", ""), None]), [SOME_UUID, SOME_UUID, None]),
    ("uuid", pa.array([SOME_UUID.bytes], pa.binary(16)), [SOME_UUID]),
    ("uuid", pa.array([SOME_UUID.bytes], pa.binary()), [SOME_UUID]),
    ("bytea", pa.array(["ë"]), ["ë".encode()]),
    ("date", pa.array([datetime(2024, 1, 2)]), [date(2024, 1, 2)]),  # noqa: DTZ001 - a moment without a zone
    ("date", pa.array(["1815-06-18"]), [date(1815, 6, 18)]),
    ("time", pa.array(["12:30:00"]), [time(12, 30)]),
    ("timestamp", pa.array([date(2024, 1, 2)]), [datetime(2024, 1, 2)]),  # noqa: DTZ001 - as above
    ("timestamp", pa.array([NOON], pa.timestamp("us", "Asia/Tokyo")), [NOON]),
    ("timestamptz", pa.array([NOON], pa.timestamp("us")), [NOON.replace(tzinfo=UTC)]),
    ("timestamptz", pa.array(["2024-01-02T00:00:00Z"]), [datetime(2024, 1, 2, tzinfo=UTC)]),
    ("interval", pa.array(["1 day"]), [timedelta(days=1)]),
    ("interval", pa.array([1500], pa.duration("ms")), [timedelta(seconds=1.5)]),
    ("int[]", pa.array([[1, None, 3], [], None]), [[1, None, 3], [], None]),
    ("text[]", pa.array([['a"b', "c,\\d", "NULL", ""]]), [['a"b', "c,\\d", "NULL", ""]]),
    ("int[]", pa.array([[[1, 2], [3, 4]]]), [[[1, 2], [3, 4]]]),
    ("jsonb[]", pa.array([[{"a": 1}]]), [[{"a": 1}]]),
    ("date[]", pa.array([[date(2024, 1, 2)]]), [[date(2024, 1, 2)]]),
    ("float8[]", pa.array([[float("inf"), 0.5]]), [[float("inf"), 0.5]]),
    ("sales.mood", pa.array(["sad", None]), ["sad", None]),
    ("sales.price", pa.array([5, None], pa.int64()), [D("5.00"), None]),
    ("sales.tiny_price", pa.array([D("1.5")]), [D("1.50")]),
    ("sales.code", pa.array(["ab"]), ["ab"]),
    ("inet", pa.array(["10.0.0.1"]), [pytest.importorskip("ipaddress").ip_address("10.0.0.1")]),
    ("timetz", pa.array(["12:00:00+00"]), [time(12, tzinfo=UTC)]),
]  # fmt: skip


@pytest.fixture(scope="module")
def own_types(url: str) -> None:
    """Make an enum, and domains over numbers, over each other and over text."""
    Query(url)("CREATE TYPE sales.mood AS ENUM ('happy', 'sad')")
    Query(url)("CREATE DOMAIN sales.price AS numeric(8,2) CHECK (VALUE >= 0)")
    Query(url)("CREATE DOMAIN sales.tiny_price AS sales.price CHECK (VALUE < 10)")
    Query(url)("CREATE DOMAIN sales.code AS varchar(3)")


@pytest.mark.usefixtures("own_types")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("sql_type", "values", "expected"), INTO, ids=[f"{t}<-{v.type}" for t, v, _ in INTO])
def test_a_value_becomes_what_an_existing_column_holds(
    url: str, way: str, sql_type: str, values: "pa.Array[Any]", expected: list[Any]
) -> None:
    _, found = sent(url, values, way, sql_type)

    assert found == expected


NEVER: list[tuple[str, pa.DataType]] = [
    ("bigint", pa.timestamp("us")),
    ("timestamptz", pa.int64()),
    ("date", pa.int32()),
    ("boolean", pa.int64()),
    ("time", pa.timestamp("us")),
    ("integer", pa.list_(pa.int32())),
    ("interval", pa.int64()),
    ("text", pa.duration("us")),
    ("bytea", pa.int64()),
    ("uuid", pa.int64()),
    ("point", struct_of(x=pa.float64())),
    ("text", pa.month_day_nano_interval()),
]


@pytest.mark.parametrize(("sql_type", "dtype"), NEVER, ids=str)
def test_a_type_that_can_never_fit_its_column_is_refused_by_name_before_anything_is_read(
    url: str, sql_type: str, dtype: pa.DataType
) -> None:
    table = f"sales.t{next(NUMBERS)}"
    Query(url)(f"CREATE TABLE {table} (x {sql_type})")

    with pytest.raises(ContractViolationError, match=r"column x is .*cast, rename or drop it") as raised:
        LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), table=table).open(pa.schema({"x": dtype}))

    assert raised.value.context["column"] == "x"


@pytest.mark.parametrize("dtype", [pa.month_day_nano_interval(), pa.bool8()])
def test_a_type_that_no_column_can_hold_is_refused_by_name_before_a_table_is_made(url: str, dtype: pa.DataType) -> None:
    with pytest.raises(ContractViolationError, match="column x: no PostgreSQL type"):
        LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), table="sales.never").open(pa.schema({"x": dtype}))


MISFITS: list[tuple[str, "pa.Array[Any]"]] = [
    ("smallint", pa.array([1, 2, 70_000])),
    ("integer", pa.array([1.0, 2.0, 2.5])),
    ("real", pa.array([1.0, 2.0, 1e300])),
    ("double precision", pa.array([1, 2, 2**53 + 1])),
    ("numeric(4,2)", pa.array([1, 2, 100])),
    ("numeric(4,2)", pa.array([D("1.000"), D("2.000"), D("2.005")])),
    ("numeric(4,2)", pa.array([1.0, 2.0, float("nan")])),
    ("date", pa.array([datetime(2024, 1, 2), None, NOON])),  # noqa: DTZ001 - as above
    ("uuid", pa.array([SOME_UUID.bytes, None, b"short"])),
    ("text", pa.array([b"a", None, b"\xff"])),
    ("jsonb", pa.array([[("a", 1)], None, [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8()))),
    ("timestamp", pa.array([0, None, -(2**63)], pa.timestamp("us"))),
]


@pytest.mark.parametrize(("sql_type", "values"), MISFITS, ids=[f"{t}<-{v.type}" for t, v in MISFITS])
def test_a_value_that_would_change_on_its_way_is_refused_with_its_column(
    url: str, sql_type: str, values: "pa.Array[Any]"
) -> None:
    table = f"sales.t{next(NUMBERS)}"
    Query(url)(f"CREATE TABLE {table} (x {sql_type})")

    with pytest.raises(ContractViolationError, match="column x") as raised:
        LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), table=table).run(pa.table({"x": values}))

    assert raised.value.context.get("position", 2) == 2
    assert Query(url).table(table) == []


TEXTS = [
    ("bigint", ["1", None, "two"]),
    ("date", ["2024-01-02", None, "2024-02-30"]),
    ("uuid", [str(SOME_UUID), None, "x"]),
]


@pytest.mark.parametrize(("sql_type", "texts"), TEXTS, ids=[name for name, _ in TEXTS])
def test_text_that_workers_do_not_read_goes_on_staged_and_postgresql_judges_it(
    url: str, sql_type: str, texts: list[str | None]
) -> None:
    table = f"sales.t{next(NUMBERS)}"
    Query(url)(f"CREATE TABLE {table} (x {sql_type})")
    rows, warehouse = pa.table({"x": texts}), PostgresWarehouse(url, ALWAYS_DIRECT)

    with pytest.raises(RowRefusedError, match=r"column x .*position 2 of u0"):
        LoadTrial(warehouse, table=table).run(rows)
    published = LoadTrial(warehouse, "staged", table=table).run(rows)

    assert (published.account.loaded, published.account.rejected) == (2, 1)
    assert Query(url)(f"SELECT x::text FROM {table}") == [(texts[0],), (None,)]


def test_text_is_sent_as_utf_8_whatever_the_database_holds(postgres_servers: PostgresServers) -> None:
    name = f"latin_{next(NUMBERS)}"
    make = "CREATE DATABASE {} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    postgres_servers.run(18, sql.SQL(make).format(sql.Identifier(name)))
    url = postgres_servers.url(18, name)
    try:
        warehouse = PostgresWarehouse(url, ALWAYS_DIRECT)
        warehouse.prepare()
        published = LoadTrial(warehouse, "staged").run(pa.table({"x": ["Zoë", "日本"]}))
        with psycopg.connect(url, client_encoding="UTF8") as conn:
            found = conn.execute("SELECT x FROM sales.orders").fetchall()
            aside = conn.execute("SELECT column_name, position FROM dataproc_load.reject").fetchall()
    finally:
        postgres_servers.run(18, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    assert found == [("Zoë",)]
    assert (published.account.rejected, aside) == (1, [("x", 1)])
