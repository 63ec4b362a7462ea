"""What callers can do with jobs, and what is refused."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from dataproc.domain.errors import IdempotencyError, IllegalMoveError, InvalidSpecError, NotFoundError
from dataproc.domain.identity import Caller
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.sources.files import S3Source
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import JobFilter
from dataproc.services.jobs import JobService
from tests.builders import a_connection, a_failure, a_spec
from tests.fakes.state import AuditEntry
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

ANN, BOB = Caller("ann"), Caller("bob")
LEASE = timedelta(seconds=30)
IN_LAKE = S3Source(kind="s3", connection="lake", path="orders/*.parquet")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def jobs(store: FakeStore) -> JobService:
    return JobService(store, uuid4)


async def claimed(store: FakeStore, job: Job) -> Claim:
    async with store.begin() as tables:
        return await tables.jobs.claim_one(job.id, "runner-1", lease=LEASE)


async def failed(store: FakeStore, job: Job) -> None:
    claim = await claimed(store, job)
    async with store.begin() as tables:
        await tables.jobs.finish(claim, RunStatus.FAILED, progress=None, failure=a_failure())


def actions(store: FakeStore) -> list[str]:
    return [entry.action for entry in store.state.entries]


async def test_a_new_job_waits_and_is_in_the_audit_log(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)

    assert (job.status, job.owner, job.attempt) == (RunStatus.PENDING, "ann", 0)
    assert store.state.entries == [AuditEntry("job.created", "ann", str(job.id), {"name": "orders-daily"})]


async def test_the_same_key_and_spec_give_the_same_job(store: FakeStore, jobs: JobService) -> None:
    first = await jobs.create(a_spec(), by=ANN, key="k1")

    assert await jobs.create(a_spec(), by=ANN, key="k1") == first
    assert actions(store) == ["job.created"]


async def test_the_same_key_for_another_spec_is_refused(jobs: JobService) -> None:
    await jobs.create(a_spec(), by=ANN, key="k1")

    with pytest.raises(IdempotencyError):
        await jobs.create(a_spec(name="orders-hourly"), by=ANN, key="k1")


async def test_keys_of_two_callers_are_two_keys(jobs: JobService) -> None:
    assert (await jobs.create(a_spec(), by=ANN, key="k1")).id != (await jobs.create(a_spec(), by=BOB, key="k1")).id


async def test_without_a_key_each_request_makes_a_job(jobs: JobService) -> None:
    assert (await jobs.create(a_spec(), by=ANN)).id != (await jobs.create(a_spec(), by=ANN)).id


async def test_a_connection_that_nobody_registered_is_a_mistake_in_the_spec(store: FakeStore, jobs: JobService) -> None:
    with pytest.raises(InvalidSpecError, match="lake") as refused:
        await jobs.create(a_spec(source=IN_LAKE), by=ANN, key="k1")

    assert [problem.pointer for problem in refused.value.problems] == ["/source/connection"]
    assert (store.state.jobs, store.state.keys) == ({}, {})


async def test_a_registered_connection_is_accepted(store: FakeStore, jobs: JobService) -> None:
    async with store.begin() as tables:
        await tables.connections.put(a_connection())

    assert (await jobs.create(a_spec(source=IN_LAKE), by=ANN)).status is RunStatus.PENDING


async def test_the_character_nul_is_refused_where_it_stands(jobs: JobService) -> None:
    spec = a_spec(source=S3Source(kind="s3", path="s3://lake/a\0b"), transforms=[])

    with pytest.raises(InvalidSpecError) as refused:
        await jobs.create(spec, by=ANN)

    assert [problem.pointer for problem in refused.value.problems] == ["/source/path"]


async def test_a_job_that_is_claimed_at_once_is_never_seen_waiting(store: FakeStore, jobs: JobService) -> None:
    claim = await jobs.create_claimed(a_spec(), "pipeline-1", lease=LEASE, by=ANN)

    assert (claim.epoch, claim.attempt, claim.holder) == (1, 1, "pipeline-1")
    assert (await jobs.get(claim.job_id)).status is RunStatus.INGESTING
    assert actions(store) == ["job.created"]


async def test_a_job_that_waits_is_cancelled_at_once(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)

    assert (await jobs.cancel(job.id, by=BOB)).status is RunStatus.CANCELLED
    assert store.state.entries[-1] == AuditEntry("job.cancelled", "bob", str(job.id), {})


async def test_a_job_that_runs_is_asked_to_stop(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    await claimed(store, job)

    cancelled = await jobs.cancel(job.id, by=ANN)

    assert (cancelled.status, cancelled.cancel_requested) == (RunStatus.INGESTING, True)


@pytest.mark.parametrize("is_running", [False, True])
async def test_a_second_cancel_changes_nothing(store: FakeStore, jobs: JobService, *, is_running: bool) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    if is_running:
        await claimed(store, job)
    first = await jobs.cancel(job.id, by=ANN)

    assert await jobs.cancel(job.id, by=ANN) == first
    assert actions(store) == ["job.created", "job.cancelled"]


async def test_a_job_that_waits_for_another_attempt_is_cancelled_at_once(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    claim = await claimed(store, job)
    await jobs.cancel(job.id, by=ANN)
    async with store.begin() as tables:
        await tables.jobs.requeue(claim, delay=timedelta(hours=1), failure=None, progress=None)

    assert (await jobs.cancel(job.id, by=ANN)).status is RunStatus.CANCELLED


async def test_a_job_that_has_failed_cannot_be_cancelled(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    await failed(store, job)

    with pytest.raises(IllegalMoveError, match="the job is FAILED"):
        await jobs.cancel(job.id, by=ANN)
    assert actions(store) == ["job.created"]


async def test_a_job_that_failed_can_be_retried_with_all_its_attempts(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    await failed(store, job)

    again = await jobs.retry(job.id, by=BOB)

    assert (again.status, again.attempt, again.failure) == (RunStatus.PENDING, 0, None)
    assert store.state.entries[-1] == AuditEntry("job.retried", "bob", str(job.id), {})


async def test_a_job_that_waits_cannot_be_retried(jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)

    with pytest.raises(IllegalMoveError, match="the job is PENDING"):
        await jobs.retry(job.id, by=ANN)


async def test_a_job_that_nobody_made_is_not_found(jobs: JobService) -> None:
    nobody = JobId(UUID(int=0))

    for asked in (jobs.get(nobody), jobs.runs(nobody), jobs.cancel(nobody, by=ANN), jobs.retry(nobody, by=ANN)):
        with pytest.raises(NotFoundError):
            await asked


async def test_runs_are_told_the_first_one_first(store: FakeStore, jobs: JobService) -> None:
    job = await jobs.create(a_spec(), by=ANN)
    await failed(store, job)
    await jobs.retry(job.id, by=ANN)
    await claimed(store, job)

    assert [run.status for run in await jobs.runs(job.id)] == [RunStatus.FAILED, RunStatus.INGESTING]


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2, 2, 1]), (5, [5]), (6, [5])])
async def test_pages_tell_of_every_job_once_and_the_last_one_says_so(
    jobs: JobService, limit: int, sizes: list[int]
) -> None:
    made = [(await jobs.create(a_spec(), by=ANN)).id for _ in range(5)]

    page = await jobs.find(JobFilter(), after=None, limit=limit)
    pages = [page.jobs]
    while page.after is not None:
        page = await jobs.find(JobFilter(), after=page.after, limit=limit)
        pages.append(page.jobs)

    assert [len(each) for each in pages] == sizes
    assert [job.id for each in pages for job in each] == made[::-1]
