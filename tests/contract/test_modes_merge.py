"""Laws of `merge`: what becomes of rows that are new, changed, unchanged, flagged or missing."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.errors import BadDataError, ContractViolationError, CountMismatchError, RowRefusedError
from dataproc.ports.warehouse import Effect, Published
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.waiting import wait_until
from tests.warehouses import TABLE, WAYS, LoadTrial, Query, done_by, going, planned, rejects_at

MERGE: dict[str, Any] = {"mode": "merge", "keys": ["id"]}


def rows(*pairs: tuple[int | None, str | None]) -> pa.Table:
    """Return rows of an id and a name."""
    ids, names = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.table({"id": pa.array(ids, pa.int64()), "name": pa.array(names, pa.string())})


def merge(warehouse: PostgresWarehouse, *tables: pa.Table, way: str = "auto", **options: Any) -> Published:
    """Merge each table as a unit."""
    return LoadTrial(warehouse, way, terms={**MERGE, **options}).run(*tables)


@pytest.fixture(params=WAYS)
def warehouse(warehouse: PostgresWarehouse, request: pytest.FixtureRequest) -> PostgresWarehouse:
    """Give a warehouse that loads by each way."""
    return going(warehouse, request.param)


@pytest.fixture
def people(query: Query) -> Query:
    """Give a table with two people, and a unique index on their keys."""
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, name text)")
    query(f"INSERT INTO {TABLE} VALUES (1, 'ann'), (2, 'bob')")
    return query


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
def test_new_rows_are_added_changed_ones_changed_and_the_others_not_written_again(
    warehouse: PostgresWarehouse, people: Query
) -> None:
    before = people(f"SELECT xmin::text FROM {TABLE} WHERE id = 1")

    published = merge(warehouse, rows((1, "ann"), (2, "BOB")), rows((3, "cem")))

    assert people.table() == [(1, "ann"), (2, "BOB"), (3, "cem")]
    assert done_by(published) == (1, 1, 0, 1)
    assert people(f"SELECT xmin::text FROM {TABLE} WHERE id = 1") == before


def test_a_table_that_is_made_gets_a_unique_index_on_its_keys(warehouse: PostgresWarehouse, query: Query) -> None:
    published = merge(warehouse, rows((2, "bob")), rows((1, "ann")))

    assert query.table() == [(1, "ann"), (2, "bob")]
    assert done_by(published) == (2, 0, 0, 0)
    assert published.way == ("direct" if warehouse.direct_limit else "staged")
    assert query("SELECT indexdef FROM pg_indexes WHERE schemaname = 'sales'") == [
        ("CREATE UNIQUE INDEX orders_id_idx ON sales.orders USING btree (id)",)
    ]


@pytest.mark.parametrize(("merging", "left"), [("insert_only", "ann"), ("update", "Ann")])
def test_insert_only_leaves_rows_that_are_there_as_they_are(
    warehouse: PostgresWarehouse, people: Query, merging: str, left: str
) -> None:
    merge(warehouse, rows((1, "Ann"), (3, "cem")), merge=merging)

    assert people.table() == [(1, left), (2, "bob"), (3, "cem")]


def test_delete_missing_deletes_what_the_source_has_no_more(warehouse: PostgresWarehouse, people: Query) -> None:
    published = merge(warehouse, rows((2, "bob"), (3, "cem")), merge="delete_missing")

    assert people.table() == [(2, "bob"), (3, "cem")]
    assert done_by(published) == (1, 0, 1, 1)


def test_delete_missing_is_refused_when_rows_were_set_aside(warehouse: PostgresWarehouse, people: Query) -> None:
    trial = LoadTrial(warehouse, terms=MERGE | {"merge": "delete_missing"})
    table = rows((2, "bob"), (3, "cem"))
    plan, [chunk] = planned(table)
    aside = chunk.keep(chunk.rows.slice(0, 1), rejects=rejects_at(1))

    with pytest.raises(BadDataError, match="1 rows were set aside"):
        trial.publish(plan, [aside])

    assert people.table() == [(1, "ann"), (2, "bob")]


@pytest.mark.parametrize("in_target", [True, False])
def test_a_flag_deletes_rows_whether_the_target_has_it_or_not(
    warehouse: PostgresWarehouse, people: Query, in_target: bool
) -> None:
    if in_target:
        people(f"ALTER TABLE {TABLE} ADD COLUMN gone boolean")
    flags = pa.array([True, False, None, True], pa.bool_())
    table = rows((1, "ann"), (2, "BOB"), (3, "cem"), (4, "dan")).append_column("gone", flags)

    published = merge(warehouse, table, delete_flag="gone")

    assert people(f"SELECT id, name FROM {TABLE} ORDER BY 1") == [(2, "BOB"), (3, "cem")]
    assert done_by(published) == (1, 1, 1, 0)


def test_a_flag_makes_no_column_in_a_table_that_is_made(warehouse: PostgresWarehouse, query: Query) -> None:
    table = rows((1, "ann"), (2, "bob")).append_column("gone", pa.array([True, False]))

    merge(warehouse, table, delete_flag="gone")

    assert query.table() == [(2, "bob")]


def test_a_flag_that_is_not_boolean_is_refused(warehouse: PostgresWarehouse, people: Query) -> None:
    with pytest.raises(ContractViolationError, match="delete_flag: column name is string, and must be bool"):
        merge(warehouse, rows((1, "ann")), delete_flag="name")


def test_keys_that_come_twice_are_refused_with_their_number_and_the_first_place(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    with pytest.raises(BadDataError, match=r"2 rows have the same keys \('id'\) .* first is u1, row 0; add a dedupe"):
        merge(warehouse, rows((1, "ann"), (2, "bob")), rows((2, "bob"), (1, "eve")), way="staged")

    assert query.table() == []


@pytest.mark.parametrize("second", [1, None])
def test_a_direct_merge_leaves_it_to_staging_to_name_rows_whose_keys_are_not_right(
    warehouse: PostgresWarehouse, query: Query, second: int | None
) -> None:
    direct = going(warehouse, "direct")
    with pytest.raises(RowRefusedError, match="staging"):
        merge(direct, rows((1, "ann"), (second, "bob")))

    assert query.table() == []
    merge(direct, rows((7, "gil")))
    with pytest.raises(RowRefusedError, match="staging"):
        merge(direct, rows((1, "ann"), (second, "bob")))

    assert query.table() == [(7, "gil")]


@pytest.mark.parametrize("sql_type", ["double precision", "character(5)"])
def test_keys_that_are_equal_and_look_different_are_the_same_key(
    warehouse: PostgresWarehouse, query: Query, sql_type: str
) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id {sql_type}, name text)")
    query(f"INSERT INTO {TABLE} VALUES ('1', 'ann')")
    values = pa.array([0.0, -0.0]) if sql_type.startswith("double") else pa.array(["a", "a "])

    with pytest.raises((BadDataError, RowRefusedError), match=r"same keys|staging"):
        merge(warehouse, pa.table({"id": values, "name": pa.array(["bob", "eve"])}))

    assert query(f"SELECT name FROM {TABLE}") == [("ann",)]


def test_a_null_in_a_key_is_refused_with_its_place(warehouse: PostgresWarehouse, query: Query) -> None:
    with pytest.raises(BadDataError, match=r"1 rows have null in 'id' \(a key\), the first is u1, row 1"):
        merge(warehouse, rows((1, "ann")), rows((2, "bob"), (None, "eve")), way="staged")

    assert query.table() == []


def test_a_missing_key_is_refused_before_anything_is_read(warehouse: PostgresWarehouse, query: Query) -> None:
    with pytest.raises(ContractViolationError, match="keys: the rows have no column 'code'"):
        LoadTrial(warehouse, terms={"mode": "merge", "keys": ["code"]}).open(rows((1, "ann")).schema)


SAME = [
    ("double precision", pa.float64(), [math.nan, 0.5]),
    ("json", pa.string(), ['{"a": 1}', None]),
    ("jsonb", pa.string(), ['{"b":1, "a": 2}', "null"]),
    ("numeric", pa.decimal128(10, 2), [None, 3]),
    ("character(5)", pa.string(), ["ab", "abc"]),
    ("timestamptz", pa.timestamp("us", "UTC"), [0, None]),
    ("point", pa.string(), ["(1,2)", None]),
    ("text[]", pa.string(), ["{a,NULL}", "{}"]),
    ("bytea", pa.binary(), [b"\x00\xff", None]),
    ("interval", pa.duration("us"), [86_400_000_000, None]),
]


@pytest.mark.parametrize(("sql_type", "dtype", "values"), SAME, ids=[case[0] for case in SAME])
def test_rows_are_unchanged_when_they_come_again_whatever_their_types(
    warehouse: PostgresWarehouse, query: Query, sql_type: str, dtype: pa.DataType, values: list[object]
) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, value {sql_type})")
    table = pa.table({"id": pa.array([1, 2], pa.int64()), "value": pa.array(values, pa.int64()).cast(dtype)
                      if sql_type in ("timestamptz", "interval") else pa.array(values, dtype)})  # fmt: skip
    merge(warehouse, table)

    again = merge(warehouse, table)
    turned = merge(warehouse, table.set_column(1, "value", table["value"].take([1, 0])))

    assert done_by(again) == (0, 0, 0, 2)
    assert done_by(turned) == (0, 2, 0, 0)


@pytest.mark.parametrize(
    ("sql_type", "before", "after"),
    [("json", '{"a":1}', '{"a": 1}'), ("numeric", "1.0", "1.00")],
)
def test_what_is_equal_but_looks_different_is_written(
    warehouse: PostgresWarehouse, query: Query, sql_type: str, before: str, after: str
) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, name {sql_type})")
    merge(warehouse, rows((1, before)))

    published = merge(warehouse, rows((1, after)))

    assert done_by(published) == (0, 1, 0, 0)
    assert query(f"SELECT name::text FROM {TABLE}") == [(after,)]


def test_rows_of_a_partitioned_target_are_merged_and_may_move(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint, name text) PARTITION BY LIST (name)")
    query("CREATE TABLE sales.a PARTITION OF sales.orders FOR VALUES IN ('a')")
    query("CREATE TABLE sales.b PARTITION OF sales.orders DEFAULT")
    query(f"INSERT INTO {TABLE} VALUES (1, 'a'), (2, 'b'), (3, 'c')")

    published = merge(warehouse, rows((1, "b"), (2, "b"), (3, "d"), (4, "a")))

    assert done_by(published) == (1, 2, 0, 1)
    assert (query.table("sales.a"), query.table("sales.b")) == ([(4, "a")], [(1, "b"), (2, "b"), (3, "d")])


def test_generated_and_identity_columns_and_defaults_are_left_to_the_table(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    query("CREATE SCHEMA sales")
    query(
        f"CREATE TABLE {TABLE} (no bigint GENERATED ALWAYS AS IDENTITY, id bigint PRIMARY KEY, name text, "
        "twice bigint GENERATED ALWAYS AS (id * 2) STORED, kind text DEFAULT 'new')"
    )
    merge(warehouse, rows((1, "ann")))
    query(f"UPDATE {TABLE} SET kind = 'old'")

    merge(warehouse, rows((1, "ANN"), (2, "bob")))

    assert query(f"SELECT * FROM {TABLE} ORDER BY id") == [(1, 1, "ANN", 2, "old"), (2, 2, "bob", 4, "new")]


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_trigger_that_leaves_rows_out_makes_the_merge_fail(
    warehouse: PostgresWarehouse, people: Query, event: str
) -> None:
    people("CREATE FUNCTION sales.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    people(f"CREATE TRIGGER no BEFORE {event} ON {TABLE} FOR EACH ROW EXECUTE FUNCTION sales.no()")

    with pytest.raises(CountMismatchError, match=r"1 rows were to be .* does one of its triggers"):
        merge(warehouse, rows((1, "ANN")) if event == "UPDATE" else rows((3, "cem")))

    assert people.table() == [(1, "ann"), (2, "bob")]


def test_rows_that_break_another_unique_index_are_named_and_none_of_their_values(
    warehouse: PostgresWarehouse, people: Query
) -> None:
    people(f"CREATE UNIQUE INDEX by_name ON {TABLE} (name)")

    with pytest.raises(ContractViolationError, match='"by_name" allows each key once, and these rows') as refused:
        merge(warehouse, rows((1, "ann")), rows((4, "dora"), (3, "bob"), (5, "dora")), way="staged")

    assert "u1, row 0; u1, row 1; u1, row 2;" in str(refused.value)
    assert not any(value in str(refused.value) for value in ("ann", "dora", "bob"))


def test_reserved_and_odd_names_are_merged(warehouse: PostgresWarehouse, query: Query) -> None:
    names = ["select", 'a "b" %s {c}', "Größe"]
    table = pa.table({name: pa.array([1, 2], pa.int64()) for name in names})
    trial = {"mode": "merge", "keys": names[:2]}
    for values in (table, table.set_column(2, names[2], pa.array([1, 3], pa.int64()))):
        LoadTrial(warehouse, "staged", 'odd-%s."group"'.replace('"', ""), terms=trial).run(values)

    assert query.table("odd-%s.group") == [(1, 1, 1), (2, 2, 3)]


def test_as_many_columns_as_a_table_can_have_are_merged(warehouse: PostgresWarehouse, query: Query) -> None:
    table = pa.table({f"c{i}": pa.array([1], pa.int16()) for i in range(1590)})
    merge(warehouse, table, way="staged", keys=["c0"])

    published = merge(warehouse, table.set_column(7, "c7", pa.array([2], pa.int16())), keys=["c0"])

    assert done_by(published) == (0, 1, 0, 0)


def test_a_table_without_an_index_on_its_keys_is_told_of(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} AS SELECT 1::bigint AS id, 'ann' AS name")

    published = merge(warehouse, rows((1, "ANN")))

    assert published.effect.notes[0].startswith("sales.orders has no index on its keys (id)")
    assert query.table() == [(1, "ANN")]


def test_a_merge_waits_for_whoever_writes_into_the_table_and_loses_nothing(
    warehouse: PostgresWarehouse, people: Query
) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor() as pool, people.open() as conn:
        conn.execute(f"UPDATE {TABLE} SET name = 'Bobby' WHERE id = 2".encode())
        conn.execute(f"INSERT INTO {TABLE} VALUES (3, 'cem')".encode())
        loading = pool.submit(merge, warehouse, rows((2, "bob"), (3, "CEM")))
        wait_until(lambda: bool(people(waiting)))
        conn.commit()
        published = loading.result()

    assert people.table() == [(1, "ann"), (2, "bob"), (3, "CEM")]
    assert done_by(published) == (0, 2, 0, 0)


def test_what_a_merge_has_done_stands_in_the_ledger(warehouse: PostgresWarehouse, people: Query) -> None:
    trial = LoadTrial(warehouse, terms=MERGE)
    trial.run(rows((1, "ANN"), (2, "bob"), (3, "cem")))

    found = warehouse.reconciliation(trial.load_id.job_id)
    again = warehouse.published(trial.load_id.job_id)

    assert found is not None
    assert again is not None
    assert found.effect == again.effect == Effect(1, 1, 0, 1)


def test_statistics_are_stale_after_a_load_that_fills_a_table_until_they_are_refreshed(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    many = merge(warehouse, rows(*((i, "x") for i in range(100))), way="staged")
    warehouse.refresh(TABLE)
    warehouse.refresh("sales.dropped")
    few = merge(warehouse, rows((1, "x"), (2, "y")))

    assert many.effect.stale
    assert query(f"SELECT reltuples FROM pg_class WHERE oid = '{TABLE}'::regclass") == [(100.0,)]
    assert not few.effect.stale


def test_an_outsider_never_sees_a_merge_half_done(warehouse: PostgresWarehouse, people: Query) -> None:
    with psycopg.connect(people.url) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        before = conn.execute(f"SELECT * FROM {TABLE} ORDER BY 1".encode()).fetchall()
        merge(warehouse, rows((1, "ANN"), (3, "cem")), merge="delete_missing")

        assert conn.execute(f"SELECT * FROM {TABLE} ORDER BY 1".encode()).fetchall() == before


def test_two_merges_into_one_table_go_one_after_the_other(warehouse: PostgresWarehouse, people: Query) -> None:
    table = rows(*((i, "x") for i in range(1, 500)))

    with ThreadPoolExecutor() as pool:
        ended = [one.result() for one in [pool.submit(merge, warehouse, table) for _ in range(3)]]

    assert sorted(done_by(published) for published in ended) == [(0, 0, 0, 499), (0, 0, 0, 499), (497, 2, 0, 0)]
    assert len(people.table()) == 499


ALIKE_ONCE_STORED: dict[str, tuple[str, list[str]]] = {
    "varchar": ("varchar(4)", ["abc  ", "abc "]),
    "timestamp": ("timestamp(0)", ["2026-01-01 00:00:00.3", "2026-01-01 00:00:00.4"]),
    "timestamptz": ("timestamptz(0)", ["2026-01-01 00:00:00.3Z", "2026-01-01 00:00:00.4Z"]),
}


@pytest.mark.parametrize("mode", ["merge", "scd2"])
@pytest.mark.parametrize("key", ALIKE_ONCE_STORED)
def test_keys_that_the_column_makes_alike_come_twice(
    warehouse: PostgresWarehouse, query: Query, key: str, mode: str
) -> None:
    sql_type, values = ALIKE_ONCE_STORED[key]
    query("CREATE SCHEMA sales")
    versions = ", valid_from timestamptz, valid_to timestamptz, is_current boolean" if mode == "scd2" else ""
    query(f"CREATE TABLE {TABLE} (id {sql_type}, name text{versions})")

    with pytest.raises((BadDataError, RowRefusedError, ContractViolationError)):
        LoadTrial(warehouse, terms={"mode": mode, "keys": ["id"]}).run(pa.table({"id": values, "name": ["a", "b"]}))

    assert query.table() == []


WRITTEN_OTHERWISE: dict[str, tuple[str, str]] = {
    "jsonb": ('{"a": 1.0}', '{"a": 1.00}'),
    "double precision": ("0", "-0"),
    "real": ("0", "-0"),
    "numeric": ("1.0", "1.00"),
    "json": ('{"a":1}', '{"a": 1}'),
}


@pytest.mark.parametrize("sql_type", WRITTEN_OTHERWISE)
def test_a_value_that_is_equal_and_written_otherwise_is_a_change(
    warehouse: PostgresWarehouse, query: Query, sql_type: str
) -> None:
    before, after = WRITTEN_OTHERWISE[sql_type]
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, v {sql_type})")
    query(f"INSERT INTO {TABLE} VALUES (1, '{before}'), (2, '{after}')")
    values = pa.array([after, after])
    v = values.cast(pa.float64()) if sql_type in ("real", "double precision") else values

    published = LoadTrial(warehouse, terms=MERGE).run(pa.table({"id": pa.array([1, 2], pa.int64()), "v": v}))

    assert query(f"SELECT v::text FROM {TABLE} ORDER BY id") == [(after,), (after,)]
    assert done_by(published) == (0, 1, 0, 1)
