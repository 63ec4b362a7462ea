"""The endpoints of jobs, on a real metadata database."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dataproc.domain.status import RunStatus
from tests.api_app import LEASE, SPEC, Api, errors, problem
from tests.builders import a_failure, some_progress

pytestmark = pytest.mark.anyio


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
    assert response.json()["spec"] == (await api.created())["spec"]


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


@pytest.mark.parametrize("moment", ["2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00Z"])
async def test_a_job_that_is_scheduled_waits_for_its_time(api: Api, moment: str) -> None:
    job = await api.created(scheduled_for=moment)

    async with api.store.begin() as tables:
        claims = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
    assert claims == []
    told = (await api.client.get(f"/jobs/{job['id']}")).json()
    assert told["status"] == "PENDING"
    assert datetime.fromisoformat(told["scheduled_for"]) == datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_job_whose_time_has_passed_is_ready_at_once(api: Api) -> None:
    job = await api.created(scheduled_for="2020-01-01T00:00:00Z")

    async with api.store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
    assert str(claim.job_id) == job["id"]
    assert job["scheduled_for"] == job["created_at"]


@pytest.mark.parametrize("moment", ["2030-01-01T00:00:00", "2030-01-01", "tomorrow"])
async def test_a_schedule_without_a_zone_is_refused(api: Api, moment: str) -> None:
    found = errors(await api.client.post("/jobs", json=SPEC | {"scheduled_for": moment}))

    assert list(found) == ["/scheduled_for"]


async def test_a_job_may_ask_for_a_ray_job_of_its_own(api: Api) -> None:
    job = await api.created(execution="dedicated")

    async with api.store.begin() as tables:
        shared = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        [claim] = await tables.jobs.claim("dispatcher", lease=LEASE, limit=1, execution="dedicated")
    assert shared == []
    assert str(claim.job_id) == job["id"]
    assert job["spec"]["execution"] == "dedicated"


async def test_warnings_and_resumed_units_are_told(api: Api) -> None:
    claim = await api.claimed(await api.created())
    progress = some_progress(units_resumed=1, rows_deduplicated=4, warnings=("the source gave no row",))
    async with api.store.begin() as tables:
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=progress)

    told = (await api.client.get(f"/jobs/{claim.job_id}")).json()["progress"]

    assert (told["units_resumed"], told["rows_deduplicated"]) == (1, 4)
    assert told["warnings"] == ["the source gave no row"]
    assert told["transforming"]["rows"] == 96


async def test_a_running_job_tells_stage_units_rows_and_speed(api: Api) -> None:
    claim = await api.claimed(await api.created())
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
    claim = await api.claimed(await api.created())
    async with api.store.begin() as tables:
        await asyncio.sleep(0.01)
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())

    first = (await api.client.get(f"/jobs/{claim.job_id}")).json()
    await asyncio.sleep(0.05)

    assert (await api.client.get(f"/jobs/{claim.job_id}")).json() == first


async def test_a_job_that_waits_for_another_attempt_tells_its_error_and_no_speed(api: Api) -> None:
    claim = await api.claimed(await api.created())
    async with api.store.begin() as tables:
        failure = a_failure()
        await tables.jobs.requeue(claim, delay=timedelta(hours=1), failure=failure, progress=some_progress())

    job = (await api.client.get(f"/jobs/{claim.job_id}")).json()

    assert (job["status"], job["error"]) == ("PENDING", failure.model_dump())
    assert (job["duration_seconds"], job["rows_per_second"]) == (None, None)


async def test_attempts_are_told_the_first_one_first(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.FAILED)
    await api.client.post(f"/jobs/{job['id']}/retry")
    await api.claimed(job)

    runs = (await api.client.get(f"/jobs/{job['id']}/runs")).json()

    assert [(run["status"], run["attempt"]) for run in runs] == [("FAILED", 1), ("INGESTING", 1)]
    assert runs[0]["error"]["code"] == "source-unavailable"
    assert runs[0]["progress"]["ingesting"]["rows"] == 100


async def test_a_job_that_waits_is_cancelled_at_once_and_a_running_one_is_asked(api: Api) -> None:
    waiting, running = await api.created(), await api.created()
    await api.claimed(running)

    replies = [await api.client.delete(f"/jobs/{job['id']}") for job in (waiting, running, waiting)]

    assert [reply.status_code for reply in replies] == [202, 202, 202]
    assert [reply.json()["status"] for reply in replies] == ["CANCELLED", "INGESTING", "CANCELLED"]
    assert replies[1].json()["cancel_requested"] is True


async def test_a_move_that_the_status_does_not_allow_is_a_conflict(api: Api) -> None:
    done, waiting = await api.created(), await api.created()
    await api.ended(done, RunStatus.COMPLETED)

    problem(await api.client.delete(f"/jobs/{done['id']}"), 409, "illegal-move")
    problem(await api.client.post(f"/jobs/{done['id']}/retry"), 409, "illegal-move")
    problem(await api.client.post(f"/jobs/{waiting['id']}/retry"), 409, "illegal-move")


async def test_a_failed_job_is_retried(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.FAILED)

    response = await api.client.post(f"/jobs/{job['id']}/retry")

    assert (response.status_code, response.json()["status"], response.json()["error"]) == (202, "PENDING", None)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/runs"), ("GET", "/logs"), ("GET", "/reconciliation"), ("DELETE", ""), ("POST", "/retry")],
)
async def test_a_job_that_nobody_made_is_not_found(api: Api, method: str, path: str) -> None:
    response = await api.client.request(method, f"/jobs/{uuid4()}{path}")

    problem(response, 404, "not-found")


async def test_an_id_that_is_none_is_refused(api: Api) -> None:
    assert list(errors(await api.client.get("/jobs/one"))) == ["/path/job_id"]


async def test_jobs_are_listed_by_status_name_and_time(api: Api) -> None:
    first = await api.created()
    second = await api.created(name="orders-hourly")
    third = await api.created()
    await api.ended(first, RunStatus.COMPLETED)

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
    made = [(await api.created())["id"] for _ in range(5)]
    seen, after = list[str](), None

    while True:
        params = {"limit": "2"} | ({"after": after} if after else {})
        page = (await api.client.get("/jobs", params=params)).json()
        seen += [job["id"] for job in page["jobs"]]
        await api.created()
        if (after := page["next"]) is None:
            break

    assert seen == made[::-1]
