"""MariaDB as a source: the laws of every source, its types, and what goes wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from dataproc.domain.errors import (
    CountMismatchError,
    DataprocError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.sources.database import DatabaseSource
from dataproc.ports.connector import Connector
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.factory import connector_for, source_for
from tests.builders import surroundings
from tests.contract.conformance import Row, SourceConformance, one_table, read_all, read_late_rows, rows_of
from tests.descriptors import open_sockets
from tests.fakes.secrets import FakeSecrets
from tests.fakes.warehouse import FakeMemory
from tests.mariadb import PASSWORD, MariaDb, mariadb

NUMBERS = count()
REFERENCE = "secret://legacy#password"
ORDERS = (
    "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, amount decimal(12,2), at datetime(6), note varchar(200))",
    "INSERT INTO orders SELECT seq + 18446744073709540000, seq / 8, '2026-01-01' + INTERVAL seq MINUTE, "
    "IF(seq % 5 = 0, NULL, concat('Zoë ✓ 🎉 ', seq)) FROM seq_1_to_3000",
    "CREATE TABLE none LIKE orders",
    "CREATE TABLE hidden (id int)",
)


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with orders, and a user who may read them."""

    server: MariaDb
    database: str

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the owner."""
        return self.server(*statements, database=self.database)

    def connection(self, **changes: object) -> Connection:
        """Return it as a registered source."""
        config = {"host": "127.0.0.1", "port": self.server.port, "database": self.database, "user": "reader"}
        return Connection("legacy", "mysql", {**config, "password": REFERENCE, **changes})

    def reading(self, connection: Connection | None = None, password: str = PASSWORD, **options: object) -> Source:
        """Return a source of the database."""
        spec = DatabaseSource.model_validate({"kind": "database", "connection": "legacy", **options})
        secrets = FakeSecrets({REFERENCE: password})
        return source_for(spec, surroundings(secrets=secrets, connection=connection or self.connection()))

    def connector(self) -> Connector:
        """Return what can be asked of the database."""
        return connector_for(surroundings(secrets=FakeSecrets({REFERENCE: PASSWORD}), connection=self.connection()))

    def source(self) -> Source:
        return self.reading(table="orders")

    def rows(self) -> Sequence[Row]:
        return self.query("SELECT * FROM orders")

    def empty(self) -> Source:
        return self.reading(table="none")

    def refused(self) -> Source:
        return self.reading(password="wrong", table="orders")

    def missing(self) -> Source:
        return self.reading(table="nothing")

    def away(self) -> Source:
        return self.reading(self.connection(port=1), table="orders")

    def change(self) -> None:
        # Rows that are added between plan and read belong to the unit, which is the table; other columns do not.
        self.query("ALTER TABLE orders MODIFY amount decimal(14,3)")

    def open_connections(self) -> int:
        return open_sockets()


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDb]:
    with mariadb() as server:
        yield server


@pytest.fixture
def shop(server: MariaDb) -> Shop:
    name = f"shop{next(NUMBERS)}"
    server(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    shop = Shop(server, name)
    shop.query(*ORDERS)
    return shop


@pytest.fixture(scope="module")
def bare(server: MariaDb) -> Shop:
    """Give a database that tests share; each makes a table of its own."""
    server("CREATE DATABASE bare CHARACTER SET utf8mb4")
    return Shop(server, "bare")


class TestMariaDb(SourceConformance):
    """MariaDB keeps the laws of a source."""

    @pytest.fixture
    def subject(self, shop: Shop) -> Shop:
        return shop


NOON = datetime(2024, 2, 29, 12, 0, 0, 123456)  # noqa: DTZ001 - a moment without a zone
TYPES: list[tuple[str, str, pa.DataType, list[str], list[Any]]] = [
    ("tinyint", "", pa.int8(), ["-128", "127"], [-128, 127]),
    ("tinyint unsigned", "", pa.uint8(), ["255"], [255]),
    ("smallint unsigned", "", pa.uint16(), ["65535"], [65535]),
    ("mediumint", "", pa.int32(), ["-8388608"], [-8388608]),
    ("int unsigned", "", pa.uint32(), ["4294967295"], [4294967295]),
    ("bigint", "", pa.int64(), ["-9223372036854775808"], [-(2**63)]),
    ("bigint unsigned", "", pa.uint64(), ["18446744073709551615"], [2**64 - 1]),
    ("decimal(65,30)", "", pa.decimal256(65, 30), [f"{'9' * 35}.{'1' * 30}"], [Decimal(f"{'9' * 35}.{'1' * 30}")]),
    ("decimal(10,2) unsigned", "", pa.decimal128(10, 2), ["12345678.90"], [Decimal("12345678.90")]),
    ("decimal(5,0)", "", pa.decimal128(5, 0), ["-12345"], [Decimal(-12345)]),
    ("float", "", pa.float32(), ["16777217", "0.1"], [16777216.0, 0.10000000149011612]),
    ("double", "", pa.float64(), ["0.1", "5e-324"], [0.1, 5e-324]),
    ("date", "", pa.date32(), ["'2024-02-29'", "'9999-12-31'"], [date(2024, 2, 29), date(9999, 12, 31)]),
    ("datetime(6)", "", pa.timestamp("us"), ["'2024-02-29 12:00:00.123456'"], [NOON]),
    ("timestamp(6) NULL", "", pa.timestamp("us", "UTC"), ["from_unixtime(1709208000.123456)"],
     [NOON.replace(tzinfo=UTC).astimezone(ZoneInfo("UTC"))]),
    ("time(6)", "", pa.duration("us"), ["'-838:59:59'", "'12:30:00.5'"],
     [-timedelta(hours=838, minutes=59, seconds=59), timedelta(hours=12, minutes=30, seconds=0.5)]),
    ("year", "", pa.int16(), ["2024", "0"], [2024, 0]),
    ("bit(9)", "", pa.uint64(), ["b'100000001'"], [257]),
    ("varchar(50)", "", pa.string(), ["'Zoë ✓ 🎉'", "''", "'back\\\\slash'"], ["Zoë ✓ 🎉", "", "back\\slash"]),
    ("varchar(50) CHARACTER SET latin1", "", pa.string(), ["'Zoë'"], ["Zoë"]),
    ("text COLLATE utf8mb4_bin", "", pa.string(), ["'é'"], ["é"]),
    ("enum('a','so, so')", "", pa.string(), ["'so, so'"], ["so, so"]),
    ("set('a','b','c')", "", pa.string(), ["'c,a'"], ["a,c"]),
    ("json", "", pa.string(), ["'{\"a\":  [1, null]}'"], ['{"a":  [1, null]}']),
    ("varbinary(9)", "", pa.binary(), ["x'00ff'"], [b"\x00\xff"]),
    ("longblob", "", pa.binary(), ["x''", "x'0a'"], [b"", b"\n"]),
    ("uuid", "", pa.string(), ["'12345678-1234-5678-1234-567812345678'"], ["12345678-1234-5678-1234-567812345678"]),
    ("inet6", "", pa.string(), ["'2001:db8::1'"], ["2001:db8::1"]),
]  # fmt: skip


@pytest.mark.parametrize(("sql_type", "_", "dtype", "values", "expected"), TYPES, ids=[each[0] for each in TYPES])
def test_a_value_comes_as_it_was(
    bare: Shop, sql_type: str, _: str, dtype: pa.DataType, values: list[str], expected: list[Any]
) -> None:
    table = f"t{next(NUMBERS)}"
    rows = ", ".join(f"({number}, {value})" for number, value in enumerate([*values, "NULL"]))
    bare.query(f"CREATE TABLE {table} (n int PRIMARY KEY, x {sql_type})", f"INSERT INTO {table} VALUES {rows}")

    plan, chunks = read_all(bare.reading(table=table))

    assert plan.schema.field("x").type == dtype
    assert one_table(chunks)["x"].to_pylist() == [*expected, None]


@pytest.mark.parametrize(("sql_type", "value"), [("date", "0000-00-00"), ("datetime", "2024-00-00 00:00:00")])
def test_a_row_with_a_day_that_is_none_is_set_aside_and_comes_as_text(shop: Shop, sql_type: str, value: str) -> None:
    shop.query("SET sql_mode = ''", f"CREATE TABLE t (n int, x {sql_type})", f"INSERT INTO t VALUES (1, '{value}')")
    shop.query("INSERT INTO t VALUES (2, '2024-01-01')")

    _, chunks = read_all(shop.reading(table="t"))
    _, as_text = read_all(shop.reading(table="t", as_text=["x"]))

    assert [row[0] for row in rows_of(chunks)] == [2]
    assert chunks[0].rejects.select(["position", "column"]).to_pylist() == [{"position": 0, "column": "x"}]
    assert value in str(chunks[0].rejects["row"][0])
    assert rows_of(as_text)[0][1] == value


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"query": "SELEC 1"}, SourceRefusedError, "error 1064.*check query"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, SourceRefusedError, "Duplicate column name 'a'"),
        ({"table": "hidden", "where": "nope = 1"}, SourceRefusedError, "nope"),
        ({"table": "nothing"}, SourceNotFoundError, "check its name"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    shop: Shop, options: dict[str, Any], error: type[DataprocError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        read_all(shop.reading(**options))

    assert PASSWORD not in str(caught.value)


def test_a_table_that_the_user_may_not_read_is_told(shop: Shop) -> None:
    with pytest.raises(SourceRefusedError, match="grant SELECT"):
        read_all(shop.reading(shop.connection(user="stranger"), table="orders"))


def test_a_database_that_is_not_there_is_told(shop: Shop) -> None:
    with pytest.raises(SourceNotFoundError):
        read_all(shop.reading(shop.connection(database="nowhere"), table="orders"))


def test_a_statement_that_takes_too_long_is_tried_again_and_says_what_to_raise(shop: Shop) -> None:
    with pytest.raises(SourceUnavailableError, match="raise statement_timeout"):
        read_all(shop.reading(shop.connection(statement_timeout="100ms"), query="SELECT sleep(5) AS a"))


def test_a_source_only_reads(shop: Shop) -> None:
    shop.query("CREATE FUNCTION sly() RETURNS int DETERMINISTIC BEGIN DELETE FROM orders; RETURN 1; END",
               "GRANT EXECUTE, DELETE ON *.* TO reader")  # fmt: skip

    with pytest.raises(SourceRefusedError, match="a source is only read"):
        read_all(shop.reading(query="SELECT sly() AS a"))

    assert len(shop.rows()) == 3000


def test_columns_that_change_after_the_plan_let_the_run_be_tried_again(shop: Shop) -> None:
    source = shop.source()
    plan = source.plan()

    shop.change()

    with pytest.raises(SourceChangedError):
        list(source.read(plan.units[0]))


def test_rows_are_counted_on_the_snapshot_that_is_read_where_the_job_wants_that(shop: Shop) -> None:
    source = shop.reading(table="orders", verify_counts=True)

    _, chunks = read_all(source)

    assert len(rows_of(chunks)) == 3000


def test_a_server_whose_certificate_nobody_signed_is_refused(shop: Shop) -> None:
    with pytest.raises(SourceRefusedError, match="check tls and ca"):
        read_all(shop.reading(shop.connection(tls="verify-full"), table="orders"))


def test_only_new_rows_are_read_and_young_ones_are_left(shop: Shop) -> None:
    shop.query("CREATE TABLE t (n int, at timestamp(6))",
               "INSERT INTO t VALUES (1, now() - INTERVAL 3 HOUR), (2, now() - INTERVAL 2 HOUR)",
               "INSERT INTO t VALUES (3, now())")  # fmt: skip
    options: dict[str, Any] = {"table": "t", "incremental": {"cursor": "at", "lag": "1h"}}

    plan, first = read_all(shop.reading(**options))
    assert plan.move is not None
    shop.query("INSERT INTO t VALUES (4, now() - INTERVAL 90 MINUTE)")
    after = shop.reading(**options).plan(FakeMemory(plan.move.after))
    again = [chunk for unit in after.units for chunk in shop.reading(**options).read(unit)]

    assert [row[0] for row in rows_of(first)] == [1, 2]
    assert [row[0] for row in rows_of(again)] == [4]


def test_nothing_new_keeps_the_watermark(shop: Shop) -> None:
    source = shop.reading(table="orders", incremental={"cursor": "id"})
    first = source.plan()
    assert first.move is not None

    again = source.plan(FakeMemory(first.move.after))

    assert again.units == ()
    assert again.move == replace(first.move, before=first.move.after)


@pytest.mark.parametrize(
    ("sql_type", "last", "beyond"),
    [
        ("int", "7", "8"),
        ("decimal(9,2)", "7.50", "8"),
        ("date", "'2026-01-07'", "'2026-01-08'"),
        ("datetime(6)", "'2026-01-07 00:00:00.000001'", "'2026-01-08'"),
        ("timestamp(6)", "'2026-01-07 00:00:00.5'", "'2026-01-08'"),
        ("varchar(9)", "'é''x'", "'ê'"),
    ],
)
@pytest.mark.parametrize("by_key", [False, True])
def test_rows_that_come_later_with_the_value_of_the_watermark_are_read_once_or_by_key_again(
    shop: Shop, sql_type: str, last: str, beyond: str, *, by_key: bool
) -> None:
    shop.query(f"CREATE TABLE late (n int, at {sql_type} NOT NULL)")
    source = shop.reading(table="late", incremental={"cursor": "at"})

    def add(number: int, value: str) -> None:
        shop.query(f"INSERT INTO late VALUES ({number}, {value})")

    assert read_late_rows(source, add, last, beyond, by_key=by_key)


def test_a_connection_tells_its_version_and_what_there_is_to_read(shop: Shop) -> None:
    found = {each.name.partition(".")[2]: each for each in shop.connector().discover()}

    assert "MariaDB" in shop.connector().test()
    assert set(found) == {"orders", "none", "hidden"}
    assert found["orders"].columns[0] == ("id", "bigint(20) unsigned")


def test_counts_that_differ_are_refused(shop: Shop) -> None:
    # A function whose rows differ each time stands for rows that were lost on the way.
    source = shop.reading(query="SELECT seq FROM seq_1_to_1000 WHERE rand() < 0.5", verify_counts=True)

    with pytest.raises(CountMismatchError, match="rows were counted"):
        read_all(source)
