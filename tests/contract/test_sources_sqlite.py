"""SQLite as a source: the laws of every source, values of any type in a column, and what goes wrong."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataproc.domain.errors import (
    ContractViolationError,
    DataprocError,
    SetupError,
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
from tests.descriptors import opened
from tests.fakes.warehouse import FakeMemory


@dataclass(frozen=True, slots=True)
class Shop:
    """A file with orders."""

    folder: Path
    journal: str = "delete"

    @property
    def path(self) -> Path:
        return self.folder / "shop.db"

    def query(self, *statements: str) -> list[Any]:
        """Run statements as the file's owner."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as conn:
            for statement in statements:
                found = conn.execute(statement).fetchall()
            return found

    def connection(self, **changes: object) -> Connection:
        """Return it as a registered source."""
        return Connection("legacy", "sqlite", {"file": "shop.db", **changes})

    def reading(self, connection: Connection | None = None, **options: object) -> Source:
        """Return a source of the file."""
        spec = DatabaseSource.model_validate({"kind": "database", "connection": "legacy", **options})
        return source_for(spec, surroundings(connection=connection or self.connection(), files_root=self.folder))

    def connector(self) -> Connector:
        """Return what can be asked of the file."""
        return connector_for(surroundings(connection=self.connection(), files_root=self.folder))

    def source(self) -> Source:
        return self.reading(table="orders")

    def rows(self) -> Sequence[Row]:
        return self.query("SELECT * FROM orders")

    def empty(self) -> Source:
        return self.reading(table="none")

    def refused(self) -> Source:
        # A file has no password; what it may refuse is to be read from outside of the folder.
        return self.reading(self.connection(file="../shop.db"), table="orders")

    def missing(self) -> Source:
        return self.reading(table="nothing")

    def away(self) -> Source:
        holder = sqlite3.connect(self.path, isolation_level=None)
        holder.execute("PRAGMA locking_mode = exclusive")
        holder.execute("BEGIN EXCLUSIVE")
        HOLDERS.append(holder)
        return self.reading(table="orders")

    def change(self) -> None:
        self.query("UPDATE orders SET note = 'changed'")

    def open_connections(self) -> int:
        return opened("shop.db")


HOLDERS: list[sqlite3.Connection] = []


