"""What every REST source keeps to, in every style of paging."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from dataproc.domain.destination import Destination
from dataproc.domain.errors import SourceChangedError, SourceUnavailableError
from dataproc.domain.job import JobId
from dataproc.domain.sources.rest import RestSource
from dataproc.ports.pipeline import Source
from dataproc.ports.warehouse import LoadId, Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.sources.rest.source import ApiSource
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import a_connection, surroundings
from tests.contract.conformance import Row, SourceConformance, read_all, read_late_rows, rows_of
from tests.fakes.pipeline import FakeEngine
from tests.fakes.secrets import FakeSecrets
from tests.rest_api import Api, Call, Record, Reply, by_cursor, by_link, by_offset, orders, paged, rest_api
from tests.waiting import PATIENCE, wait_until
from tests.warehouses import Query

TOKEN = "secret://crm#token"
STYLES: dict[str, dict[str, Any]] = {
    "page": {
        "path": "/pages", "records": "$.data[*]", "unit_pages": 2,
        "paging": {"kind": "page", "size_parameter": "per_page", "size": 10, "total": {"path": "$.total"}},
    },
    "offset": {
        "path": "/offsets", "unit_pages": 2,
        "paging": {"kind": "offset", "size": 10, "total": {"header": "X-Total-Count"}},
    },
    "cursor": {
        "path": "/cursors", "records": "$.data[*]",
        "paging": {"kind": "cursor", "next": "$.next", "total": {"path": "$.total"}},
    },
    "cursor-in-header": {
        "path": "/cursors", "records": "$.data[*]",
        "paging": {"kind": "cursor", "header": "X-Next", "total": {"path": "$.total"}},
    },
    "cursor-by-post": {
        "path": "/cursors", "records": "$.data[*]", "method": "POST", "body": {"status": "open"}, "idempotent": True,
        "paging": {
            "kind": "cursor", "next": "$.next", "parameter": "after", "place": "body", "total": {"path": "$.total"},
        },
    },
    "link": {
        "path": "/links", "records": "$.data[*]",
        "paging": {"kind": "link", "total": {"header": "X-Total-Count"}},
    },
    "next_url": {
        "path": "/links", "records": "$.data[*]",
        "paging": {"kind": "next_url", "next": "$.links.next", "total": {"header": "X-Total-Count"}},
    },
    "parents": {
        "path": "/customers/{id}/orders", "records": "$.data[*]",
        "paging": {"kind": "page", "size_parameter": "per_page", "size": 4},
        "parents": {
            "path": "/customers", "bind": {"id": "$.id"}, "carry": {"customer": "$.name"}, "unit": 2,
            "paging": {"kind": "link"},
        },
    },
}  # fmt: skip


def configured(api: Api, **fields: Any) -> dict[str, Any]:
    """Return the configuration of a connection to the test's server."""
    return {"base_url": api.url, "allow_private": True, "attempts": 2, **fields}


RIGHT = FakeSecrets({TOKEN: "right"})
WRONG = FakeSecrets({TOKEN: "wrong"})


def a_source(
    api: Api, *, secrets: FakeSecrets = RIGHT, connection: dict[str, Any] | None = None, **spec: Any
) -> Source:
    """Return a source of the test's server."""
    config = configured(api, auth={"kind": "bearer", "token": TOKEN}) | (connection or {})
    around = surroundings(secrets=secrets, connection=a_connection(name="crm", kind="rest", config=config))
    return source_for(RestSource.model_validate({"kind": "rest", "connection": "crm"} | spec), around)


def demand_token(call: Call) -> Reply | None:
    return None if call.headers.get("authorization") == "Bearer right" else Reply({}, 401)


