"""Registered sources: checked before they are kept."""

import pytest

from dataproc.domain.errors import InvalidSpecError, NotFoundError
from dataproc.domain.identity import Caller
from dataproc.ports.store import Connection
from dataproc.services.sources import SourceService
from tests.builders import a_connection
from tests.fakes.connector import FakeConnector
from tests.fakes.state import AuditEntry
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

ANN = Caller("ann")


def connector(connection: Connection) -> FakeConnector:
    if connection.kind == "ftp":
        raise InvalidSpecError
    return FakeConnector()


async def test_a_registered_source_is_found_by_its_name_and_is_in_the_audit_log() -> None:
    store = FakeStore()
    sources = SourceService(store, connector)

    await sources.put(a_connection(), by=ANN)

    assert await sources.get("lake") == a_connection()
    assert await sources.all() == [a_connection()]
    assert store.state.entries == [AuditEntry("source.registered", "ann", "lake", {"kind": "s3"})]


async def test_a_source_that_does_not_fit_is_not_kept() -> None:
    store = FakeStore()
    sources = SourceService(store, connector)

    with pytest.raises(InvalidSpecError):
        await sources.put(a_connection(kind="ftp"), by=ANN)

    assert await sources.all() == []
    with pytest.raises(NotFoundError):
        await sources.get("lake")
