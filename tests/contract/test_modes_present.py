"""Laws of rows that a merge finds in its target just as they come: they are not sent, and nothing else changes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.errors import DoubledKeysError, RowRefusedError, WarehouseUnavailableError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Published
from dataproc.warehouse.present import MOST, PROBED, WORTH, Session
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.waiting import PATIENCE, wait_until
from tests.warehouses import TABLE, LoadTrial, Query, a_unit, allow, chunks_of, done_by, planned

MERGE: dict[str, Any] = {"mode": "merge", "keys": ["id"]}
SUM = f"SELECT count(*), sum(id), sum(qty) FROM {TABLE}"


def orders(*pairs: tuple[int | None, int]) -> pa.Table:
    """Return orders with an id and a quantity."""
    ids, quantities = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.table({"id": pa.array(ids, pa.int64()), "qty": pa.array(quantities, pa.int32())})


def each_of(start: int, stop: int, qty: int = 1) -> pa.Table:
    """Return orders with the ids of a range."""
    return orders(*((number, qty) for number in range(start, stop)))


@dataclass(slots=True)
class Watched:
    """A merge, and what its workers have handed on."""

    warehouse: PostgresWarehouse
    terms: dict[str, Any] = field(default_factory=lambda: dict(MERGE))
    handed_on: list[LoadedChunk] = field(default_factory=list)

    def run(self, *tables: pa.Table) -> Published:
        """Merge each table as a unit."""
        plan, chunks = planned(*tables)
        trial = LoadTrial(self.warehouse, terms=self.terms)
        load = trial.open(plan.schema, plan)
        return load.publish(plan, self.worked(load.step, chunks), allow)

    def worked(self, step: Any, chunks: list[Chunk]) -> Iterator[LoadedChunk]:
        for chunk in chunks:
            self.handed_on.append(step(chunk))
            yield self.handed_on[-1]

    @property
    def present(self) -> list[int]:
        """How many rows of each chunk were there."""
        return [chunk.present for chunk in self.handed_on]


@pytest.fixture
def shop(query: Query) -> Query:
    """Give a table with a hundred orders of one piece."""
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, qty integer)")
    query(f"INSERT INTO {TABLE} SELECT n, 1 FROM generate_series(1, 100) AS n")
    query(f"ANALYZE {TABLE}")
    return query


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
def test_rows_that_are_there_are_counted_and_not_sent(warehouse: PostgresWarehouse, shop: Query) -> None:
    watched = Watched(warehouse)

    published = watched.run(each_of(1, 61), each_of(61, 101))

    assert watched.present == [60, 40]
    assert [bytes(chunk.payload) for chunk in watched.handed_on] == [b"", b""]
    assert done_by(published) == (0, 0, 0, 100)
    assert (published.account.read, published.account.loaded) == (100, 100)
    assert shop(SUM) == [(100, 5050, 100)]


def test_what_is_new_or_changed_between_them_is_sent(warehouse: PostgresWarehouse, shop: Query) -> None:
    watched = Watched(warehouse)
    rows = pa.concat_tables([each_of(1, 50), each_of(50, 52, qty=7), each_of(52, 104)])

    published = watched.run(rows)

    assert watched.present == [98]
    assert done_by(published) == (3, 2, 0, 98)
    assert shop(SUM) == [(103, 103 * 104 // 2, 103 + 2 * 6)]


def test_the_order_of_the_rows_does_not_matter(warehouse: PostgresWarehouse, shop: Query) -> None:
    watched = Watched(warehouse)

    published = watched.run(orders((99, 1), (3, 1), (50, 2), (51, 1), (7, 1), (200, 1), (-5, 1), (8, 1), (100, 1)))

    assert watched.present == [6]
    assert done_by(published) == (2, 1, 0, 6)


def test_a_unit_of_which_too_little_is_there_is_sent_whole(warehouse: PostgresWarehouse, shop: Query) -> None:
    watched = Watched(warehouse)
    there = int(100 * WORTH) - 1
    rows = pa.concat_tables([each_of(1, there + 1), each_of(there + 1, 101, qty=2)])

    published = watched.run(rows)

    assert watched.present == [0]
    assert done_by(published) == (0, 100 - there, 0, there)


def test_what_follows_in_such_a_unit_is_not_looked_for_but_other_units_are(
    warehouse: PostgresWarehouse, shop: Query
) -> None:
    trial = LoadTrial(warehouse, terms=MERGE)
    chunks = [*chunks_of("u0", each_of(1, 30, qty=2), each_of(30, 101)), *chunks_of("u1", each_of(101, 102))]
    plan = SourcePlan(tuple(a_unit(name) for name in ("u0", "u1")), each_of(1, 2).schema)
    load = trial.open(plan.schema, plan)
    watched = Watched(warehouse)

    published = load.publish(plan, watched.worked(load.step, chunks), allow)

    assert watched.present == [0, 0, 0]
    assert done_by(published) == (1, 29, 0, 71)


def test_first_some_rows_are_looked_for_and_the_others_if_it_is_worth_it(
    warehouse: PostgresWarehouse, shop: Query
) -> None:
    shop(f"INSERT INTO {TABLE} SELECT n, 1 FROM generate_series(101, {4 * PROBED}) AS n")
    last = range(3 * PROBED + 1, 4 * PROBED + 1)
    changed_last = pa.concat_tables([each_of(1, last[0]), each_of(last[0], last[-1] + 1, qty=2)])
    changed_first = pa.concat_tables([each_of(1, PROBED + 1, qty=2), each_of(PROBED + 1, last[0])])
    watched, other = Watched(warehouse), Watched(warehouse)

    published = watched.run(changed_last)
    other.run(changed_first)

    assert watched.present == [3 * PROBED]
    assert done_by(published) == (0, PROBED, 0, 3 * PROBED)
    assert other.present == [0]


def test_rows_whose_keys_lie_far_apart_are_sent(warehouse: PostgresWarehouse, shop: Query) -> None:
    step, last = MOST + 1, (MOST + 2) * PROBED
    shop(f"INSERT INTO {TABLE} SELECT n, 1 FROM generate_series(101, {last}) AS n")
    watched = Watched(warehouse)
    apart = range(1, last + 1, step)

    published = watched.run(orders(*((number, 1) for number in apart)))

    assert watched.present == [0]
    assert done_by(published) == (0, 0, 0, len(apart))


def test_nothing_is_left_out_unless_the_publish_keeps_the_target_as_it_is(
    warehouse: PostgresWarehouse, shop: Query
) -> None:
    plan, [chunk] = planned(each_of(1, 101))
    load = LoadTrial(warehouse, terms=MERGE).open(plan.schema, plan)

    before_the_publish = load.step(chunk)

    assert before_the_publish.present == 0


def test_a_writer_waits_until_the_rows_are_brought_in(
    warehouse: PostgresWarehouse, shop: Query, threads: ThreadPoolExecutor
) -> None:
    plan, chunks = planned(each_of(1, 51), each_of(51, 101))
    load = LoadTrial(warehouse, terms=MERGE).open(plan.schema, plan)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sales.orders'::regclass"
    writers = []

    def results() -> Iterator[LoadedChunk]:
        yield load.step(chunks[0])
        writers.append(threads.submit(shop, f"UPDATE {TABLE} SET qty = 9 WHERE id = 1"))
        wait_until(lambda: shop(waiting) == [(1,)])
        yield load.step(chunks[1])

    published = load.publish(plan, results(), allow)

    writers[0].result(timeout=PATIENCE)
    assert done_by(published) == (0, 0, 0, 100)
    assert shop(f"SELECT qty FROM {TABLE} WHERE id = 1") == [(9,)]


def test_keys_that_come_twice_or_not_at_all_are_found_although_rows_are_not_sent(
    warehouse: PostgresWarehouse, shop: Query
) -> None:
    shop(f"ALTER TABLE {TABLE} DROP CONSTRAINT orders_pkey, ALTER id DROP NOT NULL, ADD UNIQUE (id)")
    twice = orders((1, 1), (2, 1), (3, 1), (3, 1), (4, 1))
    null = orders((1, 1), (2, 1), (3, 1), (None, 1), (4, 1))

    with pytest.raises(DoubledKeysError):
        Watched(warehouse).run(twice)
    with pytest.raises(RowRefusedError):
        Watched(warehouse).run(null)
    assert shop(SUM) == [(100, 5050, 100)]


@pytest.mark.parametrize(
    "terms",
    [
        {"merge": "insert_only"},
        {"merge": "delete_missing"},
        {"delete_flag": "gone"},
        {"keys": ["id", "qty"]},
        {"mode": "append", "keys": []},
    ],
    ids=lambda terms: "-".join(map(str, terms)),
)
def test_other_ways_to_bring_rows_in_get_all_of_them(
    warehouse: PostgresWarehouse, shop: Query, terms: dict[str, Any]
) -> None:
    shop(f"CREATE UNIQUE INDEX ON {TABLE} (id, qty)")
    rows = each_of(101, 103) if terms.get("mode") == "append" else each_of(1, 101)
    if "delete_flag" in terms:
        rows = rows.append_column("gone", pa.array([False] * 100))
    watched = Watched(warehouse, {**MERGE, **terms})

    watched.run(rows)

    assert set(watched.present) == {0}


def test_a_table_without_a_unique_index_on_the_key_gets_all_rows(warehouse: PostgresWarehouse, shop: Query) -> None:
    shop(f"ALTER TABLE {TABLE} DROP CONSTRAINT orders_pkey")
    shop(f"INSERT INTO {TABLE} VALUES (5, 2)")
    watched = Watched(warehouse)

    published = watched.run(each_of(1, 11))

    assert watched.present == [0]
    assert published.effect.updated == 1
    assert shop(f"SELECT qty FROM {TABLE} WHERE id = 5") == [(1,), (1,)]


def test_a_server_that_ends_the_session_of_a_worker_is_asked_again_later(
    warehouse: PostgresWarehouse, shop: Query
) -> None:
    both = chunks_of("u0", each_of(1, 51), each_of(51, 101))
    plan = SourcePlan((a_unit("u0"),), each_of(1, 2).schema)
    load = LoadTrial(warehouse, terms=MERGE).open(plan.schema, plan)
    workers = "SELECT pid FROM pg_stat_activity WHERE application_name = 'dataproc'"
    end = f"SELECT pg_terminate_backend(pid) FROM ({workers}) AS found"

    def results() -> Iterator[LoadedChunk]:
        yield load.step(both[0])
        shop(end)
        yield load.step(both[1])

    with pytest.raises(WarehouseUnavailableError, match="does not answer"):
        load.publish(plan, results(), allow)
    assert shop(SUM) == [(100, 5050, 100)]


def test_what_the_driver_cannot_carry_is_told_and_gives_nothing(
    warehouse: PostgresWarehouse, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(warehouse.url)

    found = session.rows_if("SELECT true", "SELECT 1 / 0")

    assert found is None
    assert "rows not compared" in caplog.text
    assert warehouse.url not in caplog.text


def test_a_run_without_anything_new_changes_nothing(warehouse: PostgresWarehouse, shop: Query) -> None:
    plan = SourcePlan((), pa.schema([]))

    published = LoadTrial(warehouse, terms=MERGE).publish(plan, ())

    assert done_by(published) == (0, 0, 0, 0)
    assert shop(SUM) == [(100, 5050, 100)]


def test_whoever_waits_for_the_table_to_himself_does_not_hold_up_the_load_for_long(
    warehouse: PostgresWarehouse, shop: Query, threads: ThreadPoolExecutor
) -> None:
    plan, chunks = planned(each_of(1, 51), each_of(51, 101))
    load = LoadTrial(warehouse, terms=MERGE).open(plan.schema, plan)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    others, handed_on = [], []

    def results() -> Iterator[LoadedChunk]:
        handed_on.append(load.step(chunks[0]))
        others.append(threads.submit(shop, f"ALTER TABLE {TABLE} ADD COLUMN note text"))
        wait_until(lambda: shop(waiting) == [(1,)])
        handed_on.append(load.step(chunks[1]))
        yield from handed_on

    published = load.publish(plan, results(), allow)

    others[0].result(timeout=PATIENCE)
    assert [chunk.present for chunk in handed_on] == [50, 0]
    assert done_by(published) == (0, 0, 0, 100)


def test_rows_of_tables_that_inherit_are_changed_as_well(warehouse: PostgresWarehouse, shop: Query) -> None:
    shop(f"CREATE TABLE sales.more () INHERITS ({TABLE})")
    shop("INSERT INTO sales.more VALUES (2, 9)")
    watched = Watched(warehouse)

    watched.run(each_of(1, 101))

    assert watched.present == [0]
    assert shop("SELECT qty FROM sales.more") == [(1,)]


def test_keys_of_a_domain_that_come_twice_are_still_refused(warehouse: PostgresWarehouse, shop: Query) -> None:
    shop("CREATE DOMAIN sales.number AS bigint")
    shop(f"ALTER TABLE {TABLE} ALTER id TYPE sales.number")
    shop(f"ANALYZE {TABLE}")

    with pytest.raises(RowRefusedError):
        Watched(warehouse).run(pa.concat_tables([each_of(1, 101), orders((5, 2))]))


def test_blanks_at_the_end_of_a_char_are_not_overlooked(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, code bpchar)")
    query(f"INSERT INTO {TABLE} VALUES (1, 'ab  ')")
    query(f"ANALYZE {TABLE}")

    LoadTrial(warehouse, terms=MERGE).run(pa.table({"id": pa.array([1], pa.int64()), "code": ["ab"]}))

    assert query(f"SELECT octet_length(code) FROM {TABLE}") == [(2,)]


def test_bytes_of_another_encoding_are_not_taken_for_the_same(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE DATABASE in_latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    latin = PostgresWarehouse(conninfo_in(warehouse.url, "in_latin"), warehouse.direct_limit)
    latin.prepare()
    look = Query(latin.url)
    look("CREATE SCHEMA sales")
    look(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, name text)")
    # The bytes of this in LATIN1 are those of é in UTF-8.
    look(f"INSERT INTO {TABLE} VALUES (1, 'Ã©'), (2, 'a'), (3, 'b')")
    look(f"ANALYZE {TABLE}")
    watched = Watched(latin)
    try:
        watched.run(pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["é", "a", "b"]}))

        assert watched.present == [2]
        assert look(f"SELECT name FROM {TABLE} ORDER BY id") == [("é",), ("a",), ("b",)]
    finally:
        query("DROP DATABASE in_latin WITH (FORCE)")


def conninfo_in(url: str, database: str) -> str:
    """Return the address of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


