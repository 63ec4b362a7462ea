"""A trigger, a rule or a policy that keeps rows which a load deletes or closes makes the load fail, in every mode."""

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import CountMismatchError, TargetRefusedError
from dataproc.domain.unit import SourcePlan
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import TABLE, WAYS, LoadTrial, Query, a_load_id, allow, going, planned

KEYS: dict[str, Any] = {"keys": ["id"]}
NO = (
    "CREATE FUNCTION sales.no() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN IF OLD.id = 1 THEN RETURN NULL; ELSIF TG_OP = ''DELETE'' THEN RETURN OLD; END IF; RETURN NEW; END'"
)
DELETES: dict[str, dict[str, Any]] = {
    "flagged": {"mode": "merge", **KEYS, "delete_flag": "gone"},
    "missing": {"mode": "merge", **KEYS, "merge": "delete_missing"},
    "in place": {"mode": "replace", "replace": "in_place"},
    "partition": {"mode": "replace_partition", "partition": {"by": ["kind"]}},
    "partition of nulls": {"mode": "replace_partition", "partition": {"by": ["nothing"]}},
}
UPDATES: dict[str, dict[str, Any]] = {
    "changed": {"mode": "scd2", **KEYS},
    "closed": {"mode": "scd2", **KEYS, "versions": {"missing": "close"}},
    "corrected": {"mode": "scd2", **KEYS, "versions": {"effective": "since"}},
}
VERSIONS = ", valid_from timestamptz, valid_to timestamptz, is_current boolean"
COLUMNS = "id bigint, name text, kind text, nothing text, gone boolean, since date"
KEEPERS = {
    "trigger": "CREATE TRIGGER no BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION sales.no()",
    "rule": "CREATE RULE no AS ON {event} TO {table} WHERE old.id = 1 DO INSTEAD NOTHING",
}


def rows(*ids: int, name: str = "new", gone: bool = False) -> pa.Table:
    """Return rows of one kind."""
    count = len(ids)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "name": [name] * count,
            "kind": ["a"] * count,
            "nothing": pa.nulls(count, pa.string()),
            "gone": [gone] * count,
            "since": pa.array([date(2026, 1, 1)] * count),
        }
    )


@pytest.fixture(params=WAYS)
def warehouse(warehouse: PostgresWarehouse, request: pytest.FixtureRequest) -> PostgresWarehouse:
    """Give a warehouse that loads by each way."""
    return going(warehouse, request.param)


def make(query: Query, *, versions: bool, partitioned: bool = False) -> None:
    """Make the table with two rows."""
    query("CREATE SCHEMA sales")
    by = " PARTITION BY LIST (kind)" if partitioned else ""
    query(f"CREATE TABLE {TABLE} ({COLUMNS}{VERSIONS if versions else ''}){by}")
    if partitioned:
        query(f"CREATE TABLE sales.part PARTITION OF {TABLE} DEFAULT")
    more = ", '2026-01-01', NULL, true" if versions else ""
    for number in (1, 2):
        query(f"INSERT INTO {TABLE} VALUES ({number}, 'old', 'a', NULL, false, '2026-01-01'{more})")
    query(NO)


def load(warehouse: PostgresWarehouse, name: str, terms: dict[str, Any]) -> None:
    """Load what would delete or close row 1."""
    arriving = {"flagged": rows(1, 2, gone=True), "missing": rows(2, name="old"), "closed": rows(2, name="old")}
    LoadTrial(warehouse, terms=terms).run(arriving.get(name, rows(1, 2)))


@pytest.mark.parametrize("keeper", KEEPERS)
@pytest.mark.parametrize("deleting", DELETES)
def test_rows_that_are_kept_from_being_deleted_fail_the_load(
    warehouse: PostgresWarehouse, query: Query, deleting: str, keeper: str
) -> None:
    make(query, versions=False)
    query(KEEPERS[keeper].format(event="DELETE", table=TABLE))
    before = query.table()

    # PostgreSQL itself refuses a DELETE with RETURNING, which `replace` sends, on a table with such a rule.
    refused = (TargetRefusedError, "cannot perform DELETE RETURNING")
    kept = (CountMismatchError, r"^1 rows of sales.orders were to be deleted and are still there")
    error, message = refused if (deleting, keeper) == ("in place", "rule") else kept
    with pytest.raises(error, match=message):
        load(warehouse, deleting, DELETES[deleting])

    assert query.table() == before


