"""Incremental reads of PostgreSQL, whose watermark moves in the publish; and writers that are busy meanwhile."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from dataproc.domain.chunk import Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, RetryableError, SourceUnavailableError
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
        """Load what is new; return the numbers of all rows in the target."""
        warehouse = PostgresWarehouse(self.url, ALWAYS_DIRECT)
        destination = Destination.model_validate({"table": self.target, "load": load})
        source = self.source(incremental=incremental)
        pipeline = Pipeline(source, (), destination, (), FakeEngine(), warehouse)
        load_id = a_load_id()
        pipeline.run(type(load_id)(load_id.job_id, 1, load_id.run_id, self.target), Monitor())
        return [row[0] for row in self.query.table(self.target)]


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


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_second_attempt_reads_only_missing_pieces_if_nothing_was_written_in_between(
    url: str, postgres_servers: PostgresServers, *, is_changed: bool
) -> None:
    shop = Shop(url, "n int PRIMARY KEY, padding text")
    shop.query(f"INSERT INTO {shop.table} SELECT n, repeat('x', 500) FROM generate_series(1, 400) AS n")
    shop.query(f"ANALYZE {shop.table}")
    source, first, second = shop.source(split={"units": 4}), list[str](), list[str]()
    destination = Destination.model_validate({"table": shop.target, "load": "staged"})
    # The load itself writes to its server, so the warehouse is another one.
    with postgres_servers.database(15, WAREHOUSE) as warehouse_url:
        warehouse = PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)
        load_id = a_load_id()
        attempt = Pipeline(Stumbling(source, first, stumbles=True), (), destination, (), FakeEngine(), warehouse)
        with pytest.raises(SourceUnavailableError):
            attempt.run(load_id, Monitor())
        if is_changed:
            shop.add("(401, 'late')")
        attempt = Pipeline(Stumbling(source, second, stumbles=False), (), destination, (), FakeEngine(), warehouse)
        published = attempt.run(replace(load_id, epoch=2), Monitor())
        loaded = [row[0] for row in Query(warehouse_url).table(shop.target)]

    assert (len(first), len(second)) == ((2, 4) if is_changed else (2, 2))
    assert set(first).isdisjoint(second)
    assert published.account.loaded == len(loaded)
    assert sorted(loaded) == list(range(1, 402 if is_changed else 401))
