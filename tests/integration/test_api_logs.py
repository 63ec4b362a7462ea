"""What runs have logged, as the API tells it."""

from datetime import UTC, datetime, timedelta

import pytest

from dataproc.domain.job import Claim
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import LogLine
from tests.api_app import Api, errors

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


async def log(api: Api, claim: Claim, *messages: str) -> None:
    """Log lines, a second apart."""
    lines = [LogLine(BEGIN + timedelta(seconds=i), "INFO", message) for i, message in enumerate(messages)]
    async with api.store.begin() as tables:
        await tables.logs.add(claim.run_id, lines)


async def test_the_lines_of_each_attempt_are_told_in_order_the_first_attempt_first(api: Api) -> None:
    job = await api.created()
    first = await api.ended(job, RunStatus.FAILED)
    await log(api, first, "planned", "failed")
    await api.client.post(f"/jobs/{job['id']}/retry")
    second = await api.claimed(job)
    await log(api, second, "planned")
    await log(api, second, "loaded")

    told = (await api.client.get(f"/jobs/{job['id']}/logs")).json()

    assert [(log["run"], log["attempt"]) for log in told] == [(str(first.run_id), 1), (str(second.run_id), 1)]
    assert [[line["message"] for line in log["lines"]] for log in told] == [
        ["planned", "failed"],
        ["planned", "loaded"],
    ]
    assert told[0]["lines"][1] == {"time": "2026-01-01T00:00:01Z", "level": "INFO", "message": "failed"}


async def test_of_many_lines_the_last_ones_of_each_attempt_are_told(api: Api) -> None:
    job = await api.created()
    claim = await api.ended(job, RunStatus.COMPLETED)
    await log(api, claim, "one", "two", "three")

    [told] = (await api.client.get(f"/jobs/{job['id']}/logs", params={"limit": 2})).json()

    assert [line["message"] for line in told["lines"]] == ["two", "three"]


async def test_a_job_that_never_ran_has_no_logs(api: Api) -> None:
    job = await api.created()

    response = await api.client.get(f"/jobs/{job['id']}/logs")

    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("limit", ["0", "10001", "many"])
async def test_a_wrong_number_of_lines_is_refused(api: Api, limit: str) -> None:
    job = await api.created()

    response = await api.client.get(f"/jobs/{job['id']}/logs", params={"limit": limit})

    assert list(errors(response)) == ["/query/limit"]
