"""Registered sources: what jobs name as their `connection`."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from dataproc.domain.fields import Name
from dataproc.ports.store import Connection
from serve_app.dependencies import By, Sources
from serve_app.description import problems
from serve_app.source_schemas import DiscoveredView, SourceView, TestedView

router = APIRouter(prefix="/sources", tags=["sources"])


class SourceConfig(BaseModel):
    """How to reach a source; it holds no secret, but references such as `secret://crm#token`."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    config: dict[str, object]


class SourceBody(SourceConfig):
    """A source to register."""

    name: Name


@router.post("", status_code=201, responses=problems(409, 413, 422, 503))
async def register_source(body: SourceBody, response: Response, sources: Sources, by: By) -> SourceView:
    """Register a source; the same again does no harm."""
    connection = await sources.add(Connection(body.name, body.kind, body.config), by=by)
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


@router.put("/{name}", responses={201: {"model": SourceView}, **problems(413, 422, 503)})
async def put_source(name: Name, body: SourceConfig, response: Response, sources: Sources, by: By) -> SourceView:
    """Change a source, or register it; jobs that run keep what they began with."""
    connection = Connection(name, body.kind, body.config)
    if await sources.put(connection, by=by):
        response.status_code = 201
        response.headers["Location"] = f"/sources/{name}"
    return SourceView.of(connection)


@router.delete("/{name}", status_code=204, responses=problems(404, 409, 422, 503))
async def remove_source(name: Name, sources: Sources, by: By) -> None:
    """Forget a source, unless jobs that have not ended use it."""
    await sources.remove(name, by=by)


@router.post("/{name}/test", responses=problems(404, 422, 503))
async def test_source(name: Name, sources: Sources, by: By) -> TestedView:
    """Log in to a source, and tell what came of it."""
    return TestedView.of(await sources.test(name, by=by))


@router.get("/{name}/discover", responses=problems(404, 422, 424, 503))
async def discover_source(name: Name, sources: Sources, by: By) -> list[DiscoveredView]:
    """List what there is to read: folders of a bucket, tables of a database with their columns and rows."""
    return [DiscoveredView.of(found) for found in await sources.discover(name, by=by)]
