"""Waiting for a job by `GET /jobs/{id}?wait=SECONDS`, on a real metadata database."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from sqlalchemy import event

from dataproc.domain.status import RunStatus
from dataproc.repositories.store import PostgresStore
from dataproc.services.waiting import SHORTEST, WaitService
from tests.api_app import LEASE, Api, errors, problem
from tests.api_server import port_of
from tests.builders import some_progress
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

EARLY = 55.0
"""Seconds that show that a request has not waited for the whole of its minute, on the busiest machine."""


def waits_of(api: Api) -> WaitService:
    return api.app.state.services.waits  # type: ignore[no-any-return]  # Starlette's state is of any type


def asking(api: Api, job: dict[str, Any], seconds: float) -> asyncio.Task[httpx2.Response]:
    """Ask for a job, ready to wait."""
    return asyncio.create_task(api.client.get(f"/jobs/{job['id']}", params={"wait": seconds}, timeout=PATIENCE))


async def somebody_waits(api: Api, many: int = 1) -> None:
    await until(lambda: len(waits_of(api).waits) == many)


@contextmanager
def statements(store: object) -> Iterator[list[str]]:
    """Note the statements that the metadata database is given."""
    assert isinstance(store, PostgresStore)
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(store.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.engine.sync_engine, "before_cursor_execute", note)


@pytest.mark.parametrize("end", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_the_end_of_a_job_is_told_at_once(api: Api, end: RunStatus) -> None:
    job = await api.created()
    waiting = asking(api, job, 60)
    await somebody_waits(api)

    await api.ended(job, end)
    ended = time.monotonic()
    response = await waiting

    assert time.monotonic() - ended < EARLY
    assert (response.status_code, response.json()["status"]) == (200, end)
    assert response.headers["etag"] == f'"1-{end.lower()}"'
    assert response.json() == (await api.client.get(f"/jobs/{job['id']}")).json()


async def test_a_job_that_has_ended_is_not_waited_for(api: Api) -> None:
    job = await api.created()
    await api.ended(job, RunStatus.COMPLETED)

    begun = time.monotonic()
    response = await asking(api, job, 60)

    assert response.json()["status"] == "COMPLETED"
    assert time.monotonic() - begun < EARLY


async def test_a_job_that_goes_on_is_told_after_the_time_as_it_stands_then(api: Api) -> None:
    job = await api.created()
    begun = time.monotonic()
    waiting = asking(api, job, 1)
    await somebody_waits(api)
    claim = await api.claimed(job)
    async with api.store.begin() as tables:
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())

    response = await waiting

    assert 1 <= time.monotonic() - begun < EARLY
    assert (response.status_code, response.json()["status"]) == (200, "INGESTING")
    assert response.json()["progress"]["units_planned"] == 4


@pytest.mark.parametrize("given", ["-0.1", "60.1", "nan", "inf", "soon", ""])
async def test_a_time_that_is_none_is_refused(api: Api, given: str) -> None:
    job = await api.created()

    assert list(errors(await api.client.get(f"/jobs/{job['id']}", params={"wait": given}))) == ["/query/wait"]


async def test_a_job_that_is_not_there_is_not_waited_for(api: Api) -> None:
    missing = {"id": "00000000-0000-0000-0000-000000000001"}

    problem(await asking(api, missing, 60), 404, "not-found")


async def test_many_who_wait_cost_one_look_at_a_time(api: Api) -> None:
    jobs = [await api.created() for _ in range(3)]
    waiting = [asking(api, job, 60) for job in jobs * 20]
    await somebody_waits(api, 60)

    with statements(api.store) as seen:
        begun = time.monotonic()
        await until(lambda: len(seen) >= 10)
        spent = time.monotonic() - begun

    assert len(seen) <= spent / SHORTEST + 1
    for job in jobs:
        await api.ended(job, RunStatus.COMPLETED)
    assert [(await each).json()["status"] for each in waiting] == ["COMPLETED"] * 60


async def test_who_comes_when_enough_wait_is_answered_at_once(api: Api) -> None:
    job = await api.created()
    waits_of(api).most = 3
    waiting = [asking(api, job, 60) for _ in range(3)]
    await somebody_waits(api, 3)

    begun = time.monotonic()
    response = await asking(api, job, 60)

    assert (response.status_code, response.json()["status"]) == (200, "PENDING")
    assert time.monotonic() - begun < EARLY
    await api.ended(job, RunStatus.COMPLETED)
    await asyncio.gather(*waiting)


async def test_a_request_that_its_server_cancels_leaves_nothing_running(api: Api) -> None:
    job = await api.created()
    waiting = asking(api, job, 60)
    await somebody_waits(api)
    before = waits_of(api).looker

    waiting.cancel()

    await until(lambda: waits_of(api).looker is None)
    assert before is not None
    assert before.done()
    assert waits_of(api).waits == set()


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[int]:
    """Serve the API over HTTP, in this loop; give its port."""
    server = uvicorn.Server(uvicorn.Config(api.app, port=0, log_level="error", ws="none", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield port_of(server)
    server.should_exit = True
    await serving


async def test_a_client_that_goes_away_leaves_nothing_running(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    job = await api.created()
    async with served(api) as port:
        before = asyncio.all_tasks()
        with socket.create_connection(("127.0.0.1", port)) as client, caplog.at_level(logging.INFO):
            client.sendall(f"GET /jobs/{job['id']}?wait=60 HTTP/1.1\r\nHost: api\r\n\r\n".encode())
            await somebody_waits(api)

            client.close()

            await until(lambda: asyncio.all_tasks() <= before)
    assert waits_of(api).waits == set()
    [told] = [record for record in caplog.records if record.message == "request"]
    assert (told.__dict__["route"], told.__dict__["status"]) == ("/jobs/{job_id}?wait", 499)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_over_http_the_end_of_a_job_is_told_at_once(api: Api) -> None:
    job = await api.created()
    async with served(api) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        waiting = asyncio.create_task(client.get(f"/jobs/{job['id']}", params={"wait": 60}, timeout=PATIENCE))
        await somebody_waits(api)

        await api.ended(job, RunStatus.COMPLETED)
        ended = time.monotonic()

        assert (await waiting).json()["status"] == "COMPLETED"
        assert time.monotonic() - ended < EARLY


async def test_head_waits_as_get_does(api: Api) -> None:
    job = await api.created()
    waiting = asyncio.create_task(api.client.head(f"/jobs/{job['id']}", params={"wait": 60}))
    await somebody_waits(api)

    await api.ended(job, RunStatus.COMPLETED)

    response = await waiting
    assert (response.headers["etag"], response.content) == ('"1-completed"', b"")
