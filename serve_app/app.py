"""The application: routes, errors and middleware, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from dataproc.bootstrap import Services
from serve_app import errors
from serve_app.description import DescribedApi
from serve_app.metrics import Metrics
from serve_app.middleware import BodyLimit, HeadAsGet, RequestLog
from serve_app.routes import health, jobs, plans, rejects, sources

DESCRIPTION = "Bring data from many sources into a PostgreSQL warehouse: cleaned, checked, and loaded exactly once."


def create_app(open_services: Callable[[], Services], *, tells_request_id: bool = True) -> DescribedApi:
    """Return the API; `open_services` is called when it starts, in the event loop that serves it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = open_services()
        yield
        await app.state.services.store.close()

    app = DescribedApi(title="dataproc", version="1", description=DESCRIPTION, lifespan=lifespan, redoc_url=None)
    app.state.metrics = Metrics()
    # Each is put around those before it.
    app.add_middleware(BodyLimit, most=1024 * 1024)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestLog, metrics=app.state.metrics, tells_id=tells_request_id)
    errors.install(app)
    for router in (plans.router, jobs.router, rejects.router, sources.router, health.router):
        app.include_router(router)
    return app