@dataclass
class RestSubject:
    """An API of one style with records in it."""

    api: Api
    style: str
    records: list[Record] = field(default_factory=lambda: orders(45))
    customers: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        def found() -> list[Record]:
            return self.records

        self.api.before.append(demand_token)
        self.api.routes |= {
            "/pages": paged(found), "/offsets": by_offset(found), "/cursors": by_cursor(found),
            "/links": by_link(self.api, "/links", found), "/customers": lambda _: Reply(self.customers),
        }  # fmt: skip
        if self.style == "parents":
            self.customers = [{"id": f"c/{n}", "name": f"Customer {n}"} for n in range(5)]
            for n in range(5):
                self.api.routes[f"/customers/c%2F{n}/orders"] = paged(partial(self.orders_of, n))

    def orders_of(self, customer: int) -> list[Record]:
        return [] if customer == 3 else self.records[customer * 9 : customer * 9 + 9]

    def source(self) -> Source:
        return a_source(self.api, **STYLES[self.style])

    def rows(self) -> Sequence[Row]:
        if self.style != "parents":
            return [row(one) for one in self.records]
        return [(*row(one), f"Customer {n}") for n in range(5) for one in self.orders_of(n)]

    def empty(self) -> Source:
        self.records = []
        return self.source()

    def refused(self) -> Source:
        return a_source(self.api, secrets=WRONG, **STYLES[self.style])

    def missing(self) -> Source:
        nothing = {"path": "/nothing"}
        if self.style == "parents":
            nothing = {"parents": STYLES["parents"]["parents"] | nothing}
        return a_source(self.api, **(STYLES[self.style] | nothing))

    def change(self) -> None:
        if self.style == "parents":
            self.api.routes.pop("/customers/c%2F1/orders")
        self.records = orders(40)

    def away(self) -> Source:
        spec = {"base_url": "http://127.0.0.1:9", "attempts": 1}
        return a_source(self.api, connection=spec, **STYLES[self.style])

    def open_connections(self) -> int:
        # The server's threads hear of the end of a connection a moment after it.
        with suppress(AssertionError):
            wait_until(lambda: self.api.connections == 0)
        return self.api.connections


def row(record: Record) -> Row:
    """Return a record as its row."""
    return tuple(json.dumps(value) if isinstance(value, list) else value for value in record.values())


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


class TestRestSource(SourceConformance):
    @pytest.fixture(params=list(STYLES))
    def subject(self, request: pytest.FixtureRequest, api: Api) -> RestSubject:
        return RestSubject(api, str(request.param))


def test_pages_with_a_total_are_read_in_parallel_units_that_cover_it_exactly(api: Api) -> None:
    subject = RestSubject(api, "page")
    plan = subject.source().plan()

    assert [unit.rows for unit in plan.units] == [20, 20, 5]
    assert plan.rows == 45
    assert not plan.streams


@pytest.mark.parametrize(("style", "most"), [("page", 3), ("offset", 3), ("cursor", 1)])
def test_pages_whose_numbers_are_known_are_asked_for_at_once(api: Api, style: str, most: int) -> None:
    subject = RestSubject(api, style)
    source = a_source(api, **(STYLES[style] | {"at_once": 3, "unit_pages": 9}))
    unit = source.plan().units[0]
    waiting, seen = list[Call](), list[int]()

    def together(call: Call) -> None:
        waiting.append(call)
        with suppress(AssertionError):
            wait_until(lambda: max(len(waiting), *seen, 0) >= most)
        seen.append(len(waiting))
        waiting.remove(call)

    api.before.append(together)

    assert rows_of(list(source.read(unit))) == list(subject.rows())
    assert max(seen) == most


def test_offsets_go_by_what_the_api_gives_where_it_gives_less_than_asked(api: Api) -> None:
    subject = RestSubject(api, "offset")
    api.routes["/offsets"] = by_offset(lambda: subject.records, most=7)

    plan, chunks = read_all(subject.source())

    assert rows_of(chunks) == list(subject.rows())
    assert [unit.rows for unit in plan.units] == [14, 14, 14, 3]


@pytest.mark.parametrize("style", ["page", "offset"])
def test_what_comes_after_a_total_that_is_not_exact_is_read_as_well(api: Api, style: str) -> None:
    subject = RestSubject(api, style)
    spec = STYLES[style]
    paging = spec["paging"] | {"total": spec["paging"]["total"] | {"exact": False}}
    source = a_source(api, **(spec | {"paging": paging}))
    plan = source.plan()
    subject.records = orders(58)

    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]

    assert rows_of(chunks) == list(subject.rows())
    assert plan.rows is None


@pytest.mark.parametrize("style", ["page", "offset"])
def test_without_a_total_pages_are_read_until_one_is_empty(api: Api, style: str) -> None:
    subject = RestSubject(api, style)
    paging = STYLES[style]["paging"] | {"total": None}

    plan, chunks = read_all(a_source(api, **(STYLES[style] | {"paging": paging})))

    assert rows_of(chunks) == list(subject.rows())
    assert plan.streams


