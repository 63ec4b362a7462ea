"""The endpoints of registered sources, on a real metadata database and a real S3 server."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.api_app import Api, errors, problem
from tests.s3 import S3Server, default_s3_server

pytestmark = pytest.mark.anyio

LAKE: dict[str, Any] = {"name": "lake", "kind": "s3", "config": {"bucket": "lake"}}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with default_s3_server() as running:
        yield running


async def test_a_source_is_registered_listed_and_found(api: Api) -> None:
    response = await api.client.post("/sources", json=LAKE)

    assert (response.status_code, response.headers["location"], response.json()) == (201, "/sources/lake", LAKE)
    assert (await api.client.get("/sources/lake")).json() == LAKE
    assert (await api.client.get("/sources")).json() == [LAKE]


async def test_a_source_is_registered_once_and_changed_by_put(api: Api) -> None:
    pond = LAKE["config"] | {"bucket": "pond"}
    first = await api.client.post("/sources", json=LAKE)
    again = await api.client.post("/sources", json=LAKE)
    other = await api.client.post("/sources", json=LAKE | {"config": pond})

    assert (first.status_code, again.status_code) == (201, 201)
    problem(other, 409, "conflict")
    changed = await api.client.put("/sources/lake", json={"kind": "s3", "config": pond})
    assert (changed.status_code, changed.json()["config"]) == (200, pond)


async def test_put_registers_a_source_that_is_new(api: Api) -> None:
    response = await api.client.put("/sources/lake", json={"kind": "s3", "config": {"bucket": "lake"}})

    assert (response.status_code, response.headers["location"], response.json()) == (201, "/sources/lake", LAKE)


async def test_a_source_is_removed_unless_a_job_waits_for_it(api: Api) -> None:
    await api.client.post("/sources", json=LAKE)
    job = await api.created(source={"kind": "s3", "connection": "lake", "path": "a.csv"})

    problem(await api.client.delete("/sources/lake"), 409, "conflict")
    await api.client.delete(f"/jobs/{job['id']}")

    assert (await api.client.delete("/sources/lake")).status_code == 204
    problem(await api.client.delete("/sources/lake"), 404, "not-found")


async def test_a_source_that_works_says_what_it_is_and_what_there_is_to_read(api: Api, server: S3Server) -> None:
    bucket = server.make_bucket(f"test-{uuid4().hex}")
    server.client().put_object(Bucket=bucket, Key="orders/a.csv", Body=b"a\n1\n")
    await api.client.post("/sources", json=LAKE | {"config": {"bucket": bucket}})

    tested = (await api.client.post("/sources/lake/test")).json()

    assert tested["works"], tested
    assert bucket in tested["told"]
    found = (await api.client.get("/sources/lake/discover")).json()
    assert [each["name"] for each in found] == ["orders/"]


async def test_a_source_that_does_not_work_says_why(api: Api, server: S3Server) -> None:
    await api.client.post("/sources", json=LAKE | {"config": {"bucket": "there-is-no-such-bucket"}})

    tested = (await api.client.post("/sources/lake/test")).json()

    assert (tested["works"], tested["told"], tested["code"]) == (False, None, "source-not-found")
    assert "bucket" in tested["detail"]
    problem(await api.client.get("/sources/lake/discover"), 424, "source-not-found")


async def test_a_source_that_nobody_registered_is_not_found(api: Api) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/discover")):
        problem(await api.client.request(method, f"/sources/pond{path}"), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "lake", "kind": "ftp", "config": {}}, "/kind"),
        ({"name": "a lake", "kind": "s3", "config": {}}, "/name"),
        ({"name": "lake", "kind": "s3"}, "/config"),
        ({"name": "lake", "kind": "s3", "config": {}, "secret": "x"}, "/secret"),
        ({"name": "lake", "kind": "s3", "config": {"bucket": 7}}, "/config/bucket"),
    ],
)
async def test_a_wrong_source_is_refused_with_a_pointer(api: Api, body: dict[str, Any], pointer: str) -> None:
    assert list(errors(await api.client.post("/sources", json=body))) == [pointer]


async def test_a_source_that_is_no_json_is_told_with_its_place(api: Api) -> None:
    text = '{"name": "lake",\n  "kind": s3}'

    [wrong] = errors(
        await api.client.post("/sources", content=text, headers={"Content-Type": "application/json"})
    ).values()

    assert (wrong["pointer"], wrong["line"], wrong["column"]) == ("", 2, 11)
