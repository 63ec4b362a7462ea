"""Laws of contracts: what becomes of a target, and of rows, that do not look like each other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    ContractViolationError,
    DataprocError,
    FatalError,
    RowRefusedError,
    TargetRefusedError,
    WarehouseUnavailableError,
)
from dataproc.domain.fault_points import FaultPoint, hooked
from dataproc.ports.warehouse import Published, TargetPreview
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import plan_of_size
from tests.warehouses import ALWAYS_DIRECT, TABLE, LoadTrial, Query, a_load_id, allow, planned

pytestmark = pytest.mark.parametrize("postgres_major", [18, 15], indirect=True)

WAYS = pytest.mark.parametrize("way", ["direct", "staged"])
TYPES = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'sales.orders'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CATALOG = """
SELECT (SELECT string_agg(c::text, '|' ORDER BY c.oid) FROM pg_class c WHERE relkind <> 't'),
       (SELECT string_agg(concat(attrelid, attname, atttypid, atttypmod), '|' ORDER BY attrelid, attnum)
        FROM pg_attribute)
"""


@pytest.fixture
def warehouse(warehouse_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse with a schema for targets."""
    Query(warehouse_url)("CREATE SCHEMA sales")
    return PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)


def trial(warehouse: PostgresWarehouse, contract: object, way: str = "auto", **more: object) -> LoadTrial:
    return LoadTrial(warehouse, way, terms={"contract": contract, **more})


def table_of(*ids: int | None, **columns: object) -> pa.Table:
    values: dict[str, Any] = {"id": pa.array(ids, pa.int64()), **columns}
    return pa.table(values)


def seen(query: Query) -> dict[str, str]:
    return dict(query(TYPES))


def preview(warehouse: PostgresWarehouse, rows: pa.Table, contract: object, **more: object) -> TargetPreview:
    destination = Destination.model_validate({"table": TABLE, "contract": contract, **more})
    return warehouse.preview(destination, rows.schema, plan_of_size(10))


# ── evolve ───────────────────────────────────────────────────────────────────────────────────────


@WAYS
def test_evolve_adds_the_columns_that_the_target_lacks(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    query("INSERT INTO sales.orders VALUES (1)")

    published = trial(warehouse, "evolve", way).run(table_of(2, note=["new"], price=pa.array([1.5])))

    assert published == Published(TABLE, Account(1, 1), way)
    assert seen(query) == {"id": "bigint", "note": "text", "price": "double precision"}
    assert query.table() == [(1, None, None), (2, "new", 1.5)]


WIDENED = {
    "integer": ("smallint", pa.array([2**31 - 1], pa.int32()), "integer", 2**31 - 1),
    "bigint": ("integer", pa.array([2**40], pa.int64()), "bigint", 2**40),
    "unsigned": ("bigint", pa.array([2**64 - 1], pa.uint64()), "numeric(20,0)", 2**64 - 1),
    "double": ("real", pa.array([1e300]), "double precision", 1e300),
    "whole and fraction": ("integer", pa.array([1.5]), "double precision", 1.5),
    "text": ("varchar(2)", pa.array(["longer"]), "text", "longer"),
    "char": ("char(2)", pa.array(["longer"]), "text", "longer"),
    "decimal": ("numeric(4,2)", pa.array([12345], pa.int32()), "numeric(12,2)", 12345),
}


@WAYS
@pytest.mark.parametrize("case", WIDENED)
def test_evolve_widens_the_type_of_a_small_table(
    warehouse: PostgresWarehouse, query: Query, way: str, case: str
) -> None:
    before, values, after, value = WIDENED[case]
    query(f"CREATE TABLE sales.orders (id bigint, x {before})")
    query("INSERT INTO sales.orders VALUES (1, NULL)")

    trial(warehouse, "evolve", way).run(table_of(2, x=values))

    assert seen(query)["x"] == after
    assert query.table(binary=True) == [(1, None), (2, value)]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("bigint", pa.array([1], pa.int32())),
        ("numeric(12,2)", pa.array([1], pa.int16())),
        ("double precision", pa.array([1], pa.int64())),
        ("varchar", pa.array(["a"])),
        ("text", pa.array(["a"])),
        ("jsonb", pa.array(["{}"])),
        ("timestamptz", pa.array(["2026-01-01T00:00:00Z"])),
    ],
)
def test_evolve_leaves_a_column_alone_that_takes_the_values(
    warehouse: PostgresWarehouse, query: Query, column: str, values: "pa.Array[Any]"
) -> None:
    query(f"CREATE TABLE sales.orders (id bigint, x {column})")
    before = seen(query)

    trial(warehouse, "evolve").run(table_of(1, x=values))

    assert seen(query) == before
    assert query("SELECT count(x) FROM sales.orders") == [(1,)]


