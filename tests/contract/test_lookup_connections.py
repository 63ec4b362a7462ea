"""Registered sources that lookups name: a job needs them as it needs the one of its own source."""

from uuid import uuid4

import pytest

from dataproc.bootstrap import connections_of
from dataproc.domain.errors import ConflictError, InvalidSpecError
from dataproc.domain.identity import Caller
from dataproc.domain.spec import JobSpec
from dataproc.ports.store import Store
from dataproc.services.jobs import JobService
from tests.builders import a_connection, a_job, a_spec

pytestmark = pytest.mark.anyio

CRM = a_connection(name="crm", kind="rest", config={"url": "https://crm.test"})


def with_lookup() -> JobSpec:
    """Return a job that reads a bucket, and looks up what an API knows."""
    place = {"source": {"kind": "rest", "connection": "crm", "path": "/countries"}}
    step = {"kind": "enrich", "from": place, "on": {"c": "code"}, "columns": {"name": "name"}}
    spec = a_spec(source={"kind": "s3", "connection": "lake", "path": "a.csv"}).model_dump(mode="json")
    return JobSpec.model_validate(spec | {"transforms": [{"kind": "clean", "trim": True}, step]})


async def test_a_job_is_given_the_connections_of_its_source_and_of_its_lookups(store: Store) -> None:
    async with store.begin() as tables:
        await tables.connections.put(a_connection())
        await tables.connections.put(CRM)

    assert await connections_of(store, with_lookup()) == {"lake": a_connection(), "crm": CRM}
    assert await connections_of(store, a_spec()) == {}


async def test_a_connection_is_not_removed_while_a_lookup_of_a_job_needs_it(store: Store) -> None:
    job = a_job(spec=with_lookup())
    async with store.begin() as tables:
        await tables.connections.put(CRM)
        await tables.jobs.add(job)

    with pytest.raises(ConflictError):
        async with store.begin() as tables:
            await tables.connections.remove("crm")

    async with store.begin() as tables:
        await tables.jobs.cancel_pending(job.id)
        await tables.connections.remove("crm")
        assert await tables.connections.all() == []


async def test_a_lookup_of_a_connection_that_nobody_registered_is_a_mistake_in_the_spec(store: Store) -> None:
    async with store.begin() as tables:
        await tables.connections.put(a_connection())

    with pytest.raises(InvalidSpecError, match="crm") as refused:
        await JobService(store, uuid4).create(with_lookup(), by=Caller("ann"))

    assert [problem.pointer for problem in refused.value.problems] == ["/transforms/1/from/source/connection"]
