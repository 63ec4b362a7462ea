"""Registered sources: checked before they are kept, and asked on behalf of somebody who is written down."""

from dataclasses import dataclass

import pytest

from dataproc.domain.errors import ConflictError, InvalidSpecError, NotFoundError, SourceRefusedError
from dataproc.domain.identity import Caller
from dataproc.ports.connector import Discovered
from dataproc.ports.store import Connection
from dataproc.services.sources import SourceService
from tests.builders import a_connection, a_job, a_spec
from tests.fakes.connector import FakeConnector
from tests.fakes.state import AuditEntry
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

ANN = Caller("ann")


@dataclass(frozen=True, slots=True)
class ClosedConnector(FakeConnector):
    """A source that lets nobody in."""

    def test(self) -> str:
        raise SourceRefusedError


def connector(connection: Connection) -> FakeConnector:
    match connection.kind:
        case "ftp":
            raise InvalidSpecError
        case "closed":
            return ClosedConnector()
        case _:
            return FakeConnector(found=(Discovered("orders", (("id", "int8"),), 7),))


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def sources(store: FakeStore) -> SourceService:
    return SourceService(store, connector)


def actions(store: FakeStore) -> list[str]:
    return [entry.action for entry in store.state.entries]


async def test_a_registered_source_is_found_by_its_name_and_is_in_the_audit_log(
    store: FakeStore, sources: SourceService
) -> None:
    await sources.add(a_connection(), by=ANN)

    assert await sources.get("lake") == a_connection()
    assert await sources.all() == [a_connection()]
    assert store.state.entries == [AuditEntry("source.registered", "ann", "lake", {"kind": "s3"})]


async def test_the_same_source_is_registered_once_and_another_one_of_its_name_not_at_all(
    store: FakeStore, sources: SourceService
) -> None:
    await sources.add(a_connection(), by=ANN)
    await sources.add(a_connection(), by=ANN)

    with pytest.raises(ConflictError, match="lake"):
        await sources.add(a_connection(config={"bucket": "pond"}), by=ANN)

    assert await sources.get("lake") == a_connection()
    assert actions(store) == ["source.registered"]


async def test_a_source_can_be_changed_and_that_is_told_apart(store: FakeStore, sources: SourceService) -> None:
    assert await sources.put(a_connection(), by=ANN)
    assert not await sources.put(a_connection(config={"bucket": "pond"}), by=ANN)

    assert (await sources.get("lake")).config == {"bucket": "pond"}
    assert actions(store) == ["source.registered", "source.changed"]


async def test_a_source_that_does_not_fit_is_not_kept(sources: SourceService) -> None:
    for keep in (sources.put, sources.add):
        with pytest.raises(InvalidSpecError):
            await keep(a_connection(kind="ftp"), by=ANN)

    assert await sources.all() == []
    with pytest.raises(NotFoundError):
        await sources.get("lake")


async def test_a_source_is_removed_unless_a_job_needs_it(store: FakeStore, sources: SourceService) -> None:
    await sources.add(a_connection(), by=ANN)
    spec = a_spec(source={"kind": "s3", "connection": "lake", "path": "a.csv"})
    async with store.begin() as tables:
        job = await tables.jobs.add(a_job(spec=spec))

    with pytest.raises(ConflictError):
        await sources.remove("lake", by=ANN)
    async with store.begin() as tables:
        await tables.jobs.cancel_pending(job.id)
    await sources.remove("lake", by=ANN)

    assert await sources.all() == []
    assert actions(store) == ["source.registered", "source.removed"]
    with pytest.raises(NotFoundError):
        await sources.remove("lake", by=ANN)


async def test_a_source_says_what_it_is_and_what_there_is_to_read(store: FakeStore, sources: SourceService) -> None:
    await sources.add(a_connection(), by=ANN)

    tested = await sources.test("lake", by=ANN)

    assert (tested.told, tested.error) == ("in memory 1.0", None)
    assert await sources.discover("lake", by=ANN) == (Discovered("orders", (("id", "int8"),), 7),)
    assert actions(store) == ["source.registered", "source.tested", "source.discovered"]


async def test_a_source_that_refuses_is_an_answer_and_not_a_fault(sources: SourceService) -> None:
    await sources.add(a_connection(kind="closed"), by=ANN)

    tested = await sources.test("lake", by=ANN)

    assert tested.told is None
    assert isinstance(tested.error, SourceRefusedError)