def test_a_page_that_comes_short_of_the_total_is_noticed(api: Api) -> None:
    subject = RestSubject(api, "page")
    whole = api.routes["/pages"]

    def short(call: Call) -> Reply | None:
        reply = whole(call)
        assert reply is not None
        assert isinstance(reply.value, dict)
        if call.query["page"] != "3":
            return reply
        return Reply(reply.value | {"data": reply.value["data"][:-1]})

    source = subject.source()
    plan = source.plan()
    api.routes["/pages"] = short

    with pytest.raises(SourceChangedError, match="20 records were announced"):
        list(source.read(plan.units[1]))


@pytest.mark.parametrize("gone", [0, 1])
def test_a_parent_without_a_resource_is_skipped_where_the_job_says_so(api: Api, gone: int) -> None:
    subject = RestSubject(api, "parents")
    expected = [one for one in subject.rows() if one[-1] != f"Customer {gone}"]
    api.routes.pop(f"/customers/c%2F{gone}/orders")
    parents = STYLES["parents"]["parents"] | {"missing": "skip"}

    _, chunks = read_all(a_source(api, **(STYLES["parents"] | {"parents": parents})))

    assert rows_of(chunks) == expected


@pytest.mark.parametrize("count", [0, 45])
def test_a_total_may_count_pages(api: Api, count: int) -> None:
    subject = RestSubject(api, "page", orders(count))
    whole = api.routes["/pages"]

    def counted(call: Call) -> Reply | None:
        reply = whole(call)
        assert reply is not None
        assert isinstance(reply.value, dict)
        return Reply(reply.value | {"total": max(-(-len(subject.records) // 10), 1)})

    api.routes["/pages"] = counted
    paging = STYLES["page"]["paging"] | {"total": {"path": "$.total", "counts": "pages"}}

    plan, chunks = read_all(a_source(api, **(STYLES["page"] | {"paging": paging})))

    assert rows_of(chunks) == list(subject.rows())
    assert len(plan.units) == (3 if count else 1)


def test_a_large_piece_is_given_before_the_next_page(api: Api) -> None:
    subject = RestSubject(api, "page", [{"id": n, "text": "x" * 500_000} for n in range(45)])

    _, chunks = read_all(subject.source())

    assert rows_of(chunks) == list(subject.rows())
    assert max(chunk.rows.nbytes for chunk in chunks) < 12 * 1024 * 1024


def test_a_reader_that_is_closed_waits_for_no_answer(api: Api) -> None:
    subject = RestSubject(api, "cursor")
    api.routes["/cursors"] = by_cursor(lambda: subject.records, 2)
    source = subject.source()
    unit = source.plan().units[0]
    over, answered = threading.Event(), list[bool]()

    def answer_late(call: Call) -> None:
        if call.query.get("cursor") == "c16":
            answered.append(over.wait(PATIENCE))

    api.before.append(answer_late)
    reader = source.read(unit)
    next(reader)
    wait_until(lambda: any(call.query.get("cursor") == "c16" for call in api.calls))

    reader.close()  # type: ignore[attr-defined]  # it is a generator

    assert answered == []
    over.set()


@dataclass(frozen=True, slots=True)
class Loads:
    """Loads of a REST source into a real warehouse, one run after another."""

    warehouse: PostgresWarehouse
    load_id: LoadId = field(default_factory=lambda: LoadId(JobId(uuid4()), 1, uuid4(), "orders-hourly"))

    def run(self, source: Source, load_id: LoadId | None = None) -> Published:
        destination = Destination.model_validate({"table": "sales.orders", "load": "staged"})
        pipeline = Pipeline(source, (), destination, (), FakeEngine(), self.warehouse)
        return pipeline.run(load_id or replace(self.load_id, job_id=JobId(uuid4()), run_id=uuid4()), Monitor())


INCREMENTAL: dict[str, Any] = {
    "path": "/changes", "records": "$.data[*]",
    "paging": {"kind": "cursor", "next": "$.next"},
    "incremental": {"cursor": "changed_at", "parameter": "since"},
}  # fmt: skip


def changes(records: Sequence[Record], *, sign: str = ">=") -> Any:
    """Return a route of records changed since a time; APIs differ on whether that is among them."""

    def route(call: Call) -> Reply | None:
        since = call.query.get("since", "")
        found = [one for one in records if one["changed_at"] > since or (sign == ">=" and one["changed_at"] == since)]
        return by_cursor(lambda: found, 4)(call)

    return route


@pytest.mark.parametrize("by_key", [False, True])
def test_records_that_come_later_with_the_value_of_the_watermark_are_read_once_or_by_key_again(
    api: Api, *, by_key: bool
) -> None:
    records: list[Record] = []
    api.routes["/changes"] = changes(records)
    source = a_source(api, **INCREMENTAL)

    def add(number: int, second: str) -> None:
        records.append({**orders(1, first=number)[0], "changed_at": f"2026-01-01T00:00:0{second}Z"})

    assert read_late_rows(source, add, "7", "8", by_key=by_key)


@pytest.mark.parametrize("sign", [">", ">="])
def test_a_later_run_loads_only_what_is_new_and_the_boundary_neither_twice_nor_never(
    api: Api, warehouse: PostgresWarehouse, query: Query, sign: str
) -> None:
    records, loads = orders(10), Loads(warehouse)
    api.routes["/changes"] = changes(records, sign=sign)
    source = a_source(api, **INCREMENTAL)
    first = loads.run(source)
    records += orders(5, first=11)

    second, third = loads.run(source), loads.run(source)

    assert [one.account.loaded for one in (first, second, third)] == [10, 5, 0]
    assert second.account.filtered == (1 if sign == ">=" else 0)
    assert sorted(n for (n, *_) in query.table("sales.orders")) == list(range(1, 16))
    assert warehouse.memory("orders-hourly", "sales.orders").watermark("changed_at") == "2026-01-01T00:00:15+00:00"


def test_the_watermark_stays_where_it_was_when_a_run_fails(api: Api, warehouse: PostgresWarehouse) -> None:
    api.routes["/changes"] = changes(orders(10))
    api.before.append(lambda call: Reply({}, 503) if call.query.get("cursor") == "c8" else None)

    with pytest.raises(SourceUnavailableError):
        Loads(warehouse).run(a_source(api, connection={"attempts": 1}, **INCREMENTAL))

    assert warehouse.memory("orders-hourly", "sales.orders").watermark("changed_at") is None


def test_a_failed_run_goes_on_after_the_last_page_that_it_has_kept(
    api: Api, warehouse: PostgresWarehouse, query: Query
) -> None:
    subject, loads = RestSubject(api, "cursor"), Loads(warehouse)
    api.routes["/cursors"] = by_cursor(lambda: subject.records, 2)
    fails = [True]
    api.before.append(lambda call: Reply({}, 503) if call.query.get("cursor") == "c36" and fails else None)
    source = a_source(api, connection={"attempts": 1}, **STYLES["cursor"])
    with pytest.raises(SourceUnavailableError):
        loads.run(source, loads.load_id)
    fails.clear()
    api.calls.clear()

    published = loads.run(source, replace(loads.load_id, epoch=2, run_id=uuid4()))

    # The plan reads three pages for the types. Four pages are a piece. It is given when its successor is there: of c24
    # to c30 that was never complete.
    asked = [call.query.get("cursor") for call in api.calls]
    assert asked == [None, "c2", "c4", *(f"c{n}" for n in range(24, 45, 2))]
    assert published.account.loaded == 45
    assert sorted(n for (n, *_) in query.table("sales.orders")) == [one["id"] for one in subject.records]


def test_records_younger_than_the_lag_come_with_the_next_run(
    api: Api, warehouse: PostgresWarehouse, query: Query
) -> None:
    loads = Loads(warehouse)
    api.routes["/changes"] = changes(orders(10))
    lagging = INCREMENTAL | {"incremental": INCREMENTAL["incremental"] | {"lag": "5s"}}
    source = a_source(api, **lagging)
    assert isinstance(source, ApiSource)
    at_eleven = datetime(2026, 1, 1, 0, 0, 11, tzinfo=UTC)

    early = loads.run(replace(source, now=lambda: at_eleven))
    late = loads.run(replace(source, now=lambda: at_eleven + timedelta(seconds=3)))

    assert [(one.account.loaded, one.account.filtered) for one in (early, late)] == [(6, 4), (3, 2)]
    assert sorted(n for (n, *_) in query.table("sales.orders")) == list(range(1, 10))


def test_units_that_are_read_at_different_times_take_nothing_after_the_plan(api: Api) -> None:
    subject = RestSubject(api, "parents")
    spec = STYLES["parents"] | {"incremental": {"cursor": "changed_at"}}
    source = a_source(api, **spec)
    assert isinstance(source, ApiSource)
    planned = replace(source, now=lambda: datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC))

    _, chunks = read_all(planned)

    assert [one[0] for one in rows_of(chunks)] == list(range(1, 13))
    assert max(chunk.high or "" for chunk in chunks) == "2026-01-01T00:00:12+00:00"
    assert len(subject.records) == 45