KINDS: dict[str, tuple[str, pa.DataType, Any, Any]] = {
    "yes": ("boolean", pa.bool_(), True, False),
    "small": ("smallint", pa.int16(), 5, -5),
    "whole": ("integer", pa.int32(), 70_000, 70_001),
    "large": ("bigint", pa.int64(), 2**40, 2**40 + 1),
    "real_number": ("real", pa.float32(), 0.5, 0.25),
    "double_number": ("double precision", pa.float64(), 0.1, 0.2),
    "exact": ("numeric(12,2)", pa.decimal128(12, 2), Decimal("10.50"), Decimal("-0.01")),
    "words": ("text", pa.string(), "Zoë", "zoë"),
    "short": ("varchar(5)", pa.string(), "ab", "ab "),
    "raw": ("bytea", pa.binary(), b"\x00\xff", b"\x00\xfe"),
    "day": ("date", pa.date32(), date(2026, 2, 28), date(1, 1, 1)),
    "hour": ("time", pa.time64("us"), time(23, 59, 59, 999_999), time(0)),
    "moment": ("timestamp", pa.timestamp("us"), datetime(2026, 3, 29, 2, 30), datetime(1969, 12, 31, 23, 59, 59, 1)),  # noqa: DTZ001 - a type without zone
    "instant": (
        "timestamptz",
        pa.timestamp("us", "UTC"),
        datetime(2026, 3, 29, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ),
    "code": ("uuid", pa.string(), str(UUID(int=1)), str(UUID(int=2))),
}
"""Columns: type, the Arrow type of what comes, and two values."""


def everything(values: dict[str, list[Any]]) -> pa.Table:
    """Return rows of all these columns, numbered from 1."""
    count = len(next(iter(values.values())))
    columns = {name: pa.array(values[name], KINDS[name][1]) for name in KINDS}
    return pa.table({"id": pa.array(range(1, count + 1), pa.int64()), **columns})


@pytest.fixture
def types(query: Query) -> Query:
    """Give an empty table with a column of each type."""
    query("CREATE SCHEMA sales")
    columns = ", ".join(f"{name} {sql_type}" for name, (sql_type, *_) in KINDS.items())
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, {columns})")
    return query


