"""Laws of `scd2`: every version of a row stays, with the time for which it held."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import BadDataError, ContractViolationError, RowRefusedError
from dataproc.ports.warehouse import Published
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.faults.invariants import broken_versions
from tests.warehouses import TABLE, WAYS, LoadTrial, Query, going

SCD2: dict[str, Any] = {"mode": "scd2", "keys": ["id"]}
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
COLUMN_NAMES = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'sales'"
VERSIONS = f"SELECT id, name, valid_from, valid_to, is_current FROM {TABLE} ORDER BY id, valid_from"


def rows(*triples: tuple[int, str, datetime | None]) -> pa.Table:
    """Return rows of an id, a name, and since when."""
    ids, names, since = zip(*triples, strict=True)
    return pa.table(
        {"id": pa.array(ids, pa.int64()), "name": pa.array(names), "since": pa.array(since, pa.timestamp("us", "UTC"))}
    )


def load(warehouse: PostgresWarehouse, table: pa.Table, **versions: Any) -> Published:
    """Load versions; they are effective since the column `since`."""
    return LoadTrial(warehouse, terms={**SCD2, "versions": {"effective": "since", **versions}}).run(table)


@pytest.fixture(params=WAYS)
def warehouse(warehouse: PostgresWarehouse, request: pytest.FixtureRequest) -> PostgresWarehouse:
    """Give a warehouse that loads by each way."""
    return going(warehouse, request.param)


@pytest.fixture(autouse=True)
def versions_follow_each_other(query: Query) -> Iterator[None]:
    """Demand after each test that the versions of a key do not overlap, and that one of them holds at most."""
    yield
    names = [name for (name,) in query(COLUMN_NAMES)]
    if {"valid_from", "is_current"} <= set(names):
        assert query(broken_versions(TABLE, ["id"])) == []
    elif "holds" in names:
        assert query(broken_versions(TABLE, ["id"], ("from", "to", "holds"))) == []


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
def test_a_changed_row_closes_its_version_and_adds_one(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", MONDAY), (2, "bob", MONDAY)))

    published = load(warehouse, rows((1, "Ann", TUESDAY), (2, "bob", TUESDAY), (3, "cem", TUESDAY)))

    assert query(VERSIONS) == [
        (1, "ann", MONDAY, TUESDAY, False),
        (1, "Ann", TUESDAY, None, True),
        (2, "bob", MONDAY, None, True),
        (3, "cem", TUESDAY, None, True),
    ]
    effect = published.effect
    assert (effect.inserted, effect.updated, effect.deleted, effect.unchanged) == (2, 1, 0, 1)


def test_without_a_column_for_it_a_version_begins_with_its_load(warehouse: PostgresWarehouse, query: Query) -> None:
    for name in ("ann", "ann", "Ann"):
        LoadTrial(warehouse, terms=SCD2).run(rows((1, name, MONDAY)))

    [first, second] = query(VERSIONS)

    assert first[1:] == ("ann", first[2], second[2], False)
    assert second[1:] == ("Ann", second[2], None, True)
    assert first[2] < second[2]


def test_missing_keys_are_kept_unless_they_are_to_be_closed(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", MONDAY), (2, "bob", MONDAY)))

    load(warehouse, rows((2, "bob", TUESDAY)))
    kept = query(VERSIONS)
    published = load(warehouse, rows((2, "bob", TUESDAY)), missing="close")
    closed = query(VERSIONS)
    load(warehouse, rows((1, "ann", datetime.now(UTC) + timedelta(days=1))))

    assert [row[-1] for row in kept] == [True, True]
    assert [(row[0], row[-1], row[3] is None) for row in closed] == [(1, False, False), (2, True, True)]
    assert published.effect.updated == 1
    assert [(row[0], row[-1]) for row in query(VERSIONS)] == [(1, False), (1, True), (2, True)]


def test_a_row_that_is_older_than_what_holds_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", TUESDAY)))

    with pytest.raises(BadDataError, match=r"1 rows are older \(since\) .* the first is u0, row 1"):
        load(going(warehouse, "staged"), rows((2, "bob", MONDAY), (1, "Ann", MONDAY)))
    with pytest.raises(RowRefusedError, match="staging"):
        load(going(warehouse, "direct"), rows((2, "bob", MONDAY), (1, "Ann", MONDAY)))

    assert query(VERSIONS) == [(1, "ann", TUESDAY, None, True)]


def test_a_row_of_the_same_time_corrects_its_version(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", MONDAY)))

    published = load(warehouse, rows((1, "Ann", MONDAY)))

    assert query(VERSIONS) == [(1, "Ann", MONDAY, None, True)]
    assert (published.effect.inserted, published.effect.updated) == (0, 1)


def test_the_columns_of_versions_have_the_names_that_are_wanted(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", MONDAY)), valid_from="from", valid_to="to", is_current="holds")

    assert query(f'SELECT "from", "to", holds FROM {TABLE}') == [(MONDAY, None, True)]


def test_an_existing_table_without_these_columns_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    LoadTrial(warehouse).run(rows((1, "ann", MONDAY)))

    with pytest.raises(ContractViolationError, match=r"versions: sales\.orders has no column 'valid_from'"):
        load(warehouse, rows((1, "ann", MONDAY)))


def test_a_source_that_has_these_columns_is_refused(warehouse: PostgresWarehouse) -> None:
    table = rows((1, "ann", MONDAY)).append_column("valid_to", pa.array(["x"]))

    with pytest.raises(ContractViolationError, match="versions: the source has a column 'valid_to' of its own"):
        load(warehouse, table)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (rows((1, "ann", MONDAY), (1, "Ann", TUESDAY)), "1 rows have the same keys"),
        (rows((1, "ann", None)), "1 rows have null in 'since'"),
    ],
)
def test_rows_that_leave_it_open_what_holds_are_refused(
    warehouse: PostgresWarehouse, query: Query, table: pa.Table, told: str
) -> None:
    with pytest.raises(BadDataError, match=told):
        load(warehouse, table)

    assert not query.exists()


def test_a_date_begins_at_midnight_of_utc_whatever_the_zone_of_the_database(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    query("ALTER DATABASE " + query("SELECT current_database()")[0][0] + " SET TimeZone = 'Pacific/Auckland'")
    table = rows((1, "ann", MONDAY))

    load(warehouse, table.set_column(2, "since", table["since"].cast(pa.date32())))

    assert query(VERSIONS) == [(1, "ann", MONDAY, None, True)]


def test_two_versions_cannot_hold_at_once(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", MONDAY)))

    assert query("SELECT indexdef FROM pg_indexes WHERE schemaname = 'sales'") == [
        ("CREATE UNIQUE INDEX orders_id_idx ON sales.orders USING btree (id) WHERE is_current",)
    ]


CLOSING = {"missing": "close"}
LATE = MONDAY + timedelta(days=9999)
COMES_BACK: dict[str, tuple[dict[str, Any], list[tuple[str, datetime]], tuple[int, int]]] = {
    "with its old time": (CLOSING, [("bob", MONDAY)], (2, 2)),
    "with its old time, and is corrected at the same time": (CLOSING, [("bob", MONDAY), ("Bob", MONDAY)], (2, 2)),
    "with its old time, and is corrected at a later one": (CLOSING, [("bob", MONDAY), ("Bob", TUESDAY)], (2, 3)),
    "with its old time, and changes later": (CLOSING, [("bob", MONDAY), ("Bob", LATE)], (3, 3)),
    "with a later time": (CLOSING, [("bob", LATE)], (2, 2)),
    "without an effective time": ({"effective": None}, [("bob", MONDAY)], (2, 2)),
}
"""How key 2 comes back after it was closed: the options, one load after the other, and how many versions there are then
when the first of them began in the past, and in the future."""


@pytest.mark.parametrize("is_future", [False, True], ids=["past", "future"])
@pytest.mark.parametrize("how", COMES_BACK)
def test_a_key_that_was_closed_and_comes_back_has_versions_that_follow_each_other(
    warehouse: PostgresWarehouse, query: Query, how: str, *, is_future: bool
) -> None:
    versions, loads, counts = COMES_BACK[how]
    first = MONDAY + timedelta(days=9000) if is_future else MONDAY
    shift = first - MONDAY if versions == CLOSING else timedelta(0)
    load(warehouse, rows((1, "ann", first), (2, "bob", first)), **CLOSING)
    load(warehouse, rows((1, "ann", first)), **CLOSING)

    for name, since in loads:
        load(warehouse, rows((1, "ann", first), (2, name, since + shift)), **versions)
        assert query(broken_versions(TABLE, ["id"])) == []

    found = [row[1:] for row in query(VERSIONS) if row[0] == 2]
    assert len(found) == counts[is_future]
    assert found[-1][0] == loads[-1][0]
    assert found[-1][2:] == (None, True)
    assert found[1][1] >= found[0][2]


def test_an_older_row_than_the_one_that_came_back_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, rows((1, "ann", TUESDAY), (2, "bob", TUESDAY)), missing="close")
    load(warehouse, rows((1, "ann", TUESDAY)), missing="close")
    load(warehouse, rows((2, "bob", TUESDAY)))
    before = query(VERSIONS)

    with pytest.raises((BadDataError, RowRefusedError)):
        load(warehouse, rows((2, "Bob", MONDAY)))

    assert query(VERSIONS) == before
