"""The records of an answer: their holder must exist, and an answer that reports an error has none."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.rest import RestSource
from dataproc.sources.factory import source_for
from dataproc.sources.rest.extraction import is_such
from tests.builders import a_connection, surroundings
from tests.contract.conformance import read_all, rows_of
from tests.rest_api import Api, Call, Record, Reply, orders, rest_api

CURSOR = {"kind": "cursor", "next": "$.next"}
PAGE = {"kind": "page"}


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


def read(api: Api, **fields: Any) -> list[tuple[object, ...]]:
    config = {"base_url": api.url, "allow_private": True, "attempts": 1}
    around = surroundings(connection=a_connection(name="crm", kind="rest", config=config))
    spec = {"kind": "rest", "connection": "crm", "path": "/orders"} | fields
    _, chunks = read_all(source_for(RestSource.model_validate(spec), around))
    return rows_of(chunks)


def ids(api: Api, records: str, body: object) -> list[object]:
    """Return the ids of the records that an answer has at a path."""
    api.routes["/orders"] = lambda _: Reply(body)
    return [row[0] for row in read(api, records=records, columns={"id": "int64"})]


@pytest.mark.parametrize(
    ("records", "body", "found"),
    [
        ("$", [{"id": 1}], [1]), ("$", {"id": 1}, [1]), ("$", [], []), ("$", None, []),
        ("$[*]", [{"id": 1}], [1]), ("$[*]", [], []), ("$[*]", None, []),
        ("$.data", {"data": [{"id": 1}, {"id": 2}]}, [1, 2]), ("$.data", {"data": {"id": 1}}, [1]),
        ("$.data", {"data": None}, []), ("$.data", {"data": []}, []),
        ("$.data[*]", {"data": [{"id": 1}, {"id": 2}]}, [1, 2]), ("$.data[*]", {"data": None}, []),
        ("$.data[*]", {"data": []}, []), ("$.data.*", {"data": {"a": {"id": 1}, "b": {"id": 2}}}, [1, 2]),
        ("$.data.*", {"data": {}}, []),
        ("$['the data'][*]", {"the data": [{"id": 1}]}, [1]),
        ("$.a[*].b[*]", {"a": [{"b": [{"id": 1}]}, {"b": []}, {"b": None}, {"b": [{"id": 2}]}]}, [1, 2]),
        ("$.a[*].b[*]", {"a": []}, []), ("$.a[*].b[*]", {"a": None}, []), ("$.a[*].b", {"a": []}, []),
        ("$.a[*].b[*]", {"a": [{"b": [{"id": 1}]}, {}]}, [1]),
        ("$.a[0].b[*]", {"a": []}, []), ("$.a[0]", {"a": []}, []),
        ("$.a[?@.id > 1]", {"a": [{"id": 1}, {"id": 2}]}, [2]), ("$.a[?@.id > 5]", {"a": [{"id": 1}]}, []),
        ("$.a[?@.id > 5]", {"a": None}, []), ("$.a[1:]", {"a": [{"id": 1}]}, []),
        ("$..items[*]", {"x": {"items": [{"id": 1}]}, "meta": {"items": 1}}, [1]), ("$..items[*]", {"items": []}, []),
    ],
)  # fmt: skip
def test_records_are_what_a_path_leads_to(api: Api, records: str, body: object, found: Sequence[int]) -> None:
    assert ids(api, records, body) == found


@pytest.mark.parametrize(
    ("records", "body"),
    [
        ("$.data[*]", {}), ("$.data[*]", []), ("$.data[*]", None), ("$.data[*]", {"error": "late"}),
        ("$.data", {}), ("$.data.*", {}), ("$.data[?@.id > 1]", {}), ("$.data[0]", {}), ("$.data[0:2]", {}),
        ("$.data[*]", {"data": {"error": "late"}}), ("$.data[*]", {"data": {}}), ("$[*]", {"error": "late"}),
        ("$.data[*]", {"data": "late"}), ("$.data[*]", {"data": False}), ("$.data.*", {"data": 7}),
        ("$.data.orders[*]", {"errors": [{"message": "late"}], "data": None}), ("$.data.orders[*]", {"data": []}),
        ("$.a[*].b[*]", {"a": [{"error": "late"}]}), ("$.a[*].b[*]", {"a": [{"b": [{"id": 1}]}, {"b": "late"}]}),
        ("$.a[*].b", {"a": "late"}), ("$..items[*]", {"error": {}}), ("$..items[*]", {"items": 1}),
        ("$['the data'][*]", {"error": {}}),
    ],
)  # fmt: skip
def test_the_holder_of_the_records_must_exist(api: Api, records: str, body: object) -> None:
    with pytest.raises(BadDataError, match=r"records: .*/orders \(page 1\)") as raised:
        ids(api, records, body)

    assert records.removesuffix("[*]") in str(raised.value)
    assert "fail_when" in str(raised.value)
    assert "late" not in str(raised.value)


def test_an_object_is_not_a_list_and_the_error_names_the_path_that_reads_its_values(api: Api) -> None:
    with pytest.raises(BadDataError, match=r"an object at \$\.data, not a list; write \$\.data\.\*"):
        ids(api, "$.data[*]", {"data": {"a": {"id": 1}}})


def failing_at(last: int, error: object, *, is_bare: bool = False) -> Any:
    """Return a route of pages of 20 records, of which the one after `last` pages is an error with status 200."""

    def route(call: Call) -> Reply:
        at = int(call.query.get("cursor") or int(call.query.get("page", 1)) - 1)
        if at == last:
            return Reply(error)
        found: list[Record] = orders(95)[at * 20 : at * 20 + 20]
        return Reply(found if is_bare else {"ok": True, "data": found, "next": str(at + 1) if at < 4 else None})

    return route


ERRORS: list[tuple[dict[str, Any], object, bool, str]] = [
    ({"records": "$.data[*]", "paging": CURSOR}, {"error": "late"}, False, r"\(page 3\)"),
    ({"records": "$.data[*]", "paging": PAGE}, {"error": "late"}, False, r"\(page=3\)"),
    ({"records": "$.data", "paging": CURSOR}, {"error": "late"}, False, r"\(page 3\)"),
    ({"paging": PAGE}, {"error": "late"}, True, r"\(page=3\) answered one object, but a list before"),
    (
        {"records": "$.data[*]", "paging": CURSOR, "fail_when": [{"path": "$.ok", "equals": False}]},
        {"ok": False, "data": []}, False, r"fail_when: .*\(page 3\) answered 200 with an error at \$\.ok",
    ),
    (
        {"records": "$.data[*]", "paging": PAGE, "fail_when": [{"path": "$.errors[*]"}]},
        {"errors": [{"message": "late"}], "data": []}, False, r"fail_when: .*\(page=3\).*\$\.errors",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "error", "is_bare", "words"), ERRORS)
def test_an_error_with_status_200_does_not_end_the_pages(
    api: Api, fields: dict[str, Any], error: object, *, is_bare: bool, words: str
) -> None:
    api.routes["/orders"] = failing_at(2, error, is_bare=is_bare)

    with pytest.raises(BadDataError, match=words) as raised:
        read(api, **fields)

    assert "late" not in str(raised.value)


def test_an_answer_of_no_content_has_no_records_and_an_empty_one_of_status_200_is_refused(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply([{"id": 1}]) if call.query["page"] == "1" else Reply(b"", 204)
    assert read(api, paging=PAGE) == [(1,)]

    api.routes["/orders"] = lambda call: Reply([{"id": 1}]) if call.query["page"] == "1" else Reply(b"")
    with pytest.raises(BadDataError, match="not JSON"):
        read(api, paging=PAGE)


def test_parents_fail_for_an_error_with_status_200_as_well(api: Api) -> None:
    api.routes |= {"/customers": lambda _: Reply({"ok": 0, "data": []}), "/customers/1/orders": lambda _: Reply([])}
    parents = {"path": "/customers", "bind": {"id": "$.id"}, "records": "$.data[*]"}

    with pytest.raises(BadDataError, match="fail_when"):
        read(api, path="/customers/{id}/orders", parents=parents | {"fail_when": [{"path": "$.ok", "equals": 0}]})
    with pytest.raises(BadDataError, match="records"):
        read(api, path="/customers/{id}/orders", parents=parents | {"records": "$.items[*]"})


@pytest.mark.parametrize(
    ("value", "wanted", "is_equal"),
    [
        ("false", False, True), ("true", False, False), ("0", False, False), ("null", False, False),
        ("1", True, False), ("0", 0, True), ("0.0", 0, True), ("false", 0, False), ('"0"', 0, False), ("5", 0, False),
        ('"0"', "0", True), ("0", "0", False), ('"\\u0065rror"', "error", True), (r'"\ud800"', "error", False),
        ("0.1", 0.1, True), ("1e400", 1, False), ("1e99999999999999999999", 1, False),
        ("null", None, False), ("0", None, True), ("[]", None, True),
        ("{}", "{}", False), ("[]", 0, False),
    ],
)  # fmt: skip
def test_values_are_equal_as_those_of_json(value: str, wanted: str | float | None, *, is_equal: bool) -> None:
    assert is_such(value.encode(), wanted) is is_equal


@pytest.mark.parametrize("rule", [{}, {"path": "$.ok["}, {"path": "$.ok", "equals": []}, {"path": "$.ok", "is": 1}])
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="fail_when"):
        RestSource.model_validate({"kind": "rest", "connection": "crm", "path": "/orders", "fail_when": [rule]})


@pytest.mark.parametrize("equals", [False, 0, "0", 1.5, None])
def test_a_rule_stays_the_same_where_a_specification_is_stored(equals: object) -> None:
    rule = {"path": "$.ok", "equals": equals}
    spec = RestSource.model_validate({"kind": "rest", "connection": "crm", "path": "/orders", "fail_when": [rule]})

    again = RestSource.model_validate_json(json.dumps(spec.model_dump(mode="json")))

    assert again.fail_when == spec.fail_when
    assert repr(again.fail_when[0].equals) == repr(equals)