def test_values_and_nulls_of_each_type_are_found_again(warehouse: PostgresWarehouse, types: Query) -> None:
    rows = everything({name: [one, other, None] for name, (*_, one, other) in KINDS.items()})
    LoadTrial(warehouse, terms=MERGE).run(rows)
    types(f"ANALYZE {TABLE}")
    watched = Watched(warehouse)

    published = watched.run(rows)

    assert watched.present == [3]
    assert done_by(published) == (0, 0, 0, 3)
    assert len(types.table()) == 3


@pytest.mark.parametrize("name", KINDS)
def test_another_value_in_any_column_is_sent(warehouse: PostgresWarehouse, types: Query, name: str) -> None:
    one = {column: [value] * 10 for column, (*_, value, _) in KINDS.items()}
    LoadTrial(warehouse, terms=MERGE).run(everything(one))
    types(f"ANALYZE {TABLE}")
    other = {**one, name: [None, KINDS[name][3], *one[name][2:]]}
    watched = Watched(warehouse)

    published = watched.run(everything(other))

    assert watched.present == [8]
    assert done_by(published) == (0, 2, 0, 8)
    cells = types(f"SELECT {name} IS NULL FROM {TABLE} ORDER BY id LIMIT 3")
    assert cells == [(True,), (False,), (False,)]


