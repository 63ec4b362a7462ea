"""Jobs: accept, show, cancel, retry."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dataproc.domain.document import pointer_of
from dataproc.domain.errors import (
    IdempotencyError,
    IllegalMoveError,
    InvalidSpecError,
    NotFoundError,
    PreconditionFailedError,
    Problem,
)
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.identity import Caller
from dataproc.domain.job import Claim, Job, JobId, JobRun
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import Cursor, JobFilter, LogLine
from dataproc.ports.store import Store, StoredReply, Tables


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, and where the next page begins; `None`: this is the last."""

    jobs: Sequence[Job]
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class RunLog:
    """What an attempt at a job has logged."""

    run: JobRun
    lines: Sequence[LogLine]


@dataclass(frozen=True, slots=True)
class JobService:
    """What callers can do with jobs. Needs only the metadata database."""

    store: Store
    new_id: Callable[[], UUID]

    async def create(self, spec: JobSpec, *, by: Caller, key: str | None = None) -> Job:
        """Record a job, which the next free runner takes; the same `key` with the same spec gives the same job."""
        refuse_nul(spec)
        async with self.store.begin() as tables:
            job_id = JobId(self.new_id())
            if key is not None and (known := await self.known(tables, spec, by, key, job_id)) is not None:
                return known
            job = await add_job(tables, job_id, spec, by)
            reached(FaultPoint.ACCEPTING)
        reached(FaultPoint.ACCEPTED)
        return job

    async def create_claimed(self, spec: JobSpec, holder: str, *, lease: timedelta, by: Caller) -> Claim:
        """Record a job and claim it at once, before any runner can see it."""
        refuse_nul(spec)
        async with self.store.begin() as tables:
            job = await add_job(tables, JobId(self.new_id()), spec, by)
            return await tables.jobs.claim_one(job.id, holder, lease=lease)

    async def known(self, tables: Tables, spec: JobSpec, by: Caller, key: str, job_id: JobId) -> Job | None:
        """Return the job that this key made before; `None` when the key is now ours."""
        reply = await tables.keys.remember(by.name, key, StoredReply(fingerprint(spec), job_id))
        if reply.fingerprint != fingerprint(spec):
            raise IdempotencyError
        return None if reply.job_id == job_id else await tables.jobs.get(reply.job_id)

    async def get(self, job_id: JobId) -> Job:
        """Return a job."""
        async with self.store.begin() as tables:
            return await tables.jobs.get(job_id)

    async def runs(self, job_id: JobId) -> Sequence[JobRun]:
        """Return the attempts of a job, the first one first."""
        async with self.store.begin() as tables:
            await tables.jobs.get(job_id)
            return await tables.runs.of(job_id)

    async def logs(self, job_id: JobId, *, limit: int) -> Sequence[RunLog]:
        """Return the last `limit` lines of each attempt at a job, the first attempt first."""
        async with self.store.begin() as tables:
            await tables.jobs.get(job_id)
            return [RunLog(run, await tables.logs.of(run.id, limit=limit)) for run in await tables.runs.of(job_id)]

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> JobPage:
        """Return a page of jobs, newest first."""
        async with self.store.begin() as tables:
            jobs = await tables.jobs.find(which, after=after, limit=limit + 1)
        page = jobs[:limit]
        more = len(jobs) > limit
        return JobPage(page, Cursor(page[-1].created_at, page[-1].id) if more else None)

    async def cancel(self, job_id: JobId, *, by: Caller, seen: Collection[str] | None = None) -> Job:
        """Cancel a job: at once when it waits, by its runner when it runs. A second cancel changes nothing.

        `seen` are versions of the job: in any other one it is left alone, with `PreconditionFailedError`.
        """
        async with self.store.begin() as tables:
            job = await as_seen(tables, job_id, seen)
            if job.status is RunStatus.CANCELLED or (job.cancel_requested and job.status is not RunStatus.PENDING):
                return job
            await stop(tables, job_id)
            await tables.audit.record("job.cancelled", by=by.name, subject=str(job_id), details={})
            return await tables.jobs.get(job_id)

    async def retry(self, job_id: JobId, *, by: Caller, seen: Collection[str] | None = None) -> Job:
        """Let a job that failed or was cancelled run again; `seen` as for `cancel`."""
        async with self.store.begin() as tables:
            job = await as_seen(tables, job_id, seen)
            if not await tables.jobs.revive(job_id):
                raise IllegalMoveError(f"the job is {job.status}; only one that failed or was cancelled can be retried")
            await tables.audit.record("job.retried", by=by.name, subject=str(job_id), details={})
            return await tables.jobs.get(job_id)


async def as_seen(tables: Tables, job_id: JobId, seen: Collection[str] | None) -> Job:
    """Return a job; refuse one that is not as the caller has seen it, and keep it so until the transaction ends."""
    job = await tables.jobs.get(job_id, lock=seen is not None)
    if seen is not None and job.version not in seen:
        raise PreconditionFailedError(f"the job is {job.status} by now; read it again, and decide anew")
    return job


async def add_job(tables: Tables, job_id: JobId, spec: JobSpec, by: Caller) -> Job:
    """Record a job and who made it."""
    await require_connection(tables, spec)
    job = await tables.jobs.add(new_job(job_id, spec, by))
    await tables.audit.record("job.created", by=by.name, subject=str(job_id), details={"name": spec.name})
    return job


async def stop(tables: Tables, job_id: JobId) -> None:
    """Cancel a job that waits, or ask its runner to stop; between the two questions one may become the other."""
    while not (await tables.jobs.cancel_pending(job_id) or await tables.jobs.request_cancel(job_id)):
        status = (await tables.jobs.get(job_id)).status
        if status.is_final:
            raise IllegalMoveError(f"the job is {status}; only a job that waits or runs can be cancelled")


async def require_connection(tables: Tables, spec: JobSpec) -> None:
    """Refuse a spec that names a connection nobody registered."""
    for pointer, name in spec.connections_at.items():
        try:
            await tables.connections.get(name)
        except NotFoundError as exc:
            raise InvalidSpecError(str(exc), (Problem(pointer, str(exc)),)) from exc


def refuse_nul(spec: JobSpec) -> None:
    """Refuse a spec with the character NUL, which PostgreSQL cannot store."""
    if found := tuple(places_of_nul(spec.model_dump(mode="json"))):
        problems = tuple(Problem(pointer_of(place), "the character NUL cannot be stored: remove it") for place in found)
        raise InvalidSpecError(f"{problems[0].pointer}: {problems[0].message}", problems)


def places_of_nul(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path to each text in a JSON value that has the character NUL."""
    match value:
        case str() if "\0" in value:
            yield path
        case dict():
            for name, below in value.items():
                yield from places_of_nul(name, (*path, name))
                yield from places_of_nul(below, (*path, name))
        case list():
            for number, below in enumerate(value):
                yield from places_of_nul(below, (*path, number))


def new_job(job_id: JobId, spec: JobSpec, by: Caller) -> Job:
    """Return a job to be recorded; its times are set by the database."""
    now = datetime.now(UTC)
    return Job(job_id, spec, by.name, RunStatus.PENDING, created_at=now, updated_at=now, scheduled_for=now)


def fingerprint(spec: JobSpec) -> str:
    """Return what tells two specs apart."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
