"""Types of REST sources without `columns`, and the ends of cursors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.sources.rest import RestSource
from dataproc.domain.unit import SourcePlan
from dataproc.ports.pipeline import Source
from dataproc.sources.factory import source_for
from tests.builders import a_connection, surroundings
from tests.contract.conformance import read_all, rows_of
from tests.rest_api import Api, Call, Reply, Route, rest_api

CURSOR = {"records": "$.data[*]", "paging": {"kind": "cursor", "next": "$.next"}}


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


def source(api: Api, **fields: Any) -> Source:
    config = {"base_url": api.url, "allow_private": True, "attempts": 1}
    around = surroundings(connection=a_connection(name="crm", kind="rest", config=config))
    spec = {"kind": "rest", "connection": "crm", "path": "/orders"} | fields
    return source_for(RestSource.model_validate(spec), around)


def in_pages(pages: Sequence[str], following: Mapping[int, str] | None = None, name: str = "next") -> Route:
    """Return a route of pages whose records are given as they stand in JSON; `following` are other cursors."""

    def route(call: Call) -> Reply:
        at = int(str(call.query.get("cursor", "0")).removeprefix("c"))
        usual = f'"c{at + 1}"' if at + 1 < len(pages) else "null"
        return Reply(f'{{"data": [{pages[at]}], "{name}": {(following or {}).get(at, usual)}}}')

    return route


def sql_types(schema: pa.Schema) -> dict[str, str]:
    """Return the types of columns, with the PostgreSQL type of those that travel as text."""
    return {each.name: (each.metadata or {}).get(b"sql_type", str(each.type).encode()).decode() for each in schema}


SAMPLES: list[tuple[list[str], dict[str, str], int]] = [
    (['{"a": 1}', '{"a": 1.5}', '{"a": 2}'], {"a": "numeric"}, 3),
    (['{"a": 1}', '{"a": 12345678901234567890}'], {"a": "numeric"}, 2),
    (['{"a": 1}', '{"a": "x"}'], {"a": "string"}, 2),
    (['{"a": null}', '{"a": true}'], {"a": "bool"}, 2),
    (['{"a": 1}', '{"b": 1}', '{"a": 1, "c": "x"}'], {"a": "int64", "b": "int64", "c": "string"}, 3),
    (["", "", '{"a": 1}'], {"a": "int64"}, 1), (["", "", ""], {}, 0),
    (["", '{"a": 1}', "", '{"a": 2}', "", '{"a": 0.5}'], {"a": "numeric"}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("pages", "types", "rows"), SAMPLES)
def test_types_come_from_several_pages_of_which_the_first_may_be_empty(
    api: Api, pages: list[str], types: dict[str, str], rows: int
) -> None:
    api.routes["/orders"] = in_pages(pages)

    plan, chunks = read_all(source(api, **CURSOR))

    assert sql_types(plan.schema) == types
    assert len(rows_of(chunks)) == rows
    assert sum(chunk.rejects.num_rows for chunk in chunks) == 0


@pytest.mark.parametrize("total", [{"path": "$.total"}, {"path": "$.total", "exact": False}])
def test_a_total_of_records_does_not_demand_some_on_the_first_page(api: Api, total: dict[str, Any]) -> None:
    pages = ["", '{"a": 1}, {"a": 2}']
    api.routes["/orders"] = lambda call: Reply(
        str(in_pages(pages)(call).value)[:-1] + ', "total": 2}'  # type: ignore[union-attr]  # this route always answers
    )
    paging = {"kind": "cursor", "next": "$.next", "total": total}

    assert rows_of(read_all(source(api, records="$.data[*]", paging=paging))[1]) == [(1,), (2,)]


def test_numbers_of_all_pages_keep_their_digits(api: Api) -> None:
    texts = ["1", "0.10000000000000000001", "12345678901234567890.12", "9007199254740993", "1.50", "1e2"]
    api.routes["/orders"] = in_pages([f'{{"a": {text}}}' for text in texts])

    _, chunks = read_all(source(api, **CURSOR))

    assert [row[0] for row in rows_of(chunks)] == texts


def test_a_sample_ends_after_three_pages_with_records_and_declared_columns_need_one(api: Api) -> None:
    api.routes["/orders"] = in_pages(['{"a": 1}', "", '{"a": 2}', '{"a": 3}', '{"a": 4}'])

    source(api, **CURSOR).plan()
    assert [call.query.get("cursor") for call in api.calls] == [None, "c1", "c2", "c3"]

    api.calls.clear()
    source(api, **CURSOR, columns={"a": "int64"}).plan()
    assert len(api.calls) == 1


def test_a_later_field_is_refused_by_name_as_one_that_the_first_pages_lack(api: Api) -> None:
    api.routes["/orders"] = in_pages(['{"a": 1}', '{"a": 2}', '{"a": 3}', '{"b": 4}'])

    with pytest.raises(ContractViolationError, match="'b', which the first pages lack"):
        read_all(source(api, **CURSOR))


def test_types_come_from_several_parents(api: Api) -> None:
    api.routes["/customers"] = lambda _: Reply([{"id": n} for n in range(5)])
    bodies = ["[]", '[{"a": 1}]', '[{"a": 1.25}]', '[{"a": null, "b": "x"}]', '[{"a": 2}]']
    for number in range(5):
        api.routes[f"/customers/{number}/orders"] = lambda call: Reply(bodies[int(call.path.split("/")[2])])
    parents = {"path": "/customers", "bind": {"id": "$.id"}, "carry": {"customer": "$.id"}}

    plan, chunks = read_all(source(api, path="/customers/{id}/orders", parents=parents))

    assert sql_types(plan.schema) == {"a": "numeric", "b": "string", "customer": "int64"}
    assert rows_of(chunks) == [("1", None, 1), ("1.25", None, 2), (None, "x", 3), ("2", None, 4)]


@pytest.mark.parametrize(
    ("pages", "rows"),
    [
        (['{"": 1, "id": 1}'], [(1,)]), (['{"id": 1}', '{"id": 2, "": null}'], [(1,), (2,)]),
        (['{"id": 1}', '{"id": 2}', '{"id": 3}', '{"": "x", "id": 4}'], [(1,), (2,), (3,), (4,)]),
    ],
)  # fmt: skip
def test_an_empty_key_is_left_out_where_unknown_fields_are(
    api: Api, pages: list[str], rows: list[tuple[object, ...]]
) -> None:
    api.routes["/orders"] = in_pages(pages)

    assert rows_of(read_all(source(api, **CURSOR, unknown="ignore"))[1]) == rows
    assert rows_of(read_all(source(api, **CURSOR, columns={"id": "int64"}))[1]) == rows


@pytest.mark.parametrize("unknown", ["fail", None])
def test_an_empty_key_is_refused_with_what_to_do_where_unknown_fields_are(api: Api, unknown: str | None) -> None:
    api.routes["/orders"] = in_pages(['{"": 1, "id": 1}'])

    with pytest.raises(
        ContractViolationError, match=r"/orders: a field .* empty name; leave it out by `unknown: ignore`"
    ):
        read_all(source(api, **CURSOR, unknown=unknown))


ENDS: list[tuple[str, list[str | int]]] = [
    ("0", [0]), ('"0"', ["0"]), ("0", ["0"]), ('"0"', [0]), ("-1", [-1]), ('"done"', ["-1", "done"]), ('""', []),
    ("null", [0]), ("false", []),
]  # fmt: skip


@pytest.mark.parametrize(("last", "ends"), ENDS)
def test_a_named_value_of_a_cursor_ends_the_pages(api: Api, last: str, ends: list[str | int]) -> None:
    api.routes["/orders"] = in_pages(['{"id": 1}', '{"id": 2}'], {1: last})
    paging = {"kind": "cursor", "next": "$.next", "ends": ends}

    assert rows_of(read_all(source(api, records="$.data[*]", paging=paging))[1]) == [(1,), (2,)]


def test_a_cursor_of_zero_is_one_unless_it_is_named_as_an_end(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply({"data": [{"id": len(call.query)}], "next": None if call.query else 0})

    assert rows_of(read_all(source(api, **CURSOR))[1]) == [(0,), (1,)]


def test_a_header_and_a_url_may_end_with_a_named_value_as_well(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply(
        [{"id": len(call.query)}], headers=(("X-Next", "0" if call.query else "a"),)
    )
    header = {"kind": "cursor", "header": "X-Next", "ends": ["0"]}
    assert rows_of(read_all(source(api, paging=header))[1]) == [(0,), (1,)]

    api.routes["/orders"] = lambda call: Reply(
        {"data": [{"id": len(call.query)}], "next": "none" if call.query else "/orders?page=2"}
    )
    url = {"kind": "next_url", "next": "$.next", "ends": ["none"]}
    assert rows_of(read_all(source(api, records="$.data[*]", paging=url))[1]) == [(0,), (1,)]


@pytest.mark.parametrize("ends", [[True], [None], [1.5], "0", [["0"]]])
def test_an_end_that_no_cursor_can_have_is_refused(api: Api, ends: object) -> None:
    with pytest.raises(ValidationError, match="ends"):
        source(api, records="$.data[*]", paging={"kind": "cursor", "next": "$.next", "ends": ends})


def test_where_nothing_is_new_the_types_are_those_of_several_pages_of_old_records(api: Api) -> None:
    old = in_pages(['{"id": 1, "a": 1}', '{"id": 2, "a": 1.5}'])
    api.routes["/orders"] = lambda call: Reply({"data": [], "next": None}) if "since" in call.query else old(call)
    incremental = {"cursor": "id", "kind": "number", "parameter": "since", "start": 5}

    plan: SourcePlan = source(api, **CURSOR, incremental=incremental).plan()

    assert sql_types(plan.schema) == {"id": "int64", "a": "numeric"}
