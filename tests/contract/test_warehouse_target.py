"""Laws of targets: which tables take a load, which columns they must have, and what a refused load says."""

from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    ContractViolationError,
    CountMismatchError,
    FatalError,
    RowRefusedError,
    SetupError,
    TargetRefusedError,
    WarehouseUnavailableError,
)
from dataproc.domain.tally import Totals
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Published
from dataproc.warehouse.direct import DirectLoad
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import plan_of_size
from tests.warehouses import ALWAYS_DIRECT, TABLE, LoadTrial, Query, a_unit, allow, chunks_of, going, planned, schema_of

pytestmark = pytest.mark.parametrize("postgres_major", [18, 15], indirect=True)

WAYS = pytest.mark.parametrize("way", ["direct", "staged"])


@pytest.fixture
def warehouse(warehouse_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse with a schema for targets."""
    Query(warehouse_url)("CREATE SCHEMA sales")
    return PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)


def table_of(*ids: int | None, **columns: object) -> pa.Table:
    values: dict[str, Any] = {"id": pa.array(ids, pa.int64()), **columns}
    return pa.table(values)


# ── names ────────────────────────────────────────────────────────────────────────────────────────

ODD_NAMES = ["Upper Case", 'qu"ote', "select", "100%", "%s", "{brace}", "a;b--", "ünï", "é" * 31, "x" * 63, "\n", "."]


@WAYS
def test_a_column_may_have_any_name_that_postgresql_can_hold(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    rows = pa.table({name: [i] for i, name in enumerate(ODD_NAMES)})

    for _ in range(2):
        LoadTrial(warehouse, way).run(rows)

    names = query("SELECT attname FROM pg_attribute WHERE attrelid = 'sales.orders'::regclass AND attnum > 0")
    assert [name for (name,) in names] == ODD_NAMES
    assert query.table() == [tuple(range(len(ODD_NAMES)))] * 2


@WAYS
@pytest.mark.parametrize("table", ["Sales Dept.100%", "sales.select", "sales.{x}", "sales.%s", "sales." + "t" * 63])
def test_a_table_may_have_any_name(warehouse: PostgresWarehouse, query: Query, way: str, table: str) -> None:
    for _ in range(2):
        LoadTrial(warehouse, way, table).run(table_of(1))

    assert query.table(table) == [(1,), (1,)]


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "a\x00b", "ctid", "xmin", "tableoid"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_column_name_that_postgresql_cannot_hold_is_refused(
    warehouse: PostgresWarehouse, query: Query, name: str, exists: bool
) -> None:
    if exists:
        query("CREATE TABLE sales.orders (id bigint)")

    with pytest.raises(ContractViolationError, match="rename or drop columns in a clean transform") as raised:
        LoadTrial(warehouse).open(pa.schema({"id": pa.int64(), name: pa.int64()}))

    assert raised.value.context["columns"] == [name]


def test_two_columns_of_one_name_are_refused(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(ContractViolationError, match="cannot hold two columns of the name 'x'"):
        LoadTrial(warehouse).open(pa.schema([pa.field("x", pa.int64())] * 2))


@WAYS
def test_a_table_may_have_1600_columns(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    rows = pa.table({f"c{i}": [True] for i in range(1600)})

    LoadTrial(warehouse, way).run(rows)

    assert query.table() == [(True,) * 1600]


def test_more_columns_than_postgresql_holds_are_refused(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(ContractViolationError, match="1601 columns, and PostgreSQL holds 1600"):
        LoadTrial(warehouse).open(pa.schema({f"c{i}": pa.bool_() for i in range(1601)}))


def test_a_row_that_is_wider_than_a_page_is_set_aside(warehouse: PostgresWarehouse, query: Query) -> None:
    rows = pa.table({f"c{i}": pa.array([None, i], pa.int64()) for i in range(1600)})
    with pytest.raises(RowRefusedError):
        LoadTrial(warehouse, "direct").run(rows)

    published = LoadTrial(warehouse, "staged").run(rows)

    assert published.account == Account(2, 1, 1)
    assert query("SELECT position FROM dataproc_load.reject") == [(1,)]


# ── no columns ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["auto", "direct", "staged"])
@pytest.mark.parametrize("exists", [True, False])
def test_empty_files_complete_without_touching_the_target(
    warehouse: PostgresWarehouse, query: Query, way: str, exists: bool
) -> None:
    if exists:
        query("CREATE TABLE sales.orders (id bigint NOT NULL)")
    plan = SourcePlan((a_unit(rows=0),), pa.schema([]))

    published = LoadTrial(warehouse, way).publish(plan, chunks_of("u0", schema=pa.schema([])))

    assert published == Published(TABLE, Account(), "direct")
    assert (query.exists(), query.staging(), query.count("load_ledger")) == (exists, [], 1)


def test_rows_of_which_no_column_is_left_are_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    [chunk] = chunks_of("u0", table_of(1, 2))
    plan = SourcePlan((a_unit(rows=2),), pa.schema([]))

    with pytest.raises(ContractViolationError, match="2 rows without any column are left"):
        LoadTrial(warehouse).publish(plan, [chunk.keep(chunk.rows.drop_columns(["id"]))])

    assert (query.exists(), query.count("load_ledger")) == (False, 0)


def test_a_preview_of_empty_files_makes_nothing(warehouse: PostgresWarehouse) -> None:
    preview = warehouse.preview(Destination(table=TABLE), pa.schema([]), plan_of_size(0))

    assert (preview.columns, preview.statements, preview.exists) == ((), (), False)


# ── existing tables ──────────────────────────────────────────────────────────────────────────────


@WAYS
def test_columns_that_the_source_lacks_get_what_the_table_gives_them(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query(
        "CREATE TABLE sales.orders (id bigint, a text NOT NULL DEFAULT 'none', b text, "
        "c bigint GENERATED ALWAYS AS IDENTITY, d bigint GENERATED ALWAYS AS (id * 2) STORED, e bigserial)"
    )

    LoadTrial(warehouse, way).run(table_of(1, 2))

    assert query.table() == [(1, "none", None, 1, 2, 1), (2, "none", None, 2, 4, 2)]


@WAYS
def test_columns_are_matched_by_name_in_any_order(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (b text, dropped int, id bigint)")
    query("ALTER TABLE sales.orders DROP COLUMN dropped")

    LoadTrial(warehouse, way).run(table_of(1, b=["one"]))

    assert query.table() == [("one", 1)]


@WAYS
def test_a_default_identity_may_be_given(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint GENERATED BY DEFAULT AS IDENTITY)")

    LoadTrial(warehouse, way).run(table_of(7))

    assert query.table() == [(7,)]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("other bigint", "has no column 'id'"),
        ("id bigint GENERATED ALWAYS AS IDENTITY", "computes by itself 'id'"),
        ("x bigint, id bigint GENERATED ALWAYS AS (x + 1) STORED", "computes by itself 'id'"),
        ("id bigint, a text NOT NULL, b text NOT NULL", "needs a value that the source lacks for 'a', 'b'"),
    ],
)
def test_columns_that_do_not_match_are_named_before_anything_is_read(
    warehouse: PostgresWarehouse, query: Query, columns: str, problem: str
) -> None:
    query(f"CREATE TABLE sales.orders ({columns})")

    with pytest.raises(ContractViolationError, match=problem):
        LoadTrial(warehouse).open(pa.schema({"id": pa.int64()}))


@WAYS
def test_a_partitioned_table_takes_a_load(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint) PARTITION BY RANGE (id)")
    query("CREATE TABLE sales.low PARTITION OF sales.orders FOR VALUES FROM (0) TO (10)")
    query("CREATE TABLE sales.high PARTITION OF sales.orders FOR VALUES FROM (10) TO (20)")

    LoadTrial(warehouse, way).run(table_of(1, 11))

    assert (query.table("sales.low"), query.table("sales.high")) == ([(1,)], [(11,)])


PARTITIONS = {
    "range": [
        "sales.orders PARTITION BY RANGE (id)",
        "sales.low PARTITION OF sales.orders FOR VALUES FROM (0) TO (10)",
    ],
    "list": ["sales.orders PARTITION BY LIST (id)", "sales.low PARTITION OF sales.orders FOR VALUES IN (1, 2, NULL)"],
    "hash": [
        "sales.orders PARTITION BY HASH (id)",
        "sales.low PARTITION OF sales.orders FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    ],
    "two levels": [
        "sales.orders PARTITION BY RANGE (id)",
        "sales.all PARTITION OF sales.orders FOR VALUES FROM (0) TO (100) PARTITION BY LIST (id)",
        "sales.low PARTITION OF sales.all FOR VALUES IN (1, 2)",
    ],
    "none": ["sales.orders PARTITION BY RANGE (id)"],
}
MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "merge": {"mode": "merge", "keys": ["id"]},
    "replace": {"mode": "replace"},
    "replace_partition": {"mode": "replace_partition", "partition": {"by": ["id"]}},
    "scd2": {"mode": "scd2", "keys": ["id"]},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("partitions", PARTITIONS)
def test_rows_that_fit_no_partition_are_set_aside_by_unit_and_position(
    warehouse: PostgresWarehouse, query: Query, partitions: str, mode: str
) -> None:
    columns = "(id bigint, valid_from timestamptz, valid_to timestamptz, is_current boolean)"
    for at, rest in enumerate(PARTITIONS[partitions]):
        query(f"CREATE TABLE {rest if at else rest.replace(' ', f' {columns} ', 1)}")
    totals: list[Totals] = []
    plan, chunks = planned(table_of(1, 11), table_of(12, 2))
    fits = [n for n in (1, 2, 11, 12) if lets_in(query, n)]

    published = LoadTrial(going(warehouse, "staged"), terms=MODES[mode]).publish(plan, chunks, totals.append)

    assert [row[0] for row in query.table()] == fits
    assert published.account == Account(4, len(fits), 4 - len(fits))
    assert totals[-1].account == published.account
    found = query("SELECT unit, position, rule, code, reason FROM dataproc_load.reject ORDER BY unit, position")
    places = {1: ("u0", 0), 11: ("u0", 1), 12: ("u1", 0), 2: ("u1", 1)}
    assert [row[:2] for row in found] == sorted(places[n] for n in places if n not in fits)
    assert {row[2:4] for row in found} <= {("warehouse", "23514")}
    assert all("no partition of relation" in row[4] for row in found)


def lets_in(query: Query, number: int) -> bool:
    """Whether PostgreSQL itself puts a row into a partition."""
    try:
        query(f"WITH tried AS (INSERT INTO sales.orders (id) VALUES ({number}) RETURNING 1) SELECT 1 FROM tried")
    except psycopg.errors.CheckViolation:
        return False
    query(f"DELETE FROM sales.orders WHERE id = {number}")
    return True


@WAYS
def test_a_row_that_fits_no_partition_by_its_default_value_fails_the_load(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, day date DEFAULT '2026-01-01') PARTITION BY RANGE (day)")
    query("CREATE TABLE sales.old PARTITION OF sales.orders FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')")

    with pytest.raises(FatalError, match="no partition of relation"):
        LoadTrial(warehouse, way).run(table_of(1, 11))

    assert query.table() == []


@WAYS
def test_triggers_fire_once_a_row(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    query("CREATE TABLE sales.fired (id bigint)")
    note = "BEGIN INSERT INTO sales.fired VALUES (NEW.id); RETURN NEW; END"
    query(f"CREATE FUNCTION sales.note() RETURNS trigger LANGUAGE plpgsql AS '{note}'")
    query("CREATE TRIGGER note AFTER INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.note()")

    LoadTrial(warehouse, way).run(table_of(1, 2), table_of(3))

    assert query.table("sales.fired") == [(1,), (2,), (3,)]


@WAYS
@pytest.mark.parametrize("trigger", ["RETURN NULL", "RAISE EXCEPTION 'not on my watch'"])
def test_a_trigger_that_takes_no_rows_fails_the_load(
    warehouse: PostgresWarehouse, query: Query, way: str, trigger: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    query(f"CREATE FUNCTION sales.guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {trigger}; END$$")
    query("CREATE TRIGGER guard BEFORE INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.guard()")
    error = CountMismatchError if "NULL" in trigger else RowRefusedError

    with pytest.raises(error, match=r"triggers or rules leave rows out|not on my watch"):
        LoadTrial(warehouse, way).run(table_of(1))

    assert (query.table(), query.count("load_ledger")) == ([], 0)


# ── tables that are no targets ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW sales.orders AS SELECT 1::bigint AS id",
        "CREATE MATERIALIZED VIEW sales.orders AS SELECT 1::bigint AS id",
        "CREATE SEQUENCE sales.orders",
        "CREATE TYPE sales.orders AS (id bigint)",
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far; "
        "CREATE FOREIGN TABLE sales.orders (id bigint) SERVER far",
    ],
    ids=["view", "materialized view", "sequence", "composite type", "foreign table"],
)
def test_what_is_no_table_is_refused(warehouse: PostgresWarehouse, query: Query, statement: str) -> None:
    query(statement)

    with pytest.raises(TargetRefusedError, match=r"sales\.orders is not a table; name another"):
        LoadTrial(warehouse).open(pa.schema({"id": pa.int64()}))


@pytest.mark.parametrize("schema", ["dataproc_load", "information_schema", "pg_catalog", "pg_temp", "pg_toast"])
def test_schemas_of_the_system_and_our_own_are_refused(warehouse: PostgresWarehouse, schema: str) -> None:
    with pytest.raises(TargetRefusedError, match="is not for targets"):
        LoadTrial(warehouse, table=f"{schema}.load_ledger").open(pa.schema({"id": pa.int64()}))


def test_a_table_of_another_owner_is_refused(plain_role: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    query("GRANT ALL ON SCHEMA sales TO PUBLIC")

    with pytest.raises(TargetRefusedError, match=r"sales\.orders belongs to postgres, not to us"):
        LoadTrial(plain_role).open(pa.schema({"id": pa.int64()}))


def test_a_schema_in_which_we_may_not_make_tables_is_refused(plain_role: PostgresWarehouse, query: Query) -> None:
    with pytest.raises(TargetRefusedError, match=r"permission denied.*grant it to our role"):
        LoadTrial(plain_role).run(table_of(1))

    assert query.count("load_ledger") == 0


@WAYS
def test_a_plain_role_loads_into_its_own_schema(plain_role: PostgresWarehouse, query: Query, way: str) -> None:
    query("GRANT CREATE, USAGE ON SCHEMA sales TO PUBLIC")

    for _ in range(2):
        LoadTrial(plain_role, way).run(table_of(1))

    assert query.table() == [(1,), (1,)]


def test_a_warehouse_that_was_not_prepared_says_what_to_do(empty_database_url: str) -> None:
    with pytest.raises(SetupError, match="run `dataproc migrate`"):
        LoadTrial(PostgresWarehouse(empty_database_url, 0)).open(pa.schema({"id": pa.int64()}))


# ── targets that change while a load is on its way ───────────────────────────────────────────────


@WAYS
@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (None, "CREATE TABLE sales.orders (id timestamptz)"),
        ("CREATE TABLE sales.orders (id bigint)", "DROP TABLE sales.orders"),
        ("CREATE TABLE sales.orders (id bigint, x int)", "ALTER TABLE sales.orders DROP COLUMN id"),
        ("CREATE TABLE sales.orders (id bigint)", "ALTER TABLE sales.orders ALTER id TYPE timestamptz USING NULL"),
        ("CREATE TABLE sales.orders (id bigint)", "ALTER TABLE sales.orders ADD COLUMN more text NOT NULL"),
    ],
    ids=["made", "dropped", "column dropped", "column of another type", "column added"],
)
def test_a_target_that_changed_meanwhile_is_planned_anew_by_the_next_attempt(
    warehouse: PostgresWarehouse, query: Query, way: str, before: str | None, meanwhile: str
) -> None:
    if before:
        query(before)
    plan, chunks = planned(table_of(1))
    load = LoadTrial(warehouse, way).open(plan.schema)
    query(meanwhile)

    with pytest.raises(WarehouseUnavailableError, match="while this load was on its way"):
        load.publish(plan, (load.step(chunk) for chunk in chunks), allow)

    assert (query.table(), query.count("load_ledger")) == ([], 0)


def test_a_target_cannot_change_while_a_publish_is_open(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    load = LoadTrial(warehouse, "direct").open(pa.schema({"id": pa.int64()}))
    assert isinstance(load, DirectLoad)

    with publishing(warehouse.url, load.load_id, load.target), query.open() as conn:
        conn.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute("ALTER TABLE sales.orders ALTER id TYPE timestamptz USING NULL")


# ── constraints ──────────────────────────────────────────────────────────────────────────────────

SET_ASIDE = {
    "not null": ("id bigint NOT NULL", table_of(1, None), "id"),
    "check": ("id bigint CONSTRAINT small CHECK (id < 10)", table_of(1, 11), None),
    "check of two columns": ("id bigint, n bigint, CHECK (id > n)", table_of(1, 2, n=[0, 5]), None),
    "domain": ("id sales.small", table_of(1, 11), "id"),
    "length": ("id bigint, x varchar(2)", table_of(1, 2, x=["ab", "abc"]), "x"),
    "enum": ("id bigint, x sales.mood", table_of(1, 2, x=["sad", "hungry"]), None),
    "json": ("id bigint, x json", table_of(1, 2, x=["{}", "{"]), "x"),
    "jsonb": ("id bigint, x jsonb", table_of(1, 2, x=["{}", '"\\u0000"']), "x"),
    "array": ("id bigint, x int[]", table_of(1, 2, x=["{1}", "1"]), None),
    "date out of range": ("id bigint, x date", table_of(1, 2, x=pa.array([0, 2**31 - 1], pa.date32())), "x"),
}


@pytest.fixture
def own_types(query: Query) -> None:
    """Make the types that some columns have."""
    query("CREATE DOMAIN sales.small AS bigint CHECK (VALUE < 10)")
    query("CREATE TYPE sales.mood AS ENUM ('happy', 'sad')")


@pytest.mark.usefixtures("own_types")
@pytest.mark.parametrize("case", SET_ASIDE)
def test_a_row_that_breaks_a_rule_of_the_table_is_set_aside_by_the_staged_way(
    warehouse: PostgresWarehouse, query: Query, case: str
) -> None:
    columns, rows, column = SET_ASIDE[case]
    query(f"CREATE TABLE sales.orders ({columns})")

    published = LoadTrial(warehouse, "staged").run(rows)

    assert published.account == Account(2, 1, 1)
    assert [row[0] for row in query.table()] == [1]
    assert query("SELECT position, rule, column_name FROM dataproc_load.reject") == [(1, "warehouse", column)]
    assert query("SELECT reason FROM dataproc_load.reject WHERE reason LIKE '%staging%'") == []


@pytest.mark.usefixtures("own_types")
@pytest.mark.parametrize("case", [case for case in SET_ASIDE if case not in ("enum", "array")])
def test_a_row_that_breaks_a_rule_of_the_table_fails_the_direct_way_as_a_whole(
    warehouse: PostgresWarehouse, query: Query, case: str
) -> None:
    columns, rows, _ = SET_ASIDE[case]
    query(f"CREATE TABLE sales.orders ({columns})")

    with pytest.raises(RowRefusedError, match="the warehouse refused a row"):
        LoadTrial(warehouse, "direct").run(rows)

    assert (query.table(), query.count("load_ledger")) == ([], 0)


CONFLICTS = {
    "unique": ("id bigint CONSTRAINT one_each UNIQUE", "one_each"),
    "primary key": ("id bigint CONSTRAINT the_key PRIMARY KEY", "the_key"),
    "deferred unique": ("id bigint CONSTRAINT late UNIQUE DEFERRABLE INITIALLY DEFERRED", "late"),
    "foreign key": ("id bigint CONSTRAINT known REFERENCES sales.customers", "known"),
    "deferred foreign key": ("id bigint CONSTRAINT soon REFERENCES sales.customers INITIALLY DEFERRED", "soon"),
    "exclusion": ("id bigint, CONSTRAINT alone EXCLUDE (id WITH =)", "alone"),
}


@WAYS
@pytest.mark.parametrize("case", CONFLICTS)
def test_rows_in_conflict_fail_the_load_by_the_name_of_the_constraint(
    warehouse: PostgresWarehouse, query: Query, way: str, case: str
) -> None:
    columns, constraint = CONFLICTS[case]
    query("CREATE TABLE sales.customers (id bigint PRIMARY KEY)")
    query("INSERT INTO sales.customers VALUES (5)")
    query(f"CREATE TABLE sales.orders ({columns})")
    query("INSERT INTO sales.orders VALUES (5)")

    if way == "direct" and case in {"unique", "primary key"}:
        with pytest.raises(RowRefusedError, match="found out in staging"):
            LoadTrial(warehouse, way).run(table_of(5, 6, 6))
    else:
        with pytest.raises(ContractViolationError, match=f'"{constraint}".*leave such rows out, or change') as raised:
            LoadTrial(warehouse, way).run(table_of(5, 6, 6))
        assert raised.value.context["constraint"] == constraint

    assert (query.table(), query.count("load_ledger"), query.count("reject")) == ([(5,)], 0, 0)


def test_an_error_of_the_warehouse_shows_no_value_of_a_row(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint, x json)")

    with pytest.raises(RowRefusedError) as raised:
        LoadTrial(warehouse, "direct").run(table_of(1, x=["secret"]))

    assert str(raised.value) == "the warehouse refused a row: invalid text representation, column x"


def test_a_preview_tells_how_a_target_would_be_made(warehouse: PostgresWarehouse, query: Query) -> None:
    preview = warehouse.preview(
        Destination(table="new.orders"), schema_of({"a b": pa.int8(), "c": pa.string()}), plan_of_size(0)
    )
    for statement in preview.statements:
        query(statement)

    assert not preview.exists
    assert preview.columns == (("a b", "smallint"), ("c", "text"))
    assert query.table("new.orders") == []
    assert warehouse.preview(Destination(table="new.orders"), pa.schema({"c": pa.string()}), plan_of_size(0)).exists


def test_preparing_twice_changes_nothing(warehouse: PostgresWarehouse, query: Query) -> None:
    assert warehouse.prepare() == warehouse.prepare() == query("SELECT version FROM dataproc_load.version")[0][0]


def test_the_version_of_the_server_is_told(warehouse: PostgresWarehouse, postgres_major: int) -> None:
    assert warehouse.check().startswith(f"{postgres_major}.")


def test_a_server_that_is_not_there_is_unavailable(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    nowhere = warehouse.url.partition("host=")[0] + f"host={tmp_path}"

    with pytest.raises(WarehouseUnavailableError, match="does not answer"):
        PostgresWarehouse(nowhere, 0).check()