@WAYS
def test_text_that_no_wider_type_holds_is_left_to_postgresql(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x bigint)")
    rows = table_of(1, 2, x=["1", "one"])

    if way == "direct":
        with pytest.raises(RowRefusedError, match=r"column x is bigint.* position 1 of u0") as raised:
            trial(warehouse, "evolve", way).run(rows)
        assert raised.value.context["column"] == "x"
    else:
        trial(warehouse, "evolve", way).run(rows)

    expected: list[object] = [] if way == "direct" else [(1, 1)]
    assert (query.table(), seen(query)["x"]) == (expected, "bigint")


# ── unsafe changes ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def large_table(query: Query) -> None:
    """Make a table that is too large to be written anew without asking."""
    query("CREATE UNLOGGED TABLE sales.orders (id bigint, x integer, filler text) WITH (fillfactor = 10)")
    query("ALTER TABLE sales.orders ALTER filler SET STORAGE PLAIN")
    query("INSERT INTO sales.orders SELECT n, n, repeat('x', 700) FROM generate_series(1, 9000) AS n")


@pytest.mark.usefixtures("large_table")
def test_a_large_table_is_written_anew_only_when_its_fingerprint_is_accepted(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    rows = table_of(0, x=pa.array([2**40], pa.int64()))
    with pytest.raises(
        ContractViolationError, match=r"not safe: ALTER TABLE .*\"x\" TYPE bigint .*written anew"
    ) as raised:
        trial(warehouse, "evolve").open(rows.schema)
    fingerprint = raised.value.context["fingerprint"]
    assert seen(query)["x"] == "integer"

    trial(warehouse, "evolve", accept=fingerprint).run(rows)

    assert seen(query)["x"] == "bigint"
    assert query("SELECT x FROM sales.orders WHERE id = 0") == [(2**40,)]


@pytest.mark.usefixtures("large_table")
def test_a_fingerprint_does_not_hold_for_another_change(warehouse: PostgresWarehouse) -> None:
    planned_change = preview(warehouse, table_of(0, x=pa.array([1], pa.int64())), "evolve")
    other = table_of(0, x=pa.array([1.5]))

    with pytest.raises(ContractViolationError, match="not safe"):
        trial(warehouse, "evolve", accept=planned_change.fingerprint).open(other.schema)

    assert not preview(warehouse, other, "evolve", accept=planned_change.fingerprint).accepted


@pytest.mark.usefixtures("large_table")
def test_a_large_table_gets_a_column_without_asking(warehouse: PostgresWarehouse, query: Query) -> None:
    trial(warehouse, "evolve").run(table_of(0, more=["a"]))

    assert query("SELECT more FROM sales.orders WHERE id = 0") == [("a",)]


def test_days_become_moments_only_when_that_is_accepted(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint, x date)")
    rows = table_of(1, x=pa.array([0], pa.timestamp("us")))

    told = preview(warehouse, rows, "evolve")
    with pytest.raises(ContractViolationError, match="days become moments"):
        trial(warehouse, "evolve").open(rows.schema)
    trial(warehouse, "evolve", accept=told.fingerprint).run(rows)

    assert seen(query)["x"] == "timestamp without time zone"


REFUSED = {
    "view": ("CREATE VIEW sales.big AS SELECT x FROM sales.orders", r"column x .*rule _RETURN on view sales\.big"),
    "materialized view": (
        "CREATE MATERIALIZED VIEW sales.big AS SELECT x FROM sales.orders",
        r"rule _RETURN on materialized view sales\.big",
    ),
    "generated column": (
        "ALTER TABLE sales.orders ADD COLUMN twice bigint GENERATED ALWAYS AS (x * 2) STORED",
        r"default value for column twice of table sales\.orders",
    ),
    "trigger": (
        "CREATE FUNCTION sales.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TRIGGER on_x BEFORE UPDATE OF x ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.f()",
        r"trigger on_x on table sales\.orders",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_type_on_which_something_stands_is_not_changed_and_it_is_named(
    warehouse: PostgresWarehouse, query: Query, case: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x integer DEFAULT 3)")
    statement, named = REFUSED[case]
    query(statement)

    with pytest.raises(TargetRefusedError, match=named + ".*drop that and make it again, or cast"):
        trial(warehouse, "evolve").open(table_of(1, x=pa.array([1], pa.int64())).schema)


def test_the_types_of_a_partitioned_table_are_not_changed(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint, x integer) PARTITION BY RANGE (id)")
    query("CREATE TABLE sales.low PARTITION OF sales.orders FOR VALUES FROM (0) TO (10)")

    with pytest.raises(TargetRefusedError, match=r"sales\.orders is partitioned, and 'x'.*by hand"):
        trial(warehouse, "evolve").open(table_of(1, x=pa.array([1], pa.int64())).schema)


@WAYS
def test_a_partitioned_table_gets_a_column_in_every_partition(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint) PARTITION BY RANGE (id)")
    query("CREATE TABLE sales.low PARTITION OF sales.orders FOR VALUES FROM (0) TO (10)")

    trial(warehouse, "evolve", way).run(table_of(1, note=["a"]))

    assert query.table("sales.low") == [(1, "a")]


def test_a_partition_is_changed_with_its_parent_or_not_at_all(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.every (id bigint) PARTITION BY RANGE (id)")
    query("CREATE TABLE sales.orders PARTITION OF sales.every FOR VALUES FROM (0) TO (10)")

    with pytest.raises(TargetRefusedError, match=r"sales\.orders is a partition of sales\.every"):
        trial(warehouse, "evolve").open(table_of(1, note=["a"]).schema)


def test_a_table_does_not_grow_beyond_what_postgresql_holds(warehouse: PostgresWarehouse, query: Query) -> None:
    query(f"CREATE TABLE sales.orders ({', '.join(f'c{i} int' for i in range(1600))})")

    with pytest.raises(ContractViolationError, match="would have 1601 columns"):
        trial(warehouse, "evolve").open(table_of(1).schema)


# ── freeze, and no contract ──────────────────────────────────────────────────────────────────────

FROZEN = {
    "column added": ("id bigint", table_of(1, note=["a"]), "has no column 'note'"),
    "column missing": ("id bigint, x text", table_of(1), "is frozen, and the source lacks 'x'"),
    "narrower type": ("id integer", table_of(1), r"column id of .* is frozen as integer, and the source has int64 "),
    "other kind": ("id bigint, x bigint", table_of(1, x=["1"]), r"frozen as bigint, .* has string \(text\); cast it"),
    "moments for days": (
        "id bigint, x date",
        table_of(1, x=pa.array([0], pa.timestamp("us"))),
        "frozen as date, and the source has timestamp",
    ),
}


@pytest.mark.parametrize("case", FROZEN)
def test_a_frozen_target_refuses_any_drift_before_anything_is_read(
    warehouse: PostgresWarehouse, query: Query, case: str
) -> None:
    columns, rows, problem = FROZEN[case]
    query(f"CREATE TABLE sales.orders ({columns})")
    before = query(CATALOG)

    with pytest.raises(ContractViolationError, match=problem):
        trial(warehouse, "freeze").open(rows.schema)

    assert query(CATALOG) == before


@WAYS
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("id bigint, x int DEFAULT 3, y bigint GENERATED ALWAYS AS IDENTITY", table_of(1)),
        ("id numeric", table_of(1)),
        ("id bigint, x varchar(5)", table_of(1, x=["a"])),
        ("id bigint, x uuid", table_of(1, x=["6ba7b810-9dad-11d1-80b4-00c04fd430c8"])),
        ("id bigint, x jsonb", table_of(1, x=["{}"])),
    ],
)
def test_a_frozen_target_takes_rows_that_look_like_it(
    warehouse: PostgresWarehouse, query: Query, way: str, columns: str, rows: pa.Table
) -> None:
    query(f"CREATE TABLE sales.orders ({columns})")

    assert trial(warehouse, "freeze", way).run(rows).account == Account(1, 1)


@WAYS
def test_a_frozen_target_that_is_not_there_is_made(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    trial(warehouse, "freeze", way).run(table_of(1, note=["a"]))

    assert query.table() == [(1, "a")]


def test_without_a_contract_a_target_is_never_changed(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id integer, x text)")

    with pytest.raises(ContractViolationError, match=r"has no column 'note'.*write `contract: evolve`"):
        LoadTrial(warehouse).open(table_of(1, note=["a"]).schema)
    LoadTrial(warehouse).run(table_of(1))

    assert (seen(query), query.table()) == ({"id": "integer", "x": "text"}, [(1, None)])


# ── discard ──────────────────────────────────────────────────────────────────────────────────────

MISFITS: dict[str, tuple[str, Any, list[object] | None]] = {
    "text in numbers": ("bigint", pa.array(["1", "one", None]), [1, None, None]),
    "too large": ("smallint", pa.array([1, 70_000, None], pa.int64()), [1, None, None]),
    "fraction": ("bigint", pa.array([1.0, 1.5, None]), [1, None, None]),
    "too long": ("varchar(3)", pa.array(["abc", "abcd", None]), ["abc", None, None]),
    "no uuid": ("uuid", pa.array(["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "x", None]), None),
    "never": ("boolean", pa.array([None, b"x", None], pa.binary()), [None, None, None]),
    "nested": ("bigint", pa.array([None, {"a": 1}, None]), [None, None, None]),
}


@WAYS
@pytest.mark.parametrize("case", MISFITS)
def test_a_value_that_does_not_fit_is_discarded_and_counted(
    warehouse: PostgresWarehouse, query: Query, way: str, case: str
) -> None:
    column, values, expected = MISFITS[case]
    query(f"CREATE TABLE sales.orders (id bigint, x {column})")
    told: list[LoadedChunk] = []

    published = loaded(trial(warehouse, "discard_value", way), table_of(1, 2, 3, x=values), told)

    assert published == Account(3, 3)
    assert [chunk.discarded for chunk in told] == [(("x", 1),)]
    if expected is not None:
        assert query.table() == list(zip((1, 2, 3), expected, strict=True))
    assert query.count("reject") == 0


@WAYS
@pytest.mark.parametrize("case", MISFITS)
def test_a_row_with_a_value_that_does_not_fit_is_set_aside(
    warehouse: PostgresWarehouse, query: Query, way: str, case: str
) -> None:
    column, values, _ = MISFITS[case]
    query(f"CREATE TABLE sales.orders (id bigint, x {column})")

    published = trial(warehouse, "discard_row", way).run(table_of(1, 2, 3, x=values))

    assert published.account == Account(3, 2, 1)
    assert [row[0] for row in query.table()] == [1, 3]
    assert query("SELECT unit, position, rule, column_name FROM dataproc_load.reject") == [("u0", 1, "contract", "x")]


@WAYS
def test_a_column_that_the_target_lacks_is_left_out(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    told: list[LoadedChunk] = []

    published = loaded(trial(warehouse, "discard_value", way), table_of(1, 2, note=["a", None]), told)

    assert (published, told[0].discarded) == (Account(2, 2), (("note", 1),))
    assert (seen(query), query.table()) == ({"id": "bigint"}, [(1,), (2,)])


@WAYS
def test_rows_with_a_value_that_the_target_has_no_column_for_are_set_aside(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint)")

    published = trial(warehouse, "discard_row", way).run(table_of(1, 2, note=["secret", None]))

    assert (published.account, query.table()) == (Account(2, 1, 1), [(2,)])
    [(reason, row)] = query("SELECT reason, raw_row FROM dataproc_load.reject")
    assert reason == "the target has no column note"
    assert "secret" in row


@WAYS
def test_a_column_that_must_not_be_null_sets_the_row_aside_instead(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x smallint NOT NULL)")

    published = trial(warehouse, "discard_value", way).run(table_of(1, 2, x=pa.array([1, 70_000], pa.int64())))

    assert (published.account, query.table()) == (Account(2, 1, 1), [(1, 1)])


@WAYS
def test_each_column_has_its_own_contract(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE TABLE sales.orders (id bigint, a smallint, b smallint, c smallint)")
    large = pa.array([1, 70_000], pa.int64())
    contract = {"default": "evolve", "columns": {"a": "discard_value", "b": "discard_row", "gone": "discard_value"}}
    told: list[LoadedChunk] = []

    rows = table_of(1, 2, a=pa.array([70_000, 1], pa.int64()), b=large, c=large, gone=["x", "y"])
    published = loaded(trial(warehouse, contract, way), rows, told)

    assert published == Account(2, 1, 1)
    assert query.table() == [(1, None, 1, 1)]
    assert dict(told[0].discarded) == {"a": 1, "gone": 1}
    assert seen(query) == {"id": "bigint", "a": "smallint", "b": "smallint", "c": "bigint"}


def loaded(one: LoadTrial, rows: pa.Table, told: list[LoadedChunk]) -> Account:
    """Load rows; tell the accounts of their chunks."""
    plan, chunks = planned(rows)
    load = one.open(plan.schema, plan)

    def results() -> Iterator[LoadedChunk]:
        for chunk in chunks:
            told.append(done := load.step(chunk))
            yield done

    return load.publish(plan, results(), allow).account


def test_what_an_earlier_epoch_has_discarded_is_told_by_the_next_one(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x smallint)")
    first = trial(warehouse, "discard_value", "staged")
    plan, chunks = planned(table_of(1, 2, x=pa.array([1, 70_000], pa.int64())))
    load = first.open(plan.schema, plan)
    for chunk in chunks:
        load.step(chunk)

    later = replace(first, load_id=a_load_id(2, first.load_id.job_id)).open(plan.schema, plan)

    assert [chunk.discarded for chunk in later.staged_before] == [(("x", 1),)]
    assert later.publish(plan, iter(later.staged_before), allow).account == Account(2, 2)


# ── at once, and in the middle ───────────────────────────────────────────────────────────────────


@WAYS
def test_of_two_runs_that_add_the_same_column_one_is_tried_again(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint)")
    rows = [table_of(1, note=["a"]), table_of(2, note=["b"])]
    loads = []
    for each in rows:
        plan, chunks = planned(each)
        loads.append((trial(warehouse, "evolve", way).open(plan.schema, plan), plan, chunks))

    def publish(at: int) -> DataprocError | None:
        load, plan, chunks = loads[at]
        try:
            load.publish(plan, (load.step(chunk) for chunk in chunks), allow)
        except WarehouseUnavailableError as exc:
            return exc
        return None

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(publish, range(2)))
    assert [end is None for end in ends].count(True) == 1
    [again] = [at for at, end in enumerate(ends) if end is not None]
    trial(warehouse, "evolve", way).run(rows[again])

    assert query.table() == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("way", "point"),
    [
        ("direct", FaultPoint.COPIED),
        ("direct", FaultPoint.COMMITTING),
        ("staged", FaultPoint.PUBLISH_FENCED),
        ("staged", FaultPoint.COMMITTING),
    ],
)
def test_a_publish_that_is_killed_after_the_change_leaves_the_target_as_it_was(
    warehouse: PostgresWarehouse, query: Query, way: str, point: FaultPoint
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x integer)")
    rows = table_of(1, x=pa.array([2**40], pa.int64()), note=["a"])

    def kill(at: FaultPoint) -> None:
        if at is point:
            changed = (
                "SELECT 1 FROM pg_locks WHERE relation = 'sales.orders'::regclass AND mode = 'AccessExclusiveLock'"
            )
            assert query(changed)
            query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    with hooked(kill), pytest.raises(WarehouseUnavailableError):
        trial(warehouse, "evolve", way).run(rows)
    assert (seen(query), query.table(), query.count("load_ledger")) == ({"id": "bigint", "x": "integer"}, [], 0)

    trial(warehouse, "evolve", way).run(rows)

    assert query.table() == [(1, 2**40, "a")]


def test_a_change_waits_only_a_while_for_those_who_read(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint)")

    with query.open() as reader:
        reader.execute("SELECT * FROM sales.orders")
        with pytest.raises(WarehouseUnavailableError, match="it is asked again"):
            trial(warehouse, "evolve").run(table_of(1, note=["a"]))

    assert seen(query) == {"id": "bigint"}
    trial(warehouse, "evolve").run(table_of(1, note=["a"]))


# ── plans ────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_tells_the_change_and_makes_none(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id integer, old text)")
    before = query(CATALOG)

    told = preview(warehouse, table_of(1, note=["a"]), "evolve")

    assert [(each.statement, each.unsafe) for each in told.changes] == [
        ('ALTER TABLE "sales"."orders" ALTER COLUMN "id" TYPE bigint', None),
        ('ALTER TABLE "sales"."orders" ADD COLUMN "note" text', None),
    ]
    assert (told.accepted, told.statements, told.way) == (True, (), "staged")
    assert told.columns == (("id", "bigint"), ("note", "text"))
    assert query(CATALOG) == before


def test_a_plan_tells_what_our_role_lacks(warehouse: PostgresWarehouse, query: Query) -> None:
    told = preview(warehouse, table_of(1), {})

    assert [(each.what, each.granted) for each in told.permissions] == [
        ("make sales.orders", True),
        ("keep the ledger in dataproc_load", True),
    ]
    query("CREATE TABLE sales.orders (id bigint)")
    assert [each.what for each in preview(warehouse, table_of(1), {}).permissions] == [
        "use the schema sales",
        "INSERT in sales.orders",
        "SELECT in sales.orders",
        "keep the ledger in dataproc_load",
    ]


@pytest.fixture
def poor_role(query: Query, role: str) -> Iterator[str]:
    """Give a role that may do nothing."""
    query(f"CREATE ROLE {role} LOGIN")
    yield role
    query(f"DROP OWNED BY {role}")
    query(f"DROP ROLE {role}")


def test_a_role_that_may_do_nothing_is_told_all_that_it_lacks(
    warehouse: PostgresWarehouse, query: Query, poor_role: str
) -> None:
    theirs = PostgresWarehouse(warehouse.url.replace("postgres@", f"{poor_role}@"), ALWAYS_DIRECT)

    missing = preview(theirs, table_of(1), {})
    query("CREATE TABLE sales.orders (id bigint)")
    query(f"ALTER TABLE sales.orders OWNER TO {poor_role}")
    hidden = preview(theirs, table_of(1), {})

    assert {each.granted for each in (*missing.permissions, *hidden.permissions)} == {False}
    assert [each.what for each in missing.permissions] == ["make sales.orders", "keep the ledger in dataproc_load"]
    assert hidden.permissions[0].what == "use the schema sales"


def test_a_plan_of_a_column_that_is_discarded_tells_its_name(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint)")

    assert preview(warehouse, table_of(1, note=["a"]), "discard_row").left_out == ("note",)


@pytest.mark.parametrize("kind", ["evolve", "freeze", "discard_value", "discard_row"])
def test_no_contract_gives_null_to_a_column_that_must_have_a_value(
    warehouse: PostgresWarehouse, query: Query, kind: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, x text NOT NULL)")

    with pytest.raises(FatalError, match="needs a value that the source lacks for 'x'"):
        trial(warehouse, kind).open(table_of(1).schema)
