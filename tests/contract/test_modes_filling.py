"""Laws of loads into an empty table that has indexes: these are built after the data, and nothing is lost by that."""

from typing import Any

import pytest

from dataproc.domain.errors import ContractViolationError, RowRefusedError
from dataproc.warehouse.modes.filling import MANY
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import TABLE, LoadTrial, Query, rows_of_ids

MODES: dict[str, dict[str, Any]] = {"append": {"mode": "append"}, "merge": {"mode": "merge", "keys": ["id"]}}
LOADS = [("append", "direct"), ("append", "staged"), ("merge", "auto")]
OID = f"SELECT '{TABLE}'::regclass::oid"
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'sales' ORDER BY 1"


@pytest.fixture
def empty(query: Query) -> Query:
    """Give an empty table with indexes."""
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, note text DEFAULT 'new')")
    query(f"CREATE INDEX by_note ON {TABLE} (note)")
    return query


@pytest.mark.parametrize(("mode", "way"), LOADS)
def test_many_rows_come_with_a_new_table_that_has_the_same_indexes(
    warehouse: PostgresWarehouse, empty: Query, mode: str, way: str
) -> None:
    before, indexes = empty(OID), empty(INDEXES)

    published = LoadTrial(warehouse, way, terms=MODES[mode]).run(rows_of_ids(range(MANY)))

    assert empty(OID) != before
    assert empty(INDEXES) == indexes
    assert empty(f"SELECT count(*), sum(id), min(note) FROM {TABLE}") == [(MANY, MANY * (MANY - 1) // 2, "new")]
    assert (published.effect.inserted, published.effect.deleted) == (MANY, 0)
    assert published.effect.notes[0].startswith("sales.orders was empty")


@pytest.mark.parametrize(("mode", "way"), LOADS)
def test_a_few_rows_or_rows_beside_others_go_into_the_table_as_it_is(
    warehouse: PostgresWarehouse, empty: Query, mode: str, way: str
) -> None:
    before = empty(OID)

    LoadTrial(warehouse, way, terms=MODES[mode]).run(rows_of_ids([-1]))
    LoadTrial(warehouse, way, terms=MODES[mode]).run(rows_of_ids(range(MANY)))

    assert empty(OID) == before
    assert empty(f"SELECT count(*) FROM {TABLE}") == [(MANY + 1,)]


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_rows_that_break_an_index_leave_the_table_empty(warehouse: PostgresWarehouse, empty: Query, way: str) -> None:
    # Only rows that are staged can be named.
    kind, words = (RowRefusedError, "staging") if way == "direct" else (ContractViolationError, "orders_pkey")
    with pytest.raises(kind, match=words):
        LoadTrial(warehouse, way).run(rows_of_ids([*range(MANY), 7]))

    assert empty.table() == []


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_a_table_that_somebody_else_is_filling_is_not_exchanged(
    warehouse: PostgresWarehouse, empty: Query, way: str
) -> None:
    before = empty(OID)
    with empty.open() as other:
        other.execute(f"INSERT INTO {TABLE} VALUES (-1)".encode())
        LoadTrial(warehouse, way).run(rows_of_ids(range(MANY)))

    assert empty(OID) == before
    assert empty(f"SELECT count(*), min(id) FROM {TABLE}") == [(MANY + 1, -1)]
