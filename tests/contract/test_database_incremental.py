"""Incremental reads of PostgreSQL, whose watermark moves in the publish; and writers that are busy meanwhile."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from dataproc.domain.chunk import Account, Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, MemoryChangedError, RetryableError, SourceUnavailableError
from dataproc.domain.memory import MOST_AT_BOUNDARY
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.conftest import DEFAULT_MAJOR, WAREHOUSE, PostgresServers
from tests.contract.conformance import in_a_worker, rows_of
from tests.fakes.pipeline import FakeEngine
from tests.warehouses import ALWAYS_DIRECT, Query, a_load_id

NUMBERS = count()


class Shop:
    """A database that is the source and the warehouse, with a table of its own."""

    def __init__(self, url: str, columns: str) -> None:
        self.url, self.query = url, Query(url)
        self.table = f"shop.t{next(NUMBERS)}"
        self.target = f"sales.t{next(NUMBERS)}"
        self.query(f"CREATE TABLE {self.table} ({columns})")

    def source(self, **options: object) -> Source:
        parts = urlsplit(self.url)
        config = {"host": parse_qs(parts.query)["host"][0], "database": parts.path[1:], "user": "postgres"}
        spec = DatabaseSource.model_validate(
            {"kind": "database", "connection": "legacy", "table": self.table, **options}
        )
        return source_for(spec, surroundings(connection=Connection("legacy", "postgresql", config)))

    def add(self, *rows: str) -> None:
        self.query(f"INSERT INTO {self.table} VALUES {', '.join(rows)}")

    def run(self, load: str = "direct", **incremental: object) -> list[Any]:
        """Load the new rows; return the numbers of all rows in the target."""
        self.load({"load": load}, incremental=incremental)
        return [row[0] for row in self.query.table(self.target)]

    def load(self, terms: Mapping[str, Any], **options: object) -> Monitor:
        """Load the new rows; return the monitor of the run."""
        warehouse, monitor = PostgresWarehouse(self.url, ALWAYS_DIRECT), Monitor()
        destination = Destination.model_validate({"table": self.target, **terms})
        pipeline = Pipeline(self.source(**options), (), destination, (), FakeEngine(), warehouse)
        load_id = a_load_id()
        pipeline.run(type(load_id)(load_id.job_id, 1, load_id.run_id, self.target), monitor)
        return monitor

    @property
    def loaded(self) -> list[tuple[Any, ...]]:
        """All rows in the target."""
        return self.query(f"SELECT * FROM {self.target} ORDER BY 1, 2")


@pytest.fixture(scope="module")
def url(postgres_servers: PostgresServers) -> Iterator[str]:
    with postgres_servers.database(DEFAULT_MAJOR, WAREHOUSE) as url:
        Query(url)("CREATE SCHEMA shop")
        Query(url)("CREATE SCHEMA sales")
        yield url


@pytest.mark.parametrize("load", ["direct", "staged"])
@pytest.mark.parametrize(
    ("sql_type", "first", "later"),
    [
        ("bigint", ["1", "2"], "3"),
        ("numeric", ["1.5", "2.50"], "2.51"),
        ("date", ["'2024-01-01'", "'2024-01-02'"], "'2024-01-03'"),
        ("timestamp", ["'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'"], "'2024-01-01 00:00:00.000003'"),
        ("timestamptz", ["'2024-03-31 00:59:59Z'", "'2024-03-31 01:00Z'"], "'2024-03-31 01:00:00.5Z'"),
        ("text", ["'Z'", "'a''b'"], "'é'"),
    ],
)
def test_only_what_is_new_is_loaded(url: str, load: str, sql_type: str, first: list[str], later: str) -> None:
    shop = Shop(url, f"n int, at {sql_type} NOT NULL")
    shop.add(f"(1, {first[0]})", f"(2, {first[1]})")

    assert shop.run(load, cursor="at") == [1, 2]
    assert shop.run(load, cursor="at") == [1, 2]
    shop.add(f"(3, {later})")
    assert shop.run(load, cursor="at") == [1, 2, 3]


CURSORS = {
    "bigint": ("7", "8"),
    "numeric": ("7.50", "8"),
    "date": ("'2026-01-07'", "'2026-01-08'"),
    "timestamp": ("'2026-01-07 00:00:00.000001'", "'2026-01-08'"),
    "timestamptz": ("'2026-03-29 01:00:00.5Z'", "'2026-03-29 01:00:01Z'"),
    "text": ("'é''x'", "'ê'"),
}


@pytest.mark.parametrize("load", ["direct", "staged"])
@pytest.mark.parametrize("split", [None, {"units": 3}])
@pytest.mark.parametrize("sql_type", CURSORS)
def test_a_row_that_comes_later_with_the_value_of_the_watermark_is_loaded_once(
    url: str, load: str, split: dict[str, Any] | None, sql_type: str
) -> None:
    last, beyond = CURSORS[sql_type]
    shop = Shop(url, f"n int, at {sql_type} NOT NULL")
    options: dict[str, Any] = {"incremental": {"cursor": "at"}, **({"split": split} if split else {})}
    shop.add(f"(1, {last})", f"(2, {last})")

    for added in ([], [f"(3, {last})"], [], [f"(4, {last})", f"(5, {beyond})"], [f"(6, {beyond})"], []):
        if added:
            shop.add(*added)
        shop.load({"load": load}, **options)

    assert [row[0] for row in shop.loaded] == [1, 2, 3, 4, 5, 6]


def test_rows_that_are_alike_count(url: str) -> None:
    shop = Shop(url, "n int, at int")
    shop.add("(1, 7)", "(1, 7)")

    for added in (1, 0, 2):
        shop.load({}, incremental={"cursor": "at"})
        for _ in range(added):
            shop.add("(1, 7)")
    shop.load({}, incremental={"cursor": "at"})

    assert shop.loaded == [(1, 7)] * 5


def test_a_row_that_was_changed_and_kept_its_cursor_comes_again(url: str) -> None:
    shop = Shop(url, "n int, at int, note text")
    shop.add("(1, 7, 'old')")
    shop.load({}, incremental={"cursor": "at"})
    shop.query(f"UPDATE {shop.table} SET note = 'new'")

    shop.load({}, incremental={"cursor": "at"})

    assert shop.loaded == [(1, 7, "old"), (1, 7, "new")]


@pytest.mark.parametrize("mode", ["merge", "scd2"])
def test_a_target_with_keys_takes_all_rows_at_the_watermark_again(url: str, mode: str) -> None:
    shop = Shop(url, "n int, at int, note text")
    terms: dict[str, Any] = {"mode": mode, "keys": ["n"]}
    shop.add("(1, 7, 'a')", "(2, 7, 'b')")
    shop.load(terms, incremental={"cursor": "at"})
    shop.add("(3, 7, 'c')")
    shop.query(f"UPDATE {shop.table} SET note = 'A' WHERE n = 1")

    monitor = shop.load(terms, incremental={"cursor": "at"})

    assert (monitor.progress.rows_read, monitor.progress.warnings) == (3, ())
    held = " WHERE is_current" if mode == "scd2" else ""
    found = shop.query(f"SELECT n, note FROM {shop.target}{held} ORDER BY n")
    assert found == [(1, "A"), (2, "b"), (3, "c")]


def test_rows_that_were_set_aside_at_the_watermark_are_not_set_aside_again(url: str) -> None:
    shop = Shop(url, "n int, at int, day timestamptz")
    shop.add("(1, 7, '2026-01-01')", "(2, 7, 'infinity')")

    accounts = [shop.load({}, incremental={"cursor": "at"}).progress for _ in range(2)]

    assert [(each.rows_read, each.rows_rejected, each.rows_filtered) for each in accounts] == [(2, 1, 0), (2, 0, 2)]


@pytest.mark.parametrize(
    "change", ["ALTER TABLE {table} ADD COLUMN more int", "UPDATE dataproc_load.memory SET boundary = NULL"]
)
def test_where_rows_at_the_watermark_cannot_be_told_the_run_says_that_it_leaves_them_out(url: str, change: str) -> None:
    shop = Shop(url, "n int, at int")
    shop.add("(1, 7)")
    shop.load({}, incremental={"cursor": "at"})
    shop.query(change.format(table=shop.table))
    shop.query(f"INSERT INTO {shop.table} (n, at) VALUES (2, 7)")

    monitor = shop.load({"contract": "evolve"}, incremental={"cursor": "at"})
    shop.query(f"INSERT INTO {shop.table} (n, at) VALUES (3, 8)")
    later = shop.load({"contract": "evolve"}, incremental={"cursor": "at"})

    assert "rows whose cursor is the last watermark are not read again" in monitor.progress.warnings[0]
    assert [row[0] for row in shop.loaded] == [1, 3]
    assert shop.load({"contract": "evolve"}, incremental={"cursor": "at"}).progress.warnings == ()
    assert later.progress.rows_read == 1


def test_of_more_rows_at_the_watermark_than_a_memory_keeps_none_is_kept(url: str) -> None:
    shop = Shop(url, "n int, at int")
    shop.query(f"INSERT INTO {shop.table} SELECT n, 7 FROM generate_series(1, {MOST_AT_BOUNDARY + 1}) AS n")
    shop.load({}, incremental={"cursor": "at"})
    shop.add("(0, 7)")

    monitor = shop.load({}, incremental={"cursor": "at"})

    assert f"more than {MOST_AT_BOUNDARY:,} rows had it" in monitor.progress.warnings[0]
    assert shop.query(f"SELECT count(*) FROM {shop.target}") == [(MOST_AT_BOUNDARY + 1,)]


def test_two_runs_that_found_the_same_new_row_at_the_watermark_are_not_both_published(url: str) -> None:
    shop = Shop(url, "n int, at int")
    shop.add("(1, 7)")
    shop.load({}, incremental={"cursor": "at"})
    shop.add("(2, 7)")
    source = shop.source(incremental={"cursor": "at"})
    late = Late(source, lambda: shop.load({}, incremental={"cursor": "at"}))
    warehouse, load_id = PostgresWarehouse(shop.url, ALWAYS_DIRECT), a_load_id()
    pipeline = Pipeline(late, (), Destination(table=shop.target), (), FakeEngine(), warehouse)

    with pytest.raises(MemoryChangedError):
        pipeline.run(type(load_id)(load_id.job_id, 1, load_id.run_id, shop.target), Monitor())

    assert shop.loaded == [(1, 7), (2, 7)]


@dataclass(frozen=True, slots=True)
class Late:
    """A source after whose plan something else happens."""

    source: Source
    meanwhile: Callable[[], object]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        plan = self.source.plan(memory)
        self.meanwhile()
        return plan

    def read(self, unit: Unit) -> Iterator[Chunk]:
        return self.source.read(unit)


def test_a_first_run_begins_after_start(url: str) -> None:
    shop = Shop(url, "n int")
    shop.add("(1)", "(2)", "(3)")

    assert shop.run(cursor="n", start=1) == [2, 3]


def test_a_row_that_comes_late_within_the_lag_is_not_lost(url: str) -> None:
    shop = Shop(url, "n int, at timestamptz")
    shop.add("(1, now() - interval '3 hours')", "(2, now())")

    assert shop.run(cursor="at", lag="1h") == [1]
    shop.add("(3, now() - interval '90 minutes')")
    assert shop.run(cursor="at", lag="1h") == [1, 3]
    shop.query(f"UPDATE {shop.table} SET at = now() - interval '61 minutes' WHERE n = 2")
    assert shop.run(cursor="at", lag="1h") == [1, 2, 3]


def test_a_failed_run_moves_nothing(url: str) -> None:
    shop = Shop(url, "n int")
    shop.add("(1)")
    shop.run(cursor="n")
    shop.add("(2)")
    source = shop.source(incremental={"cursor": "n"})
    plan = source.plan(PostgresWarehouse(url, ALWAYS_DIRECT).memory(shop.target, shop.target))
    with plan.hold:
        pass

    with pytest.raises(RetryableError):
        list(source.read(plan.units[0]))

    assert shop.run(cursor="n") == [1, 2]


@pytest.mark.parametrize(
    ("columns", "row", "incremental", "told"),
    [
        ("n int, at timestamptz", "(1, NULL)", {"cursor": "at"}, "is null in 1 rows.*leave them out by where"),
        ("n int, at timestamptz", "(1, 'infinity')", {"cursor": "at"}, "nothing comes after"),
        ("n int, at numeric", "(1, 'NaN')", {"cursor": "at"}, "nothing comes after"),
        ("n int, at jsonb", "(1, '1')", {"cursor": "at"}, "is jsonb; take a number, a time or text"),
        ("n int, at int", "(1, 1)", {"cursor": "at", "lag": "1h"}, "leave lag out, or take a time"),
        ("n int, at int", "(1, 1)", {"cursor": "nope"}, "is not there; there are n, at"),
        ("n int, at int", "(1, 1)", {"cursor": "n", "start": "x"}, "'x' is none; check start"),
    ],
)
def test_a_column_that_cannot_tell_what_is_new_is_refused(
    url: str, columns: str, row: str, incremental: dict[str, Any], told: str
) -> None:
    shop = Shop(url, columns)
    shop.add(row)

    with pytest.raises(ContractViolationError, match=told):
        shop.run(**incremental)


@pytest.mark.parametrize("split", [{"units": 6}, {"column": "n", "units": 4}])
def test_a_writer_that_moves_rows_while_they_are_read_changes_no_total(url: str, split: dict[str, Any]) -> None:
    shop = Shop(url, "n bigint PRIMARY KEY, amount bigint, note text")
    shop.query(f"INSERT INTO {shop.table} SELECT n, 100, repeat('x', 80) FROM generate_series(1, 20000) AS n")
    shop.query(f"ANALYZE {shop.table}")
    source = shop.source(split=split)
    done, rounds = threading.Event(), []

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not done.is_set():
                conn.execute(
                    f"UPDATE {shop.table} SET n = n + CASE WHEN n > 20000 THEN -20000 ELSE 20000 END,"
                    " amount = amount + 1 WHERE n % 7 = 0".encode()
                )
                rounds.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        plan = source.plan()
        with plan.hold:
            found = rows_of(list(in_a_worker(source, plan.units)))
            before = len(rounds)
            again = rows_of(list(in_a_worker(source, plan.units)))
    finally:
        done.set()
        writer.join()

    assert len(rounds) > before > 0
    assert len(plan.units) > 4
    assert len(found) == len({row[0] for row in found}) == plan.rows == 20000
    assert sorted(found) == sorted(again)


@dataclass(frozen=True, slots=True)
class Stumbling:
    """A source whose third unit cannot be read the first time."""

    source: Source
    read_units: list[str]
    stumbles: bool

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        return self.source.plan(memory)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        if self.stumbles and len(self.read_units) == 2:
            raise SourceUnavailableError
        self.read_units.append(unit.id)
        yield from self.source.read(unit)


def snapshot_of(shop: Shop) -> str:
    """Return the snapshot of the server; another one says that some session, of any database, has written."""
    return str(shop.query("SELECT pg_current_snapshot()::text")[0][0])


def attempts(shop: Shop, warehouse_url: str, between: Callable[[], object]) -> tuple[list[str], list[str], Account]:
    """Load in two attempts, the first of which is lost after two units; return the units that each has read."""
    source, load_id, first, second = shop.source(split={"units": 4}), a_load_id(), list[str](), list[str]()
    destination = Destination.model_validate({"table": shop.target, "load": "staged"})
    warehouse = PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)
    attempt = Pipeline(Stumbling(source, first, stumbles=True), (), destination, (), FakeEngine(), warehouse)
    with pytest.raises(SourceUnavailableError):
        attempt.run(load_id, Monitor())
    between()
    attempt = Pipeline(Stumbling(source, second, stumbles=False), (), destination, (), FakeEngine(), warehouse)
    return first, second, attempt.run(replace(load_id, epoch=2), Monitor()).account


def large_shop(url: str) -> Shop:
    shop = Shop(url, "n int PRIMARY KEY, padding text")
    shop.query(f"INSERT INTO {shop.table} SELECT n, repeat('x', 500) FROM generate_series(1, 400) AS n")
    shop.query(f"ANALYZE {shop.table}")
    return shop


def test_a_second_attempt_reads_only_missing_pieces_if_nothing_was_written_in_between(
    url: str, postgres_servers: PostgresServers
) -> None:
    # The load itself writes to its server, so the warehouse is another one. Other sessions of the source's server, such
    # as autovacuum, may write at any time; then the two attempts show nothing, and two more are made.
    while True:
        shop = large_shop(url)
        before = snapshot_of(shop)
        with postgres_servers.database(15, WAREHOUSE) as warehouse_url:
            first, second, account = attempts(shop, warehouse_url, lambda: None)
            loaded = [row[0] for row in Query(warehouse_url).table(shop.target)]
        if snapshot_of(shop) == before:
            break

    assert (len(first), len(second)) == (2, 2)
    assert set(first).isdisjoint(second)
    assert account.loaded == len(loaded)
    assert sorted(loaded) == list(range(1, 401))


def test_a_second_attempt_reads_all_pieces_if_a_row_was_written_in_between(
    url: str, postgres_servers: PostgresServers
) -> None:
    shop = large_shop(url)
    with postgres_servers.database(15, WAREHOUSE) as warehouse_url:
        first, second, account = attempts(shop, warehouse_url, lambda: shop.add("(401, 'late')"))
        loaded = [row[0] for row in Query(warehouse_url).table(shop.target)]

    assert (len(first), len(second)) == (2, 4)
    assert set(first).isdisjoint(second)
    assert account.loaded == len(loaded)
    assert sorted(loaded) == list(range(1, 402))
