"""Paging, rates and specifications of REST APIs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.errors import BadDataError, ContractViolationError, SourceRefusedError
from dataproc.domain.sources.rest import RestSource, Total
from dataproc.ports.throttle import HEADROOM, Rate
from dataproc.sources.factory import source_for
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.jsonpaths import all_at, compiled
from dataproc.sources.rest.paging import Spot, total_in
from dataproc.sources.rest.rates import pause_of
from dataproc.sources.rest.urls import filled, shown, with_query
from tests.builders import a_connection, surroundings
from tests.contract.conformance import read_all, rows_of
from tests.fakes.secrets import FakeSecrets
from tests.rest_api import Api, Call, Reply, rest_api

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "secret://crm#key"


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


def spec(**fields: Any) -> RestSource:
    return RestSource.model_validate({"kind": "rest", "connection": "crm", "path": "/orders"} | fields)


def read(api: Api, auth: dict[str, Any] | None = None, **fields: Any) -> list[tuple[object, ...]]:
    config = {"base_url": api.url, "allow_private": True, "attempts": 1, "auth": auth or {"kind": "none"}}
    around = surroundings(
        secrets=FakeSecrets({KEY: "s3cr3t"}), connection=a_connection(name="crm", kind="rest", config=config)
    )
    _, chunks = read_all(source_for(spec(**fields), around))
    assert "s3cr3t" not in repr([chunk.mark for chunk in chunks])
    return rows_of(chunks)


def an_answer(status: int = 200, **headers: str) -> Answer:
    found = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return Answer("https://api.example.com/orders", status, found, b"")


def test_a_cursor_that_leads_back_is_told(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply({"data": [1], "next": "a" if call.query.get("cursor") != "a" else "b"})

    with pytest.raises(BadDataError, match="goes round"):
        read(api, records="$.data[*]", paging={"kind": "cursor", "next": "$.next"})


def test_a_link_that_leads_back_is_told(api: Api) -> None:
    link = (("Link", f'<{api.url}/orders>; rel="next"'),)
    api.routes["/orders"] = lambda _: Reply([{"id": 1}], headers=link)

    with pytest.raises(BadDataError, match="goes round"):
        read(api, paging={"kind": "link"})


@pytest.mark.parametrize("kind", ["page", "offset"])
def test_an_api_that_does_not_know_the_parameter_is_told(api: Api, kind: str) -> None:
    api.routes["/orders"] = lambda _: Reply([{"id": 1}])

    with pytest.raises(BadDataError, match=f"know `{kind}`"):
        read(api, paging={"kind": kind})


@pytest.mark.parametrize(
    ("cursor", "sent"),
    [
        ("7", "7"),
        ("1.50", "1.50"),
        ("1E2", "1E2"),
        ('"é \\u0041"', "é A"),
        ("9" * 30, "9" * 30),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_cursor_is_sent_as_it_was_written(api: Api, cursor: str, sent: str) -> None:
    calls = list[Call]()

    def route(call: Call) -> Reply:
        calls.append(call)
        return Reply(f'{{"data": [{{"id": {len(calls)}}}], "next": {cursor if not call.query else "null"}}}')

    api.routes["/orders"] = route

    read(api, records="$.data[*]", paging={"kind": "cursor", "next": "$.next"})

    assert calls[-1].query == {"cursor": sent}


@pytest.mark.parametrize("cursor", ["[1]", "{}", "true", r'"\ud800"'])
def test_a_cursor_that_cannot_be_sent_is_refused(api: Api, cursor: str) -> None:
    api.routes["/orders"] = lambda _: Reply(f'{{"data": [{{"id": 1}}], "next": {cursor}}}')

    with pytest.raises(BadDataError, match="cursor in the answer"):
        read(api, records="$.data[*]", paging={"kind": "cursor", "next": "$.next"})


def test_a_cursor_that_stays_when_there_is_nothing_more_is_the_end(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply({"data": [] if call.query else [{"id": 1}], "next": "same"})

    assert read(api, records="$.data[*]", paging={"kind": "cursor", "next": "$.next"}) == [(1,)]


def test_what_steers_the_pages_wins_over_what_the_job_asks_for(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply([{"id": n} for n in (1, 2) if call.query["page"] == str(n)])

    assert read(api, query={"page": 9}, paging={"kind": "page"}) == [(1,), (2,)]


def test_more_pages_than_expected_are_told(api: Api) -> None:
    api.routes["/orders"] = lambda call: Reply([{"id": call.query["page"]}])

    with pytest.raises(BadDataError, match="max_pages"):
        read(api, paging={"kind": "page"}, max_pages=5)


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://evil.test/orders?page=2", "http://a:b@127.0.0.1/"])
def test_a_next_url_on_another_host_is_refused(api: Api, url: str) -> None:
    api.routes["/orders"] = lambda _: Reply({"data": [{"id": 1}], "next": url})

    with pytest.raises(SourceRefusedError):
        read(api, records="$.data[*]", paging={"kind": "next_url", "next": "$.next"})


def test_a_key_that_an_api_repeats_in_its_next_url_is_kept_nowhere(api: Api) -> None:
    def route(call: Call) -> Reply:
        assert call.query["key"] == "s3cr3t"
        following = None if "at" in call.query else "/orders?at=2&key=s3cr3t"
        return Reply({"data": [{"id": 1 + ("at" in call.query)}], "next": following})

    api.routes["/orders"] = route
    auth = {"kind": "api_key", "key": KEY, "name": "key", "place": "query"}

    found = read(api, auth, records="$.data[*]", paging={"kind": "next_url", "next": "$.next"})

    assert found == [(1,), (2,)]


def test_a_wrong_path_to_the_records_is_told_with_what_there_is(api: Api) -> None:
    api.routes["/orders"] = lambda _: Reply({"items": [{"id": 1}], "total": 1})

    with pytest.raises(BadDataError, match="a list at items"):
        read(api, records="$.data[*]")


@pytest.mark.parametrize("body", [{"data": []}, {"data": None}, {"data": [], "warnings": ["w"]}])
def test_an_answer_without_records_is_empty(api: Api, body: object) -> None:
    api.routes["/orders"] = lambda _: Reply(body)

    assert read(api, records="$.data[*]") == []


NESTED = st.recursive(
    st.none() | st.integers(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from("ab"), one, max_size=2),
)


@given(NESTED, st.sampled_from(["$", "$.a", "$.a.b", "$[*]", "$.a[*]", "$.a.b[*]"]))
def test_a_plain_path_finds_what_the_standard_says(body: Any, path: str) -> None:
    standard = compiled(path).findall(body) if isinstance(body, dict | list) else None

    found = [json.loads(value) for value in all_at(path, json.dumps(body).encode())]

    assert standard in (None, found)


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("$", None), ("$.a[*].n", ["1.50", "1e400", "-0"]), ("$..n", ["1.50", "1e400", "-0"]), ("$.a[-1].n", ["-0"]),
        ("$.a[?@.k == 'x'].n", ["1e400"]), ("$.a[?@.n > 1].k", ['"x"']), ("$['b c'][0]", ['"\\u00e9"']),
        ("$.d", ["2"]), ("$.a.n", []), ("$.x", []), ("$.a[7]", []), ("$['b c'].x", []),
    ],
)  # fmt: skip
def test_values_at_any_path_are_the_characters_of_the_answer(path: str, texts: list[str] | None) -> None:
    body = r'{"a": [{"n": 1.50}, {"n": 1e400, "k": "x"}, {"n": -0}], "b c": ["\u00e9"], "d": 1, "d": 2}'

    assert [value.decode() for value in all_at(path, body.encode())] == ([body] if texts is None else texts)


@pytest.mark.parametrize("path", ["$.data[*]", "$.data[:]"])
def test_half_of_a_surrogate_pair_hides_nothing_but_its_record(path: str) -> None:
    records = [
        r'{"a": "\ud800"}',
        r'{"a": "\\ud800 \ud83d\ude00", "b": 1.50}',
        r'{"\udc00": "\ufffd"}',
        r'["\udbff\u0041"]',
    ]
    body = r'{"title": "\ud8ff", "data": [' + ", ".join(records) + "]}"

    assert [value.decode() for value in all_at(path, body.encode())] == records


@pytest.mark.parametrize("value", [True, -1, "many", [], 10**30])
def test_a_total_that_is_no_count_is_told(value: object) -> None:
    with pytest.raises(BadDataError, match="no count"):
        total_in(Total(path="$.total"), an_answer(), json.dumps({"total": value}).encode())


@given(
    st.builds(
        Spot,
        st.integers(0),
        st.none() | st.integers() | st.text(),
        st.integers(0),
        st.integers(0),
        st.none() | st.text(),
    )
)
def test_a_mark_leads_back_to_its_spot(spot: Spot) -> None:
    assert Spot.of(spot.mark) == spot


def test_paths_parameters_and_urls_of_any_characters_reach_the_api(api: Api) -> None:
    calls = list[Call]()

    def route(call: Call) -> Reply:
        calls.append(call)
        return Reply({"data": [{"id": 1}], "next": None if "ä" in call.query else "/st%C3%A4dte?ä=ü&x=%26"})

    api.routes["/st%C3%A4dte"] = route

    read(api, path="/städte", query={"q": "ö &"}, records="$.data[*]", paging={"kind": "next_url", "next": "$.next"})

    assert calls[0].query == {"q": "ö &"}
    assert calls[-1].query == {"ä": "ü", "x": "&"}


def test_values_of_parents_cannot_leave_their_place_in_the_path() -> None:
    assert filled("/customers/{id}/orders", {"id": "../a?b#c d/ü"}) == "/customers/..%2Fa%3Fb%23c%20d%2F%C3%BC/orders"
    for value in ("", ".", "..", None, ["x"]):
        with pytest.raises(ContractViolationError, match="bind/id"):
            filled("/customers/{id}", {"id": value})


def test_a_url_is_shown_without_its_parameters() -> None:
    assert shown("https://a:b@api.test/orders?key=s3cr3t#x") == "https://api.test/orders"
    assert with_query("https://a/?x=1&x=2&y=", (("x", "3"),)) == "https://a/?y=&x=3"


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (an_answer(429, retry_after="7"), 7), (an_answer(503, retry_after="0"), 0),
        (an_answer(429, retry_after="Thu, 01 Jan 2026 12:00:30 GMT"), 30),
        (an_answer(429, retry_after="Thu, 01 Jan 2026 11:00:00 GMT"), 0),
        # The server's own clock counts.
        (an_answer(429, retry_after="Thu, 01 Jan 2026 12:00:30 GMT", date="Thu, 01 Jan 2026 12:00:20 GMT"), 10),
        (an_answer(429, retry_after="soon"), None), (an_answer(429), None), (an_answer(200, retry_after="7"), None),
        (an_answer(200, ratelimit_remaining="0", ratelimit_reset="5"), 5),
        (an_answer(200, x_ratelimit_remaining="0", x_ratelimit_reset="1767268805"), 5),
        (an_answer(200, x_ratelimit_remaining="1", x_ratelimit_reset="5"), None),
        (an_answer(200, x_rate_limit_remaining="0", x_rate_limit_reset="nan"), 0),
        (an_answer(200, ratelimit='"burst";r=3;t=9, "day";r=0;t=60'), 60),
        (an_answer(429, retry_after="9" * 4000), 31_536_000),
        (an_answer(403, retry_after="7"), 7), (an_answer(403), None), (an_answer(502, retry_after="7"), 7),
        (an_answer(403, x_ratelimit_remaining="0", x_ratelimit_reset="1767268805"), 5),
        (an_answer(404, retry_after="7"), None), (an_answer(501, retry_after="7"), None),
    ],
)  # fmt: skip
def test_the_pause_that_an_answer_asks_for_is_understood(answer: Answer, pause: float | None) -> None:
    found = pause_of(answer, NOW)

    assert found == (None if pause is None else timedelta(seconds=pause))


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.01, 3600))
def test_no_window_ever_holds_more_than_the_rate(requests: int, burst: int, seconds: float) -> None:
    rate = Rate(max(requests, burst), timedelta(seconds=seconds), burst)

    most = rate.burst + int(rate.per / rate.spacing)

    assert most <= rate.requests
    assert rate.slack < rate.per * HEADROOM


SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"path": "https://evil.test/"}, "path"), ({"path": "//evil.test/"}, "path"), ({"path": "/a/../b"}, r"\.\."),
    ({"path": "/a?b=1"}, "path"), ({"path": "orders"}, "path"), ({"records": "$.data["}, "JSONPath"),
    ({"records": "$.a | $.b"}, "several"), ({"body": {}}, "POST"), ({"headers": {"Authorization": "x"}}, "connection"),
    ({"paging": {"kind": "cursor"}}, "one of them"), ({"paging": {"kind": "page", "total": {}}}, "one of them"),
    ({"paging": {"kind": "page", "place": "body"}}, "POST"), ({"path": "/a/{id}"}, "parents bind nothing"),
    ({"parents": {"path": "/a", "bind": {"id": "$.id"}}}, "no placeholders"),
    ({"incremental": {"cursor": "id", "kind": "number", "lag": "1s"}}, "lag"),
    ({"incremental": {"cursor": "id", "kind": "number", "start": "x"}}, "start"),
    ({"incremental": {"cursor": "at", "start": "yesterday"}}, "start"),
    ({"columns": {"id": "binary"}}, "binary"), ({"columns": {"id": "int"}}, "column type"),
    (
        {
            "path": "/a/{id}", "parents": {"path": "/a", "bind": {"id": "$.id"}},
            "incremental": {"cursor": "id", "kind": "number"},
        },
        "timestamp",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), SHAPES)
def test_a_specification_that_makes_no_sense_is_refused_with_what_is_wrong(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**fields)
