"""The version of a job as `ETag` tells it, and moves that depend on it by `If-Match`."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from dataproc.domain.job import JobId
from dataproc.domain.status import RunStatus
from tests.api_app import LEASE, SPEC, Api, problem
from tests.builders import some_progress

pytestmark = pytest.mark.anyio


async def seen(api: Api, job: Mapping[str, Any]) -> str:
    """Return the `ETag` of a job as it stands now."""
    return str((await api.client.get(f"/jobs/{job['id']}")).headers["etag"])


async def cancel(api: Api, job: Mapping[str, Any], if_match: str) -> httpx2.Response:
    """Cancel a job that is as it was seen."""
    return await api.client.delete(f"/jobs/{job['id']}", headers={"If-Match": if_match})


async def retry(api: Api, job: Mapping[str, Any], if_match: str) -> httpx2.Response:
    """Retry a job that is as it was seen."""
    return await api.client.post(f"/jobs/{job['id']}/retry", headers={"If-Match": if_match})


async def test_every_reply_with_a_job_tells_its_version(api: Api) -> None:
    made = await api.client.post("/jobs", json=SPEC)
    job = made.json()

    got = await api.client.get(f"/jobs/{job['id']}")
    head = await api.client.head(f"/jobs/{job['id']}")
    cancelled = await api.client.delete(f"/jobs/{job['id']}")
    after = await seen(api, job)
    retried = await api.client.post(f"/jobs/{job['id']}/retry")

    assert made.headers["etag"] == got.headers["etag"] == head.headers["etag"]
    assert cancelled.headers["etag"] == after
    assert retried.headers["etag"] == await seen(api, job)
    assert len({reply.headers["etag"] for reply in (made, cancelled, retried)}) == 3


async def test_the_version_stays_while_only_the_progress_changes(api: Api) -> None:
    job = await api.created()
    claim = await api.claimed(job)
    before = await seen(api, job)

    async with api.store.begin() as tables:
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())

    assert await seen(api, job) == before


async def test_every_state_in_the_life_of_a_job_has_a_version_of_its_own(api: Api) -> None:
    job = await api.created()
    versions = [await seen(api, job)]
    for status in (RunStatus.FAILED, RunStatus.FAILED):
        claim = await api.claimed(job)
        versions.append(await seen(api, job))
        async with api.store.begin() as tables:
            await tables.jobs.advance(claim, RunStatus.LOADING)
        versions.append(await seen(api, job))
        async with api.store.begin() as tables:
            await tables.jobs.request_cancel(claim.job_id)
        versions.append(await seen(api, job))
        async with api.store.begin() as tables:
            await tables.jobs.finish(claim, status, progress=None, failure=None)
        versions.append(await seen(api, job))
        versions.append((await api.client.post(f"/jobs/{job['id']}/retry")).headers["etag"])

    assert len(set(versions)) == len(versions)


async def test_a_job_that_is_as_it_was_seen_is_moved(api: Api) -> None:
    job = await api.created()

    cancelled = await cancel(api, job, await seen(api, job))
    retried = await retry(api, job, cancelled.headers["etag"])

    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "CANCELLED")
    assert (retried.status_code, retried.json()["status"]) == (202, "PENDING")


@pytest.mark.parametrize("if_match", ['"0-loading"', "W/{}", "{}x", "garbage", '"', "*, {}"])
async def test_a_job_that_is_not_as_it_was_seen_is_left_alone(api: Api, if_match: str) -> None:
    waiting, ended = await api.created(), await api.created()
    await api.ended(ended, RunStatus.FAILED)
    before = [(await api.client.get(f"/jobs/{job['id']}")).json() for job in (waiting, ended)]

    refused = await cancel(api, waiting, if_match.format(await seen(api, waiting)))
    left = await retry(api, ended, if_match.format(await seen(api, ended)))

    assert "PENDING" in problem(refused, 412, "precondition-failed")["detail"]
    assert "FAILED" in problem(left, 412, "precondition-failed")["detail"]
    assert [(await api.client.get(f"/jobs/{job['id']}")).json() for job in (waiting, ended)] == before


@pytest.mark.parametrize("if_match", ["*", '"0-loading", {}', 'W/"x", {}', "{},"])
async def test_one_of_several_versions_or_any_will_do(api: Api, if_match: str) -> None:
    job = await api.created()

    response = await cancel(api, job, if_match.format(await seen(api, job)))

    assert (response.status_code, response.json()["status"]) == (202, "CANCELLED")


async def test_versions_may_come_in_several_lines(api: Api) -> None:
    job = await api.created()
    headers = [("If-Match", '"0-loading"'), ("If-Match", await seen(api, job))]

    response = await api.client.delete(f"/jobs/{job['id']}", headers=headers)

    assert response.status_code == 202


async def test_a_job_that_began_to_run_since_it_was_seen_is_not_cancelled(api: Api) -> None:
    job = await api.created()
    version = await seen(api, job)
    claim = await api.claimed(job)

    problem(await cancel(api, job, version), 412, "precondition-failed")

    async with api.store.begin() as tables:
        found = await tables.jobs.get(JobId(claim.job_id))
    assert (found.status, found.cancel_requested) == (RunStatus.INGESTING, False)


async def test_a_cancel_that_is_repeated_with_the_version_it_was_answered_with_changes_nothing(api: Api) -> None:
    job = await api.created()
    await api.claimed(job)
    first = await cancel(api, job, await seen(api, job))

    again = await cancel(api, job, first.headers["etag"])

    assert (again.status_code, again.headers["etag"], again.json()) == (202, first.headers["etag"], first.json())


async def test_a_move_that_the_status_does_not_allow_is_a_conflict_also_for_who_has_seen_it(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.COMPLETED)

    problem(await cancel(api, job, await seen(api, job)), 409, "illegal-move")


async def test_of_many_who_have_seen_the_same_one_wins(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.FAILED)
    version = await seen(api, job)

    replies = await asyncio.gather(*(retry(api, job, version) for _ in range(8)))

    assert sorted(int(reply.status_code) for reply in replies) == [202] + [412] * 7
    assert (await api.client.get(f"/jobs/{job['id']}")).json()["status"] == "PENDING"


async def test_a_cancel_waits_for_a_runner_that_is_faster_and_then_sees_what_it_did(api: Api) -> None:
    job = await api.created()
    version = await seen(api, job)
    async with api.store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        pending = asyncio.create_task(cancel(api, job, version))
        done, _ = await asyncio.wait({pending}, timeout=0.5)
        assert done == set()

    assert str(claim.job_id) == job["id"]
    problem(await pending, 412, "precondition-failed")
