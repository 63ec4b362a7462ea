"""Whether the API lives, is ready, and what it measures."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serve_app.dependencies import services_of
from serve_app.schemas import HealthView

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz")
@router.get("/health")
async def health(request: Request) -> HealthView:
    """Answer 200 when jobs can be accepted: that needs the metadata database and nothing else; else 503."""
    return HealthView(status="ok", metadata=await services_of(request).store.check())


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Show the metrics of this process, and the fleet's."""
    async with services_of(request).store.begin() as tables:
        counts, depth = await tables.jobs.count_by_status(), await tables.jobs.depth()
    return Response(request.app.state.metrics.render(counts, depth), media_type=CONTENT_TYPE_LATEST)
