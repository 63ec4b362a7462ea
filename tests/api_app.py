"""The API for tests, called in this process: the real application, without HTTP and without Ray."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx2

from dataproc.bootstrap import Services, check_connection
from dataproc.ports import Store
from dataproc.services.jobs import JobService
from dataproc.services.sources import SourceService
from serve_app.app import create_app
from serve_app.description import DescribedApi


@dataclass(frozen=True, slots=True)
class Api:
    """A started API, and a client of it."""

    app: DescribedApi
    client: httpx2.AsyncClient
    store: Store


@asynccontextmanager
async def started(store: Store, *, tells_request_id: bool = True) -> AsyncIterator[Api]:
    """Give the API on a store, which it closes in the end."""
    services = Services(JobService(store, uuid4), SourceService(store, check_connection), store)
    app = create_app(lambda: services, tells_request_id=tells_request_id)
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield Api(app, client, store)