@pytest.mark.parametrize("changing", UPDATES)
def test_versions_that_are_kept_from_being_closed_or_corrected_fail_the_load(
    warehouse: PostgresWarehouse, query: Query, changing: str
) -> None:
    make(query, versions=True)
    query(KEEPERS["trigger"].format(event="UPDATE", table=TABLE))
    before = query.table()

    with pytest.raises(CountMismatchError, match=r"^1 rows of sales.orders were to be c\w+ and are still there"):
        load(warehouse, changing, UPDATES[changing])

    assert query.table() == before


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("action", ["NOTHING", "INSERT INTO sales.others VALUES (new.*)"])
@pytest.mark.parametrize("terms", [{}, {"mode": "replace"}, DELETES["flagged"], DELETES["partition"]])
def test_a_target_whose_rule_does_something_else_instead_is_refused(
    warehouse: PostgresWarehouse, query: Query, event: str, action: str, terms: dict[str, Any]
) -> None:
    make(query, versions=False)
    query(f"CREATE TABLE sales.others (LIKE {TABLE})")
    query(f"CREATE RULE elsewhere AS ON {event} TO {TABLE} DO INSTEAD {action}")
    before = query.table()

    with pytest.raises(TargetRefusedError, match=r"^sales.orders: its rule elsewhere does something else INSTEAD"):
        LoadTrial(warehouse, terms=terms).run(rows(1, 3))

    assert (query.table(), query.table("sales.others")) == (before, [])


@pytest.mark.parametrize("deleting", DELETES)
def test_a_trigger_of_a_partition_counts_as_well(warehouse: PostgresWarehouse, query: Query, deleting: str) -> None:
    make(query, versions=False, partitioned=True)
    query(KEEPERS["trigger"].format(event="DELETE", table="sales.part"))

    with pytest.raises(CountMismatchError, match="still there"):
        load(warehouse, deleting, DELETES[deleting])


@pytest.mark.parametrize("terms", [*DELETES.values(), UPDATES["closed"]])
def test_a_load_without_any_column_leaves_no_kept_row_behind_either(
    warehouse: PostgresWarehouse, query: Query, terms: dict[str, Any]
) -> None:
    versions = terms["mode"] == "scd2"
    make(query, versions=versions)
    query(KEEPERS["trigger"].format(event="UPDATE" if versions else "DELETE", table=TABLE))
    before = query.table()
    trial = LoadTrial(warehouse, terms=terms)

    if terms["mode"] == "replace" or "delete_missing" in terms.values() or versions:
        with pytest.raises(CountMismatchError, match="still there"):
            trial.publish(SourcePlan((), pa.schema([])), [])
    else:
        trial.publish(SourcePlan((), pa.schema([])), [])

    assert query.table() == before


@pytest.mark.parametrize("deleting", DELETES)
def test_a_trigger_that_lets_rows_go_is_no_obstacle(warehouse: PostgresWarehouse, query: Query, deleting: str) -> None:
    make(query, versions=False)
    query(KEEPERS["trigger"].format(event="DELETE", table=TABLE))
    query(f"UPDATE {TABLE} SET id = id + 10")

    load(warehouse, deleting, DELETES[deleting])

    assert all(row[0] < 10 for row in query.table()) or deleting == "flagged"


@pytest.mark.parametrize("mode", ["append", "merge", "replace"])
def test_a_target_whose_policies_hide_rows_from_our_role_is_refused(
    warehouse: PostgresWarehouse, plain_role: PostgresWarehouse, query: Query, role: str, mode: str
) -> None:
    make(query, versions=False)
    query(f"GRANT ALL ON SCHEMA sales TO {role}")
    query(f"ALTER TABLE {TABLE} OWNER TO {role}")
    query(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    loader = LoadTrial(plain_role, terms={"mode": mode, **(KEYS if mode == "merge" else {})})
    loader.run(rows(1, 3))
    before = query.table()
    query(f"CREATE POLICY late ON {TABLE} USING (id > 1)")
    query(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")

    with pytest.raises(TargetRefusedError, match=r"^sales.orders: its row security policies hide rows from our role"):
        replace(loader, load_id=a_load_id()).run(rows(1, 3))

    assert query.table() == before


def test_a_policy_that_comes_while_rows_are_read_fails_the_load(
    plain_role: PostgresWarehouse, query: Query, role: str
) -> None:
    make(query, versions=False)
    query(f"GRANT ALL ON SCHEMA sales TO {role}")
    query(f"ALTER TABLE {TABLE} OWNER TO {role}")
    trial = LoadTrial(plain_role, terms={"mode": "merge", **KEYS})
    plan, chunks = planned(rows(1, 3))
    load = trial.open(plan.schema, plan)
    query(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    with pytest.raises(TargetRefusedError, match=r"row.security polic"):
        load.publish(plan, (load.step(chunk) for chunk in chunks), allow)
