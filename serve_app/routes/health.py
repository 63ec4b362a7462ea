"""Whether the API lives, is ready, and what it measures."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from dataproc.domain.errors import FatalError, MetadataUnavailableError
from serve_app.dependencies import services_of
from serve_app.description import problems
from serve_app.errors import NotReadyError
from serve_app.metrics import Fleet
from serve_app.schemas import HealthView

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz", responses=problems(503))
@router.get("/health", responses=problems(503))
async def health(request: Request) -> HealthView:
    """Answer 200 when jobs can be accepted: that needs the metadata database, migrated, and nothing else; else 503."""
    try:
        return HealthView(status="ok", metadata=await services_of(request).check())
    except FatalError as exc:
        raise NotReadyError(str(exc)) from exc


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Show the metrics of this process, and the fleet's as long as the metadata database answers."""
    try:
        async with services_of(request).store.begin() as tables:
            fleet = Fleet(await tables.jobs.count_by_status(), await tables.jobs.depth())
    except (MetadataUnavailableError, FatalError):
        fleet = None
    return Response(request.app.state.metrics.render(fleet), media_type=CONTENT_TYPE_LATEST)
