"""Every type of PostgreSQL goes from a source into the warehouse as it was, or is refused by its column's name."""

from collections.abc import Iterator
from itertools import count
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from dataproc.domain.chunk import Chunk
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.database import DatabaseSource
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.factory import source_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.conftest import DEFAULT_MAJOR, WAREHOUSE, PostgresServers
from tests.contract.conformance import rows_of
from tests.warehouses import ALWAYS_DIRECT, LoadTrial, Query

NUMBERS = count()
LONG = "9" * 38
CARRIED: list[tuple[str, str, list[str]]] = [
    ("boolean", "boolean", ["true", "false"]),
    ("smallint", "smallint", ["-32768", "32767"]),
    ("integer", "integer", ["-2147483648", "2147483647"]),
    ("bigint", "bigint", ["-9223372036854775808", "9223372036854775807"]),
    ("real", "real", ["1.1", "'NaN'", "'-Infinity'", "'-0'", "3.4028235e38"]),
    (
        "double precision",
        "double precision",
        ["0.1", "'NaN'", "'Infinity'", "'-0'", "5e-324", "1.7976931348623157e308"],
    ),
    ("numeric(12,2)", "numeric(12,2)", ["1.50", "-9999999999.99", "0"]),
    ("numeric(38,0)", "numeric(38,0)", [LONG, f"-{LONG}"]),
    ("numeric(60,20)", "numeric(60,20)", [f"{LONG}.12345678901234567890", "-0.00000000000000000001"]),
    ("numeric", "numeric", ["1e200", "'NaN'", "'Infinity'", "'-Infinity'", "0.000", "12345678901234567890.123456789"]),
    ("numeric(100,2)", "numeric(100,2)", ["1" * 90 + ".25"]),
    ("numeric(5,-2)", "numeric(5,-2)", ["123400"]),
    ("money", "numeric(19,2)", ["'$1,234.56'", "'-92233720368547758.08'"]),
    ("oid", "bigint", ["4294967295"]),
    ("text", "text", ["'Zoë ✓ 🎉'", "''", "E'a\\nb\\\\c'"]),
    ("varchar(20)", "text", ["'short '"]),
    ("char(5)", "text", ["'ab'"]),
    ('"char"', "text", ["'x'"]),
    ("name", "text", ["'relname'"]),
    ("bytea", "bytea", ["'\\x00ff10'", "''"]),
    ("uuid", "uuid", ["'12345678-1234-5678-1234-567812345678'"]),
    ("json", "json", ['\'{"a": 1,  "a": 2, "b": 1e400}\'', "'null'"]),
    ("jsonb", "jsonb", ['\'{"b": [1, 2.50, null], "a": "\\u00e9"}\'', "'1e400'"]),
    ("date", "date", ["'2024-02-29'", "'0044-03-15 BC'", "'4713-01-01 BC'", "'5874897-12-31'"]),
    ("time", "time without time zone", ["'23:59:59.999999'", "'24:00'", "'00:00'"]),
    ("timetz", "time with time zone", ["'12:00:00.5+05:30'"]),
    ("timestamp", "timestamp without time zone", ["'2024-02-29 12:00:00.123456'", "'0044-03-15 BC'", "'12024-01-01'"]),
    (
        "timestamptz",
        "timestamp with time zone",
        ["'2024-03-31 02:30+02'", "'4713-01-02 BC'", "'294246-12-31 23:59:59Z'"],
    ),
    ("interval", "interval", ["'1 year 2 mons -3 days 04:05:06.789'", "'-1 microsecond'", "'178000000 years'"]),
    ("integer[]", "integer[]", ["'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[2:3]={5,6}'", "'{}'"]),
    ("text[]", "text[]", ["ARRAY['a,b', NULL, 'NULL', '\"', E'\\\\', '']"]),
    ("timestamptz[]", "timestamp with time zone[]", ["ARRAY['infinity'::timestamptz, '2024-01-01Z']"]),
    ("numeric[]", "numeric[]", ["'{NaN,1e100,0.10}'"]),
    ("bytea[]", "bytea[]", ["ARRAY['\\x00ff'::bytea]"]),
    ("shop.mood", "text", ["'so, so'", "'glad'"]),
    ("shop.percent", "integer", ["50"]),
    ("shop.place", "text", ["ROW(1, 'a,b \"c\"')::shop.place", "ROW(NULL, '')::shop.place"]),
    ("inet", "inet", ["'10.0.0.1'", "'2001:db8::1/64'"]),
    ("cidr", "cidr", ["'10.0.0.0/8'"]),
    ("macaddr", "macaddr", ["'08:00:2b:01:02:03'"]),
    ("bit(5)", "bit(5)", ["B'10101'"]),
    ("bit varying", "bit varying", ["B'101'", "B''"]),
    ("int4range", "int4range", ["'[1,10)'", "'empty'", "'(,5)'"]),
    ("tstzrange", "tstzrange", ["'[2024-01-01Z,infinity)'"]),
    ("tsvector", "tsvector", ["'fat:2 cat:3A'"]),
    ("point", "point", ["'(0.1,-2)'"]),
    ("macaddr8", "macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    ("interval(3)", "interval(3)", ["'1.234 seconds'"]),
    ("int4multirange", "int4multirange", ["'{[1,3),[5,9)}'"]),
    ("varchar(5)[]", "character varying(5)[]", ["'{abc,NULL}'"]),
    ("uuid[]", "uuid[]", ["'{12345678-1234-5678-1234-567812345678}'"]),
    ("jsonb[]", "jsonb[]", ["ARRAY['{\"a\": 1.50}'::jsonb]"]),
    ("date[]", "date[]", ["'{infinity,2024-01-01}'"]),
    ("circle", "circle", ["'<(0.1,0),3>'"]),
    ("tsquery", "tsquery", ["'fat & cat'"]),
    ("shop.mood[]", "text", ["ARRAY['glad'::shop.mood]"]),
    ("pg_lsn", "pg_lsn", ["'16/B374D848'"]),
    ("regclass", "text", ["'pg_class'"]),
]
"""A type, the type of the column that a load makes for it, and some values; null is sent as well."""


@pytest.fixture(scope="module")
def url(postgres_servers: PostgresServers) -> Iterator[str]:
    """Give a database that is the source and the warehouse."""
    with postgres_servers.database(DEFAULT_MAJOR, WAREHOUSE) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SELECT set_config('lc_monetary', 'C', false)")
            conn.execute(
                "CREATE SCHEMA shop; CREATE SCHEMA sales; CREATE TYPE shop.mood AS ENUM ('glad', 'so, so');"
                "CREATE DOMAIN shop.percent AS int CHECK (VALUE <= 100); CREATE TYPE shop.place AS (a int, b text)"
            )
        yield url


def source_of(url: str, table: str, **options: object) -> Source:
    """Return a source of a table of the database."""
    parts = urlsplit(url)
    config = {"host": parse_qs(parts.query)["host"][0], "database": parts.path[1:], "user": "postgres"}
    spec = DatabaseSource.model_validate({"kind": "database", "connection": "legacy", "table": table, **options})
    return source_for(spec, surroundings(connection=Connection("legacy", "postgresql", config)))


def made(url: str, sql_type: str, values: list[str]) -> str:
    """Make a table with these values and null; return its name."""
    table = f"shop.t{next(NUMBERS)}"
    rows = ", ".join(f"({number}, {value})" for number, value in enumerate([*values, "NULL"]))
    Query(url)(f"CREATE TABLE {table} (n int, x {sql_type})")
    Query(url)(f"INSERT INTO {table} VALUES {rows}")
    return table


def moved(url: str, table: str, target: str, way: str, **options: object) -> list[Chunk]:
    """Load a table into the warehouse; return what was read."""
    source = source_of(url, table, **options)
    plan = source.plan().decoded()
    with plan.hold:
        chunks = [chunk for unit in plan.units for chunk in source.read(unit)]
        LoadTrial(PostgresWarehouse(url, ALWAYS_DIRECT), way, target).publish(plan, chunks)
    return chunks


def texts(url: str, table: str) -> list[str | None]:
    """Return the values of a table as PostgreSQL writes them."""
    return [text for _, text in Query(url)(f"SELECT n, x::text FROM {table} ORDER BY n")]


@pytest.mark.parametrize(("sql_type", "made_type", "values"), CARRIED, ids=[each[0] for each in CARRIED])
def test_a_value_arrives_as_it_was_in_a_new_table_and_in_one_of_the_same_type(
    url: str, sql_type: str, made_type: str, values: list[str]
) -> None:
    table = made(url, sql_type, values)
    new, same = f"sales.new_{table[5:]}", f"sales.same_{table[5:]}"
    Query(url)(f"CREATE TABLE {same} (LIKE {table})")

    moved(url, table, new, "direct")
    moved(url, table, same, "staged")

    shown = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'x'"
    assert Query(url)(shown, new) == [(made_type,)]
    assert texts(url, same) == texts(url, table)
    if sql_type not in {"money", "char(5)"}:
        assert texts(url, new) == texts(url, table)
    same_value = f"SELECT count(*) FROM {table} JOIN {new} AS made USING (n) WHERE {table}.x::text = made.x::text"
    if sql_type == "money":
        same_value = f"SELECT count(*) FROM {table} JOIN {new} AS made USING (n) WHERE {table}.x = made.x::money"
    assert Query(url)(same_value if sql_type != "char(5)" else f"SELECT count(x) FROM {new}") == [(len(values),)]


@pytest.mark.parametrize(
    ("sql_type", "value"),
    [
        ("date", "'infinity'"),
        ("date", "'-infinity'"),
        ("timestamp", "'infinity'"),
        ("timestamptz", "'-infinity'"),
        ("timestamptz", "'294276-12-31 23:59:59Z'"),
        ("numeric(10,2)", "'NaN'"),
    ],
)
def test_a_row_with_a_value_that_arrow_has_not_is_set_aside_and_arrives_as_text(
    url: str, sql_type: str, value: str
) -> None:
    table = made(url, sql_type, [value])
    target = f"sales.text_{table[5:]}"

    source = source_of(url, table)
    plan = source.plan()
    with plan.hold:
        chunk = next(iter(source.read(plan.units[0])))
    moved(url, table, target, "direct", as_text=["x"])

    assert rows_of([chunk]) == [(1, None)]
    assert chunk.rejects.select(["position", "column"]).to_pylist() == [{"position": 0, "column": "x"}]
    assert "as_text" in str(chunk.rejects["reason"][0].as_py())
    assert texts(url, target) == texts(url, table)


def test_a_row_with_two_values_that_arrow_has_not_is_set_aside_once(url: str) -> None:
    Query(url)("CREATE TABLE shop.twice AS SELECT 1 AS n, 'infinity'::date AS a, '-infinity'::timestamp AS b")

    source = source_of(url, "shop.twice")
    plan = source.plan()
    with plan.hold:
        chunk = next(iter(source.read(plan.units[0])))

    assert (chunk.read, chunk.rejected, chunk.rejects.num_rows) == (1, 1, 2)


def test_a_later_step_casts_the_text_of_a_uuid(url: str) -> None:
    table = made(url, "uuid", ["'12345678-1234-5678-1234-567812345678'"])
    source = source_of(url, table)
    parts = urlsplit(url)
    config = {"host": parse_qs(parts.query)["host"][0], "database": parts.path[1:], "user": "postgres"}
    spec = DatabaseSource(kind="database", connection="legacy", table=table)
    around = surroundings(
        connection=Connection("legacy", "postgresql", config), columns=SourceColumns(declared=frozenset({"x"}))
    )

    for each, expected in ((source, "extension<arrow.uuid>"), (source_for(spec, around), "string")):
        plan = each.plan()
        with plan.hold:
            assert str(plan.schema.field("x").type) == expected
