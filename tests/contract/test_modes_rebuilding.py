"""Laws of a merge that changes much: the table is written anew, and nobody sees anything but that its rows changed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.errors import RowRefusedError
from dataproc.ports.warehouse import Effect, Published
from dataproc.warehouse.modes.filling import MANY
from dataproc.warehouse.modes.rebuilding import MUCH
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.waiting import wait_until
from tests.warehouses import TABLE, LoadTrial, Query, going

OID = f"SELECT '{TABLE}'::regclass::oid"
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'sales' ORDER BY 1"
SUMS = f"SELECT count(*), sum(id), sum(qty) FROM {TABLE}"
ALL = 2 * MANY


def orders_of(ids: Iterable[int], qty: int) -> pa.Table:
    """Return orders with these ids and a quantity."""
    return pa.table({"id": pa.array(ids, pa.int64())}).append_column(
        "qty", pa.array([qty] * len(list(ids)), pa.int32())
    )


def merge(warehouse: PostgresWarehouse, table: pa.Table, **options: Any) -> Published:
    """Merge by the id."""
    return LoadTrial(warehouse, terms={"mode": "merge", "keys": ["id"], **options}).run(table)


@pytest.fixture
def orders(query: Query) -> Query:
    """Give a table of orders, each of one piece."""
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, qty integer NOT NULL DEFAULT 1 CHECK (qty > 0))")
    query(f"CREATE INDEX by_qty ON {TABLE} (qty)")
    query(f"COMMENT ON TABLE {TABLE} IS 'all of them'")
    query(f"INSERT INTO {TABLE} SELECT n FROM generate_series(1, {ALL}) AS n")
    query(f"ANALYZE {TABLE}")
    return query


def test_much_that_changes_is_written_anew_with_all_that_belongs_to_the_table(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    before, indexes = orders(OID), orders(INDEXES)

    published = merge(warehouse, orders_of(range(1, MANY + 101), 3))

    assert published.effect == Effect(0, MANY + 100, 0, 0, published.effect.notes)
    assert "written anew" in published.effect.notes[0]
    assert orders(OID) != before
    assert orders(INDEXES) == indexes
    assert orders(f"SELECT obj_description('{TABLE}'::regclass)") == [("all of them",)]
    assert orders(SUMS) == [(ALL, ALL * (ALL + 1) // 2, ALL + 2 * (MANY + 100))]
    assert orders("SELECT relname FROM pg_class WHERE relname LIKE 'replacement%'") == []


def test_rows_that_are_new_and_rows_that_are_missing_are_told_as_ever(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    ids = range(MANY // 2, ALL + 51)

    published = merge(warehouse, orders_of(ids, 2), merge="delete_missing")

    assert published.effect == Effect(50, ALL - MANY // 2 + 1, MANY // 2 - 1, 0, published.effect.notes)
    assert "written anew" in published.effect.notes[0]
    assert orders(SUMS) == [(len(ids), sum(ids), 2 * len(ids))]


@pytest.mark.parametrize(
    "why",
    [
        "few changed",
        "most are not in the load",
        "insert_only",
        "flag",
        "view",
        "no unique index",
        "another column",
        "staged",
    ],
)
def test_a_table_stays_where_that_is_less_work_or_something_would_be_lost(
    warehouse: PostgresWarehouse, orders: Query, why: str
) -> None:
    options: dict[str, Any] = {}
    table = orders_of(range(1, ALL + 1), 3)
    match why:
        case "few changed":
            table = pa.concat_tables([orders_of(range(1, MANY), 3), orders_of(range(MANY, ALL + 1), 1)])
        case "most are not in the load":
            orders(f"INSERT INTO {TABLE} SELECT n FROM generate_series({ALL + 1}, {int(ALL / MUCH) + 10}) AS n")
        case "insert_only":
            options = {"merge": "insert_only"}
        case "flag":
            table = table.append_column("gone", pa.array([False] * ALL))
            options = {"delete_flag": "gone"}
            orders(f"ALTER TABLE {TABLE} ADD COLUMN gone boolean")
        case "view":
            orders(f"CREATE VIEW sales.shown AS SELECT * FROM {TABLE}")
        case "no unique index":
            orders(f"ALTER TABLE {TABLE} DROP CONSTRAINT orders_pkey")
        case "another column":
            orders(f"ALTER TABLE {TABLE} ADD COLUMN note text")
        case _:
            warehouse = going(warehouse, "staged")
    before = orders(OID)

    published = merge(warehouse, table, **options)

    assert orders(OID) == before
    assert published.effect.updated == {"few changed": MANY - 1, "insert_only": 0}.get(why, ALL)
    assert not any("written anew" in note for note in published.effect.notes)


def test_a_reader_who_does_not_let_go_keeps_the_table_in_its_place(
    warehouse: PostgresWarehouse, orders: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = orders(OID)
    with orders.open() as reader:
        reader.execute(f"SELECT 1 FROM {TABLE} LIMIT 1".encode())
        published = merge(warehouse, orders_of(range(1, ALL + 1), 3))

    assert orders(OID) == before
    assert published.effect.updated == ALL
    assert orders(SUMS) == [(ALL, ALL * (ALL + 1) // 2, 3 * ALL)]
    assert orders("SELECT relname FROM pg_class WHERE relname LIKE 'replacement%'") == []


def test_who_looks_with_an_old_snapshot_sees_all_rows(warehouse: PostgresWarehouse, orders: Query) -> None:
    with psycopg.connect(orders.url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        merge(warehouse, orders_of(range(1, MANY + 101), 3))

        assert reader.execute(SUMS.encode()).fetchall() == [(ALL, ALL * (ALL + 1) // 2, ALL + 2 * (MANY + 100))]


def test_rows_that_break_another_unique_index_leave_the_table_as_it_was(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    orders(f"CREATE UNIQUE INDEX each_once ON {TABLE} ((CASE WHEN qty > 1 THEN qty END))")

    with pytest.raises(RowRefusedError, match="staging"):
        merge(warehouse, orders_of(range(1, ALL + 1), 3))

    assert orders(SUMS) == [(ALL, ALL * (ALL + 1) // 2, ALL)]


def test_others_write_while_rows_come_and_are_waited_for_before_they_are_brought_in(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    trial = LoadTrial(warehouse, terms={"mode": "merge", "keys": ["id"]})
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor() as pool, orders.open() as other:
        other.execute(f"UPDATE {TABLE} SET qty = 9 WHERE id = {ALL}".encode())
        loading = pool.submit(trial.run, orders_of(range(1, ALL), 3))
        wait_until(lambda: bool(orders(waiting)))
        other.commit()
        loading.result()

    assert orders(SUMS) == [(ALL, ALL * (ALL + 1) // 2, 3 * (ALL - 1) + 9)]


@pytest.mark.parametrize("rows_before", [0, ALL])
def test_a_table_whose_keys_had_to_be_indexed_to_be_looked_at_does_not_take_the_place_of_another(
    warehouse: PostgresWarehouse, query: Query, rows_before: int
) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id double precision PRIMARY KEY, qty integer)")
    query(f"INSERT INTO {TABLE} SELECT n, 1 FROM generate_series(1, {rows_before}) AS n")
    before = query(INDEXES)

    merge(warehouse, orders_of(range(1, ALL + 1), 3))

    assert query(INDEXES) == before
    assert query(SUMS) == [(ALL, ALL * (ALL + 1) // 2, 3 * ALL)]