@pytest.fixture(params=["delete", "wal"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    shop = Shop(tmp_path, request.param)
    shop.query(
        f"PRAGMA journal_mode = {request.param}",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, note TEXT, raw BLOB)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
        "INSERT INTO orders SELECT i, i / 8.0, CASE WHEN i % 5 THEN 'Zoë 🎉 ' || i END, zeroblob(i % 3) FROM n",
        "CREATE TABLE none (id INTEGER, note TEXT)",
        "CREATE VIEW recent AS SELECT id, note, id * 2 AS twice FROM orders WHERE id > 2990",
    )
    return shop


class TestSqlite(SourceConformance):
    """SQLite keeps the laws of a source."""

    @pytest.fixture
    def subject(self, shop: Shop) -> Iterator[Shop]:
        yield shop
        while HOLDERS:
            HOLDERS.pop().close()


def test_a_column_has_the_type_that_is_declared_or_else_that_of_its_values(shop: Shop) -> None:
    shop.query(
        "CREATE TABLE t (a INTEGER, b VARCHAR(9), c DOUBLE, d BLOB, e DECIMAL(10,2), f, g BOOLEAN, h DATETIME, i)",
        "INSERT INTO t VALUES (1, 'x', 1, x'00', '12.30', 5, 1, '2024-01-01', x'01'), "
        "(9223372036854775807, '', 0.1, x'', 9007199254740993, 1.5, 0, 5, x'02')",
    )

    plan, chunks = read_all(shop.reading(table="t"))

    assert [str(kind) for kind in plan.schema.types] == [
        "int64", "string", "double", "binary", "string", "double", "int64", "string", "binary",
    ]  # fmt: skip
    assert rows_of(chunks) == [
        (1, "x", 1.0, b"\x00", "12.3", 5.0, 1, "2024-01-01", b"\x01"),
        (2**63 - 1, "", 0.1, b"", "9007199254740993", 1.5, 0, "5", b"\x02"),
    ]


def test_rows_with_a_value_of_another_type_are_set_aside_and_the_others_carried(shop: Shop) -> None:
    shop.query("CREATE TABLE t (a INTEGER, b TEXT)",
               "INSERT INTO t VALUES (1, 'x'), ('many', 'y'), (2.5, 'z')",
               "INSERT INTO t VALUES (4, x'ff'), (5, CAST(x'ff' AS TEXT)), (6, 7)")  # fmt: skip

    _, chunks = read_all(shop.reading(table="t"))

    assert rows_of(chunks) == [(1, "x"), (6, "7")]
    assert chunks[0].rejects.select(["position", "column"]).to_pylist() == [
        {"position": 1, "column": "a"}, {"position": 2, "column": "a"},
        {"position": 3, "column": "b"}, {"position": 4, "column": "b"},
    ]  # fmt: skip
    assert "as_text" in str(chunks[0].rejects["reason"][0])


def test_values_of_any_type_come_as_text_where_the_job_says_so(shop: Shop) -> None:
    shop.query("CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1), ('many'), (2.5), (1e999), (NULL)")

    _, chunks = read_all(shop.reading(table="t", as_text=["a"]))

    assert one_table(chunks)["a"].to_pylist() == ["1", "many", "2.5", "Infinity", None]


def test_a_view_and_a_query_are_read(shop: Shop) -> None:
    view, _ = read_all(shop.reading(table="recent"))
    query, chunks = read_all(shop.reading(query="SELECT count(*) AS n, 'x' AS word FROM orders -- all"))

    assert dict(zip(view.schema.names, map(str, view.schema.types), strict=True)) == {
        "id": "int64", "note": "string", "twice": "int64",
    }  # fmt: skip
    assert rows_of(chunks) == [(3000, "x")]
    assert query.rows is None


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"query": "SELEC 1"}, SourceRefusedError, "syntax error"),
        ({"query": "DELETE FROM orders"}, SourceRefusedError, "check query"),
        ({"query": "SELECT 1 AS a; DROP TABLE orders"}, SourceRefusedError, "check query"),
        ({"table": "orders", "columns": ["nope"]}, SourceRefusedError, "nope"),
        ({"table": "orders", "incremental": {"cursor": "raw"}}, ContractViolationError, r"'raw' .* is binary"),
        ({"table": "orders", "incremental": {"cursor": "note"}}, ContractViolationError, "is null in 600 rows"),
        ({"table": "orders", "incremental": {"cursor": "id", "lag": "1h"}}, ContractViolationError, "leave lag out"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(
    shop: Shop, options: dict[str, Any], error: type[DataprocError], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_all(shop.reading(**options))

    assert len(shop.rows()) == 3000


def test_a_file_that_is_not_there_or_no_database_is_told(shop: Shop) -> None:
    (shop.folder / "other.db").write_bytes(b"this is no database, but some text of enough length" * 10)

    with pytest.raises(SourceNotFoundError, match=r"there is no 'nowhere\.db'"):
        read_all(shop.reading(shop.connection(file="nowhere.db"), table="orders"))
    with pytest.raises(SourceRefusedError, match="no SQLite database"):
        read_all(shop.reading(shop.connection(file="other.db"), table="orders"))


def test_no_file_is_read_where_reading_files_is_switched_off(shop: Shop) -> None:
    spec = DatabaseSource(kind="database", connection="legacy", table="orders")

    with pytest.raises(SetupError, match="DATAPROC_FILES_ROOT"):
        source_for(spec, surroundings(connection=shop.connection()))


def test_a_file_that_changed_after_the_plan_lets_the_run_be_tried_again(shop: Shop) -> None:
    source = shop.source()
    plan = source.plan()

    shop.change()

    with pytest.raises(SourceChangedError):
        list(source.read(plan.units[0]))


def test_a_file_that_is_locked_lets_the_run_be_tried_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.query("CREATE TABLE orders (id INTEGER)")

    with closing(sqlite3.connect(shop.path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceUnavailableError, match="locked by a writer"):
            shop.source().plan()


def test_only_new_rows_are_read(shop: Shop) -> None:
    source = shop.reading(table="orders", incremental={"cursor": "id", "start": 2990})
    first, chunks = read_all(source)
    assert first.move is not None

    shop.query("INSERT INTO orders (id) VALUES (5000)")
    again = source.plan(FakeMemory(first.move.after))

    assert [row[0] for row in rows_of(chunks)] == list(range(2991, 3001))
    assert [row[0] for row in rows_of([c for unit in again.units for c in source.read(unit)])] == [5000]


@pytest.mark.parametrize(("last", "beyond"), [("7", "8"), ("'é''x'", "'ê'")])
@pytest.mark.parametrize("by_key", [False, True])
def test_rows_that_come_later_with_the_value_of_the_watermark_are_read_once_or_by_key_again(
    shop: Shop, last: str, beyond: str, *, by_key: bool
) -> None:
    shop.query(f"CREATE TABLE late (n integer, at {'integer' if last == '7' else 'text'} NOT NULL)")
    source = shop.reading(table="late", incremental={"cursor": "at"})

    def add(number: int, value: str) -> None:
        shop.query(f"INSERT INTO late VALUES ({number}, {value})")

    assert read_late_rows(source, add, last, beyond, by_key=by_key)


def test_a_connection_tells_its_version_and_what_there_is_to_read(shop: Shop) -> None:
    found = {each.name: each for each in shop.connector().discover()}

    assert shop.connector().test().startswith("SQLite 3")
    assert {name: each.rows for name, each in found.items()} == {"orders": 3000, "none": 0, "recent": 10}
    assert found["orders"].columns[1] == ("amount", "REAL")
