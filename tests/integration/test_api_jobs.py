"""The endpoints of jobs and sources, on a real metadata database."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from dataproc.domain.job import Claim, JobId
from dataproc.domain.status import RunStatus
from dataproc.repositories.store import PostgresStore
from tests.api_app import Api, started
from tests.builders import a_failure, some_progress

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
SPEC = {
    "name": "orders-daily",
    "source": {"kind": "files", "path": "orders/*.parquet"},
    "destination": {"table": "analytics.orders"},
}


@pytest.fixture
async def api(postgres_store: PostgresStore) -> AsyncIterator[Api]:
    async with started(postgres_store) as running:
        yield running


async def created(api: Api, **fields: Any) -> dict[str, Any]:
    """Create a job; return what is told of it."""
    response = await api.client.post("/jobs", json=SPEC | fields)
    assert response.status_code == 202, response.text
    return dict(response.json())


async def claimed(api: Api, job: Mapping[str, Any]) -> Claim:
    """Claim a job."""
    async with api.store.begin() as tables:
        return await tables.jobs.claim_one(JobId(UUID(job["id"])), "runner-1", lease=LEASE)


async def ended(api: Api, job: Mapping[str, Any], status: RunStatus) -> None:
    """Let a job run, and end."""
    claim = await claimed(api, job)
    failure = a_failure() if status is RunStatus.FAILED else None
    async with api.store.begin() as tables:
        await tables.jobs.finish(claim, status, progress=some_progress(), failure=failure)


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return a problem document, once it is sure that it is one."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:dataproc:error:{code}"
    assert body["title"]
    assert body["detail"]
    return body


def errors(response: httpx2.Response) -> dict[str, dict[str, Any]]:
    """Return the mistakes of a request, by pointer."""
    body = problem(response, 422, response.json()["code"])
    return {wrong["pointer"]: wrong for wrong in body["errors"]}


async def test_a_job_is_accepted_and_found_where_location_says(api: Api) -> None:
    response = await api.client.post("/jobs", json=SPEC)

    assert response.status_code == 202
    body = response.json()
    assert response.headers["location"] == f"/jobs/{body['id']}"
    assert (body["status"], body["name"], body["owner"], body["attempt"], body["attempts"]) == (
        "PENDING", "orders-daily", "local", 0, 5,
    )  # fmt: skip
    assert (body["started_at"], body["duration_seconds"], body["rows_per_second"], body["error"]) == (None,) * 4
    assert (await api.client.get(response.headers["location"])).json() == body


async def test_yaml_and_json_give_the_same_job(api: Api) -> None:
    yaml = "name: orders-daily\nsource: {kind: files, path: orders/*.parquet}\ndestination: {table: analytics.orders}\n"

    response = await api.client.post("/jobs", content=yaml, headers={"Content-Type": "application/yaml"})

    assert response.status_code == 202
    assert response.json()["spec"] == (await created(api))["spec"]


async def test_mistakes_in_yaml_are_told_each_with_pointer_line_and_column(api: Api) -> None:
    yaml = "name: orders-daily\nsource: {kind: ftp}\ndestination:\n  table: orders\n  colour: red\n"

    found = errors(await api.client.post("/jobs", content=yaml))

    places = {pointer: (wrong["line"], wrong["column"]) for pointer, wrong in found.items()}
    assert places == {"/source/kind": (2, 16), "/destination/table": (4, 10), "/destination/colour": (5, 3)}


async def test_mistakes_in_json_are_told_with_line_and_column(api: Api) -> None:
    text = json.dumps(SPEC | {"priority": 1000}, indent=2)

    found = errors(await api.client.post("/jobs", content=text, headers={"Content-Type": "application/json"}))

    assert list(found) == ["/priority"]
    line = found["/priority"]["line"]
    assert "priority" in text.splitlines()[line - 1]


@pytest.mark.parametrize("body", [b'{"name": "x",\n  "source": [}', b"name: [", b"", b"\xff\xfe", b"- 1\n- 2\n", b"12"])
async def test_a_body_that_is_no_job_is_a_problem(api: Api, body: bytes) -> None:
    response = await api.client.post("/jobs", content=body)

    problem(response, 422, "invalid-spec")


async def test_a_body_that_breaks_off_is_told_with_its_place(api: Api) -> None:
    [wrong] = errors(await api.client.post("/jobs", content=b'{"name": "x",\n  "source": [}')).values()

    assert (wrong["line"], wrong["column"]) == (2, 14)


async def test_what_postgresql_cannot_store_is_refused_and_not_a_fault(api: Api) -> None:
    source = {"kind": "files", "path": "orders\0"}

    found = errors(await api.client.post("/jobs", json=SPEC | {"source": source}))

    assert list(found) == ["/source/path"]


async def test_a_job_of_a_connection_that_nobody_registered_is_refused(api: Api) -> None:
    source = {"kind": "s3", "connection": "lake", "path": "orders/*.parquet"}

    found = errors(await api.client.post("/jobs", json=SPEC | {"source": source}))

    assert "'lake'" in found["/source/connection"]["detail"]


async def test_the_same_key_gives_the_same_job_and_another_spec_is_refused(api: Api) -> None:
    key = {"Idempotency-Key": "k" * 255}
    first = await api.client.post("/jobs", json=SPEC, headers=key)

    again = await api.client.post("/jobs", json=SPEC, headers=key)
    other = await api.client.post("/jobs", json=SPEC | {"name": "other"}, headers=key)

    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    problem(other, 422, "idempotency")
    assert len((await api.client.get("/jobs")).json()["jobs"]) == 1


async def test_twins_at_the_same_moment_give_one_job(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    replies = await asyncio.gather(*(api.client.post("/jobs", json=SPEC, headers=key) for _ in range(12)))

    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert len((await api.client.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "sch\xfcssel"])
async def test_a_key_that_is_empty_too_long_or_no_plain_text_is_refused(api: Api, key: str) -> None:
    response = await api.client.post("/jobs", json=SPEC, headers={b"Idempotency-Key": key.encode("latin-1")})

    assert list(errors(response)) == ["/header/Idempotency-Key"]


async def test_a_running_job_tells_stage_units_rows_and_speed(api: Api) -> None:
    claim = await claimed(api, await created(api))
    progress = some_progress(rows_rejected=8, rows_filtered=2, rows_announced=200, load="direct")
    async with api.store.begin() as tables:
        await tables.jobs.advance(claim, RunStatus.LOADING)
        await asyncio.sleep(0.01)
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=progress)

    job = (await api.client.get(f"/jobs/{claim.job_id}")).json()

    assert (job["status"], job["attempt"], job["error"]) == ("LOADING", 1, None)
    told = job["progress"]
    assert (told["ingesting"], told["transforming"], told["loading"]) == (
        {"units": 2, "rows": 100},
        {"units": 2, "rows": 90},
        {"units": 2, "rows": 90},
    )
    assert (told["units_planned"], told["rows_announced"], told["load"]) == (4, 200, "direct")
    assert job["duration_seconds"] >= 0.01
    assert job["rows_per_second"] == pytest.approx(100 / job["duration_seconds"], rel=0.1)


async def test_the_speed_of_a_running_job_is_that_of_its_last_heartbeat(api: Api) -> None:
    claim = await claimed(api, await created(api))
    async with api.store.begin() as tables:
        await asyncio.sleep(0.01)
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())

    first = (await api.client.get(f"/jobs/{claim.job_id}")).json()
    await asyncio.sleep(0.05)

    assert (await api.client.get(f"/jobs/{claim.job_id}")).json() == first


async def test_a_job_that_waits_for_another_attempt_tells_its_error_and_no_speed(api: Api) -> None:
    claim = await claimed(api, await created(api))
    async with api.store.begin() as tables:
        failure = a_failure()
        await tables.jobs.requeue(claim, delay=timedelta(hours=1), failure=failure, progress=some_progress())

    job = (await api.client.get(f"/jobs/{claim.job_id}")).json()

    assert (job["status"], job["error"]) == ("PENDING", failure.model_dump())
    assert (job["duration_seconds"], job["rows_per_second"]) == (None, None)


async def test_attempts_are_told_the_first_one_first(api: Api) -> None:
    job = await created(api)
    await ended(api, job, RunStatus.FAILED)
    await api.client.post(f"/jobs/{job['id']}/retry")
    await claimed(api, job)

    runs = (await api.client.get(f"/jobs/{job['id']}/runs")).json()

    assert [(run["status"], run["attempt"]) for run in runs] == [("FAILED", 1), ("INGESTING", 1)]
    assert runs[0]["error"]["code"] == "source-unavailable"
    assert runs[0]["progress"]["ingesting"]["rows"] == 100


async def test_a_job_that_waits_is_cancelled_at_once_and_a_running_one_is_asked(api: Api) -> None:
    waiting, running = await created(api), await created(api)
    await claimed(api, running)

    replies = [await api.client.delete(f"/jobs/{job['id']}") for job in (waiting, running, waiting)]

    assert [reply.status_code for reply in replies] == [202, 202, 202]
    assert [reply.json()["status"] for reply in replies] == ["CANCELLED", "INGESTING", "CANCELLED"]
    assert replies[1].json()["cancel_requested"] is True


async def test_a_move_that_the_status_does_not_allow_is_a_conflict(api: Api) -> None:
    done, waiting = await created(api), await created(api)
    await ended(api, done, RunStatus.COMPLETED)

    problem(await api.client.delete(f"/jobs/{done['id']}"), 409, "illegal-move")
    problem(await api.client.post(f"/jobs/{done['id']}/retry"), 409, "illegal-move")
    problem(await api.client.post(f"/jobs/{waiting['id']}/retry"), 409, "illegal-move")


async def test_a_failed_job_is_retried(api: Api) -> None:
    job = await created(api)
    await ended(api, job, RunStatus.FAILED)

    response = await api.client.post(f"/jobs/{job['id']}/retry")

    assert (response.status_code, response.json()["status"], response.json()["error"]) == (202, "PENDING", None)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/runs"), ("DELETE", ""), ("POST", "/retry")],
)
async def test_a_job_that_nobody_made_is_not_found(api: Api, method: str, path: str) -> None:
    response = await api.client.request(method, f"/jobs/{uuid4()}{path}")

    problem(response, 404, "not-found")


async def test_an_id_that_is_none_is_refused(api: Api) -> None:
    assert list(errors(await api.client.get("/jobs/one"))) == ["/path/job_id"]


async def test_jobs_are_listed_by_status_name_and_time(api: Api) -> None:
    first = await created(api)
    second = await created(api, name="orders-hourly")
    third = await created(api)
    await ended(api, first, RunStatus.COMPLETED)

    async def listed(**which: str) -> list[str]:
        response = await api.client.get("/jobs", params=which)
        assert response.status_code == 200, response.text
        return [job["id"] for job in response.json()["jobs"]]

    assert await listed() == [third["id"], second["id"], first["id"]]
    assert await listed(status="COMPLETED") == [first["id"]]
    assert await listed(name="orders-hourly") == [second["id"]]
    assert await listed(status="PENDING", name="orders-daily") == [third["id"]]
    assert await listed(created_from=second["created_at"]) == [third["id"], second["id"]]
    assert await listed(created_until=second["created_at"]) == [first["id"]]
    assert await listed(name="nothing") == []


@pytest.mark.parametrize(
    ("which", "pointer"),
    [
        ({"status": "DONE"}, "/query/status"),
        ({"name": "a\0b"}, "/query/name"),
        ({"limit": "0"}, "/query/limit"),
        ({"limit": "501"}, "/query/limit"),
        ({"limit": "many"}, "/query/limit"),
        ({"created_from": "yesterday"}, "/query/created_from"),
        ({"created_from": "2026-01-01T00:00:00"}, "/query/created_from"),
        ({"created_until": "2026-01-01"}, "/query/created_until"),
        ({"after": "x"}, "/query/after"),
        ({"after": "\xe9"}, "/query/after"),
        ({"after": "MjAyNi0wMS0wMVQwMDowMDowMCBub25l"}, "/query/after"),
        # 2026-01-01T00:00:00, without a zone
        ({"after": "MjAyNi0wMS0wMVQwMDowMDowMCAwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA="}, "/query/after"),
    ],
)
async def test_a_wrong_filter_is_named(api: Api, which: dict[str, str], pointer: str) -> None:
    assert list(errors(await api.client.get("/jobs", params=which))) == [pointer]


async def test_pages_neither_skip_nor_repeat_a_job_while_others_are_made(api: Api) -> None:
    made = [(await created(api))["id"] for _ in range(5)]
    seen, after = list[str](), None

    while True:
        params = {"limit": "2"} | ({"after": after} if after else {})
        page = (await api.client.get("/jobs", params=params)).json()
        seen += [job["id"] for job in page["jobs"]]
        await created(api)
        if (after := page["next"]) is None:
            break

    assert seen == made[::-1]


async def test_a_source_is_registered_changed_listed_and_found(api: Api) -> None:
    body: dict[str, Any] = {"name": "lake", "kind": "s3", "config": {"bucket": "lake"}}

    response = await api.client.post("/sources", json=body)
    changed = await api.client.post("/sources", json=body | {"config": {"bucket": "pond"}})

    assert (response.status_code, response.headers["location"], response.json()) == (201, "/sources/lake", body)
    assert changed.status_code == 201
    assert (await api.client.get("/sources/lake")).json()["config"]["bucket"] == "pond"
    assert [source["name"] for source in (await api.client.get("/sources")).json()] == ["lake"]


async def test_a_source_that_nobody_registered_is_not_found(api: Api) -> None:
    problem(await api.client.get("/sources/pond"), 404, "not-found")


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