def test_moments_that_have_no_end_are_other_values(warehouse: PostgresWarehouse, types: Query) -> None:
    one = {column: [value] * 3 for column, (*_, value, _) in KINDS.items()}
    LoadTrial(warehouse, terms=MERGE).run(everything(one))
    types(f"ANALYZE {TABLE}")
    types(f"UPDATE {TABLE} SET day = 'infinity', moment = '-infinity', instant = 'infinity' WHERE id = 2")
    watched = Watched(warehouse)

    published = watched.run(everything(one))

    assert watched.present == [2]
    assert done_by(published) == (0, 1, 0, 2)
    assert types("SELECT count(*) FROM sales.orders WHERE isfinite(day)") == [(3,)]


@given(
    before=st.dictionaries(st.integers(-3, 12), st.sampled_from([0.0, -0.0, 1.5, float("nan"), None]), max_size=12),
    after=st.dictionaries(st.integers(-3, 12), st.sampled_from([0.0, -0.0, 1.5, float("nan"), None]), min_size=1),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_merge_ends_the_same_whether_rows_are_looked_for_or_not(
    warehouse: PostgresWarehouse, query: Query, before: dict[int, float | None], after: dict[int, float | None]
) -> None:
    def table(rows: dict[int, float | None]) -> pa.Table:
        return pa.table(
            {"id": pa.array(rows, pa.int64()), "x": pa.array(rows.values(), pa.float64(), from_pandas=False)}
        )

    effects = []
    for unique in ("PRIMARY KEY", ""):
        query("DROP SCHEMA IF EXISTS sales CASCADE")
        query("CREATE SCHEMA sales")
        query(f"CREATE TABLE {TABLE} (id bigint {unique}, x double precision)")
        with psycopg.connect(query.url) as conn, conn.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {TABLE} VALUES (%s, %s)", list(before.items()))
        query(f"ANALYZE {TABLE}")
        published = LoadTrial(warehouse, terms=MERGE).run(table(after))
        effects.append((done_by(published), list(map(repr, query.table()))))

    assert effects[0] == effects[1]
