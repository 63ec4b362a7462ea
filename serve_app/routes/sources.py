"""Registered sources: what jobs name as their `connection`."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from dataproc.domain.fields import Name
from dataproc.ports.store import Connection
from serve_app.dependencies import By, Sources
from serve_app.description import problems
from serve_app.schemas import SourceView

router = APIRouter(prefix="/sources", tags=["sources"])


class SourceBody(BaseModel):
    """A source to register; it holds no secret: credentials come from the workers' environment."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    kind: str
    config: dict[str, object]


@router.post("", status_code=201, responses=problems(413, 422, 503))
async def register_source(body: SourceBody, response: Response, sources: Sources, by: By) -> SourceView:
    """Register a source, or change one."""
    connection = await sources.put(Connection(body.name, body.kind, body.config), by=by)
    response.headers["Location"] = f"/sources/{connection.name}"
    return SourceView.of(connection)


@router.get("", responses=problems(503))
async def list_sources(sources: Sources) -> list[SourceView]:
    """List the registered sources."""
    return [SourceView.of(connection) for connection in await sources.all()]


@router.get("/{name}", responses=problems(404, 422, 503))
async def get_source(name: Name, sources: Sources) -> SourceView:
    """Show a registered source."""
    return SourceView.of(await sources.get(name))
