"""Laws of `replace`: all rows are exchanged, nothing that hangs on the table is lost, and nobody sees it empty."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors as pg

from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, CountMismatchError, RowRefusedError, TargetRefusedError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Published
from dataproc.warehouse.attributes import describe
from dataproc.warehouse.modes import freezing
from dataproc.warehouse.modes.swap import NewTable
from dataproc.warehouse.target import find_target
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import TABLE, LoadTrial, Query, a_load_id, rows_of_ids

WAYS = ["direct", "staged"]


def replace(warehouse: PostgresWarehouse, *tables: pa.Table, way: str = "auto", **options: Any) -> Published:
    """Replace a table by the rows of these tables."""
    return LoadTrial(warehouse, way, terms={"mode": "replace", **options}).run(*tables)


@pytest.fixture
def orders(query: Query) -> Query:
    """Give a table of three ids with all that can be swapped: indexes, constraints, defaults, comments, grants."""
    query("CREATE SCHEMA sales")
    query(
        f"CREATE TABLE {TABLE} (id bigint CONSTRAINT orders_key PRIMARY KEY, note text DEFAULT 'new' NOT NULL, "
        "twice bigint GENERATED ALWAYS AS (id * 2) STORED, CONSTRAINT few CHECK (id < 1000)) WITH (fillfactor = 70)"
    )
    query(f'CREATE INDEX "by Note" ON {TABLE} (lower(note)) WHERE id > 0')
    query(f"CREATE UNIQUE INDEX by_twice ON {TABLE} (twice DESC) INCLUDE (note)")
    query(f"COMMENT ON TABLE {TABLE} IS 'it''s ours'")
    query(f"COMMENT ON COLUMN {TABLE}.note IS 'a note'")
    query("COMMENT ON INDEX sales.by_twice IS 'an index'")
    query(f"COMMENT ON CONSTRAINT orders_key ON {TABLE} IS 'a key'")
    query(f"GRANT SELECT ON {TABLE} TO PUBLIC")
    query(f"GRANT INSERT ON {TABLE} TO pg_monitor WITH GRANT OPTION")
    query(f"INSERT INTO {TABLE} (id) VALUES (1), (2), (3)")
    return query


ASIDE = "SELECT relname FROM pg_class WHERE relname LIKE 'replaced%' AND relkind = 'r'"
DESCRIBED = """
SELECT (SELECT array_agg(indexdef ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'sales'),
       (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
        WHERE conrelid = c.oid AND contype <> 'n'),
       (SELECT array_agg(attname || attnotnull || COALESCE(col_description(c.oid, attnum), '') ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
       (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) AS a), reloptions,
       obj_description(c.oid, 'pg_class'), obj_description('sales.by_twice'::regclass, 'pg_class'),
       (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'orders_key'), relkind
FROM pg_class c WHERE oid = 'sales.orders'::regclass
"""


def oid(query: Query) -> list[tuple[Any, ...]]:
    """Return the identity of the table."""
    return query(f"SELECT '{TABLE}'::regclass::oid")


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_a_swapped_table_keeps_all_that_the_old_one_had(warehouse: PostgresWarehouse, orders: Query, way: str) -> None:
    before, described = oid(orders), orders(DESCRIBED)

    published = replace(warehouse, rows_of_ids([3, 4]), rows_of_ids([5]), way=way)

    assert orders.table() == [(3, "new", 6), (4, "new", 8), (5, "new", 10)]
    assert oid(orders) != before
    assert orders(DESCRIBED) == described
    assert (published.effect.inserted, published.effect.deleted) == (3, None)
    assert "new table" in published.effect.notes[0]


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_an_option_that_the_server_itself_sets_at_columns_is_not_an_obstacle(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    before = oid(orders)
    orders(
        "SET allow_system_table_mods = on; "
        "UPDATE pg_attribute SET attoptions = '{pg_attver=1}' WHERE attrelid = 'sales.orders'::regclass AND attnum > 0"
    )

    published = replace(warehouse, rows_of_ids([3, 4]), way=way)

    assert oid(orders) != before
    assert "new table" in published.effect.notes[0]


def test_an_option_that_the_server_itself_sets_at_columns_does_not_change_the_columns(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    with psycopg.connect(warehouse.url) as conn:
        [(table,)] = oid(orders)
        before = describe(conn, table)
        conn.execute("SET allow_system_table_mods = on")
        conn.execute("UPDATE pg_attribute SET attoptions = '{pg_attver=2}' WHERE attrelid = %s AND attnum > 0", [table])

        assert describe(conn, table) == before


HANGING = {
    "a view": f"CREATE VIEW sales.seen AS SELECT id FROM {TABLE}",
    "a foreign key to it": f"CREATE TABLE sales.items (id bigint REFERENCES {TABLE});; "
    "INSERT INTO sales.items VALUES (3)",
    "a foreign key from it": f"ALTER TABLE {TABLE} ADD FOREIGN KEY (id) REFERENCES sales.ids",
    "a trigger": f"CREATE TRIGGER touch BEFORE UPDATE ON {TABLE} FOR EACH ROW "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a policy": f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY",
    "an owned sequence": f"ALTER TABLE {TABLE} ADD COLUMN no serial",
    "an identity": f"ALTER TABLE {TABLE} ADD COLUMN no bigint GENERATED ALWAYS AS IDENTITY",
    "a grant on a column": f"GRANT SELECT (id) ON {TABLE} TO pg_monitor",
    "statistics": f"CREATE STATISTICS sales.more ON id, note FROM {TABLE}",
    "a child": f"CREATE TABLE sales.child () INHERITS ({TABLE})",
    "its type": f"CREATE TABLE sales.other (it {TABLE})",
    "a publication": f"CREATE PUBLICATION news FOR TABLE {TABLE}",
    "a function": f"CREATE FUNCTION sales.f() RETURNS bigint LANGUAGE sql "
    f"BEGIN ATOMIC SELECT max(id) FROM {TABLE}; END",
    "a materialized view": f"CREATE MATERIALIZED VIEW sales.kept AS SELECT id FROM {TABLE}",
    "the order of an index": f"ALTER TABLE {TABLE} CLUSTER ON orders_key",
    "a column's number of distinct values": f"ALTER TABLE {TABLE} ALTER COLUMN note SET (n_distinct = 5)",
    "a column's statistics target": f"ALTER TABLE {TABLE} ALTER COLUMN note SET STATISTICS 500",
    "a replica identity": f"ALTER TABLE {TABLE} REPLICA IDENTITY FULL",
}


@pytest.mark.parametrize("what", HANGING)
@pytest.mark.parametrize("way", WAYS)
def test_a_table_on_which_something_hangs_is_replaced_in_place(
    warehouse: PostgresWarehouse, orders: Query, way: str, what: str
) -> None:
    orders("CREATE TABLE sales.ids AS SELECT i::bigint AS id FROM generate_series(1, 9) AS i")
    orders("ALTER TABLE sales.ids ADD PRIMARY KEY (id)")
    for statement in HANGING[what].split(";; "):
        orders(statement)
    before = oid(orders)

    published = replace(warehouse, rows_of_ids([3, 4]), way=way)

    assert orders(f"SELECT id FROM {TABLE} ORDER BY 1") == [(3,), (4,)]
    assert oid(orders) == before
    assert (published.effect.inserted, published.effect.deleted) == (2, 3)
    assert published.effect.notes[0].startswith("sales.orders was replaced in place: ")
    assert not orders("SELECT relname FROM pg_class WHERE relname LIKE 'replacement%'")


def test_a_swap_that_would_lose_something_is_refused(warehouse: PostgresWarehouse, orders: Query) -> None:
    orders(HANGING["a view"])

    with pytest.raises(TargetRefusedError, match=r"cannot be swapped without losing something: rule .* depends on it"):
        replace(warehouse, rows_of_ids([4]), replace="swap")

    assert orders(f"SELECT id FROM {TABLE} ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("way", WAYS)
def test_in_place_is_done_when_it_is_asked_for(warehouse: PostgresWarehouse, orders: Query, way: str) -> None:
    before = oid(orders)

    replace(warehouse, rows_of_ids([4]), way=way, replace="in_place")

    assert (orders.table(), oid(orders)) == ([(4, "new", 8)], before)


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_other_tables_would_lose_are_not_replaced(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    orders(f"CREATE TABLE sales.items (id bigint REFERENCES {TABLE} ON DELETE CASCADE)")
    orders("INSERT INTO sales.items VALUES (3)")

    with pytest.raises(TargetRefusedError, match=r"items_id_fkey of sales\.items acts when its rows are deleted"):
        replace(warehouse, rows_of_ids([3]), way=way)

    assert orders("SELECT * FROM sales.items") == [(3,)]


@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_another_table_needs_cannot_be_left_out(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    orders(f"CREATE TABLE sales.items (id bigint REFERENCES {TABLE})")
    orders("INSERT INTO sales.items VALUES (3)")

    with pytest.raises(ContractViolationError, match="foreign key"):
        replace(warehouse, rows_of_ids([4]), way=way)

    assert orders(f"SELECT id FROM {TABLE} ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("way", WAYS)
def test_a_partitioned_table_is_replaced_in_place(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint) PARTITION BY RANGE (id)")
    query("CREATE TABLE sales.low PARTITION OF sales.orders FOR VALUES FROM (0) TO (10)")
    query("CREATE TABLE sales.high PARTITION OF sales.orders DEFAULT")
    query(f"INSERT INTO {TABLE} VALUES (1), (20)")

    published = replace(warehouse, rows_of_ids([2, 30]), way=way)

    assert (query.table("sales.low"), query.table("sales.high")) == ([(2,)], [(30,)])
    assert published.effect.deleted == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_trigger_that_leaves_rows_out_makes_the_load_fail(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    orders("CREATE FUNCTION sales.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    orders(f"CREATE TRIGGER no BEFORE INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION sales.no()")

    with pytest.raises(CountMismatchError, match="it took 0"):
        replace(warehouse, rows_of_ids([4]), way=way)

    assert len(orders.table()) == 3


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_break_a_unique_index_leave_the_table_as_it_was(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    # Only rows that are staged can be named.
    kind, words = (RowRefusedError, "staging") if way == "direct" else (ContractViolationError, "allows each key once")
    with pytest.raises(kind, match=words):
        replace(warehouse, rows_of_ids([4, 4]), way=way)

    assert len(orders.table()) == 3


@pytest.mark.parametrize("how", ["swap", "in_place"])
def test_rows_that_break_a_unique_index_are_named_and_not_those_that_were_there(
    warehouse: PostgresWarehouse, orders: Query, how: str
) -> None:
    [(known,), *_] = orders(f"SELECT id FROM {TABLE} ORDER BY id")

    with pytest.raises(ContractViolationError) as refused:
        replace(warehouse, rows_of_ids([known, 4]), rows_of_ids([5, 4]), way="staged", replace=how)

    assert "these rows break that: u0, row 1; u1, row 1; leave" in str(refused.value)


@pytest.mark.parametrize("way", WAYS)
def test_a_table_that_is_missing_is_made(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    published = replace(warehouse, rows_of_ids([1, 2]), way=way)

    assert (query.table(), published.effect.inserted) == ([(1,), (2,)], 2)


def test_a_source_that_gives_nothing_empties_the_table(warehouse: PostgresWarehouse, orders: Query) -> None:
    trial = LoadTrial(warehouse, terms={"mode": "replace"})

    published = trial.publish(SourcePlan((), pa.schema([])), [])

    assert (orders.table(), published.effect.deleted) == ([], 3)


@contextmanager
def polling(query: Query, isolation: str) -> Iterator[set[int]]:
    """Count the rows all the while; in one transaction after the other, which looks twice."""
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        with psycopg.connect(query.url) as conn:
            while not over.is_set():
                conn.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
                conn.execute("SELECT 1 FROM pg_class LIMIT 1")
                over.wait(0.003)
                [(count,)] = conn.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchall()
                seen.add(count)
                conn.commit()

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look)
        try:
            yield seen
        finally:
            over.set()
            looking.result()


@pytest.mark.parametrize("how", ["swap", "in_place"])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_ever_sees_an_empty_table(warehouse: PostgresWarehouse, orders: Query, way: str, how: str) -> None:
    with polling(orders, "READ COMMITTED") as seen:
        for _ in range(10):
            replace(warehouse, rows_of_ids(range(50)), way=way, replace=how)

    assert seen
    assert seen <= {3, 50}


@pytest.mark.parametrize("how", ["swap", "in_place"])
@pytest.mark.parametrize("way", WAYS)
def test_not_even_with_an_old_snapshot(warehouse: PostgresWarehouse, orders: Query, way: str, how: str) -> None:
    with polling(orders, "REPEATABLE READ") as seen:
        for _ in range(10):
            replace(warehouse, rows_of_ids(range(50)), way=way, replace=how)

    assert seen
    assert seen <= {3, 50}


def test_rows_are_moved_some_blocks_at_a_time(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} AS SELECT id::bigint FROM generate_series(0, 7776) AS id")

    with psycopg.connect(warehouse.url) as conn:
        target = find_target(conn, Destination(table=TABLE, mode="replace"), rows_of_ids([1]).schema)
        new = NewTable.made(conn, a_load_id(), target, lasting=True)
        count = len(list(freezing.pieces(new, target.identifier, blocks_at_once=2)))
        moved = freezing.move_all(new, target.identifier, blocks_at_once=2)
        [(found, lowest, highest)] = new.run("SELECT count(DISTINCT id), min(id), max(id) FROM {new}").fetchall()

    assert count > 10
    assert (moved, found, lowest, highest) == (7777, 7777, 0, 7776)


@pytest.mark.parametrize("way", WAYS)
def test_a_table_that_somebody_reads_for_long_is_replaced_in_place(
    warehouse: PostgresWarehouse, orders: Query, way: str
) -> None:
    with orders.open() as reader:
        assert reader.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchone() == (3,)
        published = replace(warehouse, rows_of_ids([4]), way=way)

    assert orders.table() == [(4, "new", 8)]
    assert published.effect.notes == ("sales.orders was replaced in place: others were reading it for long",)


def test_the_old_table_is_set_aside_by_a_direct_load_and_dropped_by_whoever_cleans_up(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    trial = LoadTrial(warehouse, terms={"mode": "replace"})
    [(before,)] = orders(f"SELECT '{TABLE}'::regclass::oid")

    published = trial.run(rows_of_ids([7, 8]))

    [(name,)] = orders(ASIDE)
    assert published.effect.set_aside
    assert orders(f"SELECT id FROM dataproc_load.{name} ORDER BY id") == [(1,), (2,), (3,)]
    assert orders(f"SELECT 'dataproc_load.{name}'::regclass::oid") == [(before,)]
    assert warehouse.staged() == [trial.load_id.job_id]

    warehouse.clean(trial.load_id.job_id, trial.load_id.epoch)

    assert orders(ASIDE) == []
    assert warehouse.staged() == []
    assert [row[0] for row in orders.table()] == [7, 8]


def test_a_staged_load_drops_it_in_the_publish(warehouse: PostgresWarehouse, orders: Query) -> None:
    replace(warehouse, rows_of_ids([7, 8]), way="staged")

    assert orders(ASIDE) == []
    assert warehouse.staged() == []


def test_a_table_that_something_has_come_to_hang_on_is_not_set_aside(
    warehouse: PostgresWarehouse, orders: Query
) -> None:
    orders(f"CREATE VIEW sales.seen AS SELECT * FROM {TABLE}")
    destination = Destination(table=TABLE, mode="replace")

    with psycopg.connect(warehouse.url) as conn:
        target = find_target(conn, destination, rows_of_ids([1]).schema)
        with pytest.raises(pg.DependentObjectsStillExist):
            NewTable(conn, a_load_id(), target, lasting=True).put_old_aside()

    assert orders("SELECT id FROM sales.seen ORDER BY id") == [(1,), (2,), (3,)]
    assert orders(ASIDE) == []
