"""The API for tests, called in this process: the real application, without HTTP and without Ray."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2

from dataproc.bootstrap import services_of
from dataproc.domain.job import Claim, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.store import Store
from dataproc.settings import Settings
from serve_app.app import create_app
from serve_app.description import DescribedApi
from tests.builders import a_failure, some_progress

LEASE = timedelta(seconds=30)
SPEC = {
    "name": "orders-daily",
    "source": {"kind": "files", "path": "orders/*.parquet"},
    "destination": {"table": "analytics.orders"},
}


@dataclass(frozen=True, slots=True)
class Api:
    """A started API, and a client of it."""

    app: DescribedApi
    client: httpx2.AsyncClient
    store: Store

    async def created(self, **fields: Any) -> dict[str, Any]:
        """Create a job; return what is told of it."""
        response = await self.client.post("/jobs", json=SPEC | fields)
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def claimed(self, job: Mapping[str, Any]) -> Claim:
        """Claim a job."""
        async with self.store.begin() as tables:
            return await tables.jobs.claim_one(JobId(UUID(job["id"])), "runner-1", lease=LEASE)

    async def ended(self, job: Mapping[str, Any], status: RunStatus) -> Claim:
        """Let a job run, and end."""
        claim = await self.claimed(job)
        failure = a_failure() if status is RunStatus.FAILED else None
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, status, progress=some_progress(), failure=failure)
        return claim


@asynccontextmanager
async def started(
    store: Store, settings: Settings | None = None, *, tells_request_id: bool = True, rejects_at_once: int | None = None
) -> AsyncIterator[Api]:
    """Give the API on a store, which it closes in the end."""
    services = services_of(store, settings or Settings())
    if rejects_at_once is not None:
        services = replace(services, rejects=replace(services.rejects, held_at_once=rejects_at_once))
    app = create_app(lambda: services, tells_request_id=tells_request_id)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield Api(app, client, store)


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
