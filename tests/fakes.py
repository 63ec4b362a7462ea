"""The world in memory: metadata database, cluster, source, engine, warehouse; under the laws of `tests/contract`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa

from dataproc.domain.chunk import Account, Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.errors import (
    CancelledRunError,
    ConflictError,
    FencedError,
    IllegalMoveError,
    MetadataUnavailableError,
    NotFoundError,
    RowRefusedError,
    WarehouseUnavailableError,
)
from dataproc.domain.job import Claim, Failure, Job, JobId, JobRun, Progress, RunId
from dataproc.domain.spec import Destination
from dataproc.domain.status import RunStatus
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports import (
    Connection,
    Cursor,
    Event,
    ExpiredLease,
    Heartbeat,
    JobFilter,
    LoadId,
    Published,
    QueueDepth,
    Step,
    StoredReply,
    Submission,
    SubmissionId,
    Transform,
)
from dataproc.repositories import events
from tests.builders import SOME_TIME


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a job, and until when."""

    claim: Claim
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what."""

    action: str
    by: str
    subject: str
    details: Mapping[str, object]


@dataclass(slots=True)
class State:
    """All rows."""

    jobs: dict[JobId, Job] = field(default_factory=dict)
    runs: dict[RunId, JobRun] = field(default_factory=dict)
    leases: dict[JobId, Lease] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    keys: dict[tuple[str, str], StoredReply] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    events: dict[UUID, Event] = field(default_factory=dict)
    delivered: set[UUID] = field(default_factory=set)


@dataclass(slots=True)
class FakeStore:
    """A store whose clock stands still until a test moves `now`; transactions come one after the other."""

    now: datetime = SOME_TIME
    state: State = field(default_factory=State)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_away: bool = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["FakeTables"]:
        if self.is_away:
            raise MetadataUnavailableError
        async with self.turn:
            before = State(**{part.name: copy(getattr(self.state, part.name)) for part in fields(State)})
            try:
                yield FakeTables(self)
            except BaseException:
                self.state = before
                raise

    async def check(self) -> str:
        return "in memory"

    async def close(self) -> None:
        """Nothing is open."""

    def tick(self) -> datetime:
        """Return the time, a microsecond later than the last one, so that things have an order."""
        self.now += timedelta(microseconds=1)
        return self.now


@dataclass(frozen=True, slots=True)
class FakeTables:
    """All tables, in one transaction."""

    store: FakeStore

    @property
    def jobs(self) -> "FakeJobs":
        return FakeJobs(self.store)

    @property
    def runs(self) -> "FakeRuns":
        return FakeRuns(self.store)

    @property
    def connections(self) -> "FakeConnections":
        return FakeConnections(self.store.state)

    @property
    def keys(self) -> "FakeIdempotencyKeys":
        return FakeIdempotencyKeys(self.store.state)

    @property
    def audit(self) -> "FakeAudit":
        return FakeAudit(self.store.state)

    @property
    def outbox(self) -> "FakeOutbox":
        return FakeOutbox(self.store.state)


@dataclass(frozen=True, slots=True)
class FakeJobs:
    """The queue and the truth about jobs."""

    store: FakeStore

    @property
    def state(self) -> State:
        return self.store.state

    async def add(self, job: Job) -> Job:
        if job.id in self.state.jobs:
            raise ConflictError(f"there is a job {job.id} already")
        now = self.store.tick()
        new = Job(job.id, job.spec, job.owner, RunStatus.PENDING, now, now, now)
        self.state.jobs[job.id] = new
        return new

    async def get(self, job_id: JobId) -> Job:
        if job_id not in self.state.jobs:
            raise NotFoundError(f"there is no job {job_id}")
        return self.view(self.state.jobs[job_id])

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> Sequence[Job]:
        found = [job for job in self.state.jobs.values() if matches(job, which)]
        found.sort(key=newest, reverse=True)
        rest = [job for job in found if after is None or newest(job) < (after.created_at, after.id)]
        return [self.view(job) for job in rest[:limit]]

    async def claim(self, holder: str, *, lease: timedelta, limit: int) -> Sequence[Claim]:
        ready = sorted(self.ready(), key=lambda job: (-job.spec.priority, job.scheduled_for, job.created_at, job.id))
        return [self.take(job, holder, lease) for job in ready[:limit]]

    async def claim_one(self, job_id: JobId, holder: str, *, lease: timedelta) -> Claim:
        job = await self.get(job_id)
        if job.status is not RunStatus.PENDING:
            raise IllegalMoveError(f"job {job_id} is {job.status}, only a PENDING job can be claimed")
        return self.take(self.state.jobs[job_id], holder, lease)

    async def heartbeat(self, claim: Claim, *, lease: timedelta, progress: Progress) -> Heartbeat:
        self.check(claim)
        self.state.leases[claim.job_id] = Lease(claim, self.store.tick() + lease)
        self.change_run(claim, progress=progress)
        return Heartbeat(self.state.jobs[claim.job_id].cancel_requested)

    async def advance(self, claim: Claim, to: RunStatus) -> None:
        if not to.is_running:
            raise IllegalMoveError(f"advance() leads to a running stage, not to {to}")
        self.check(claim)
        if not self.state.jobs[claim.job_id].status.may_become(to):
            raise IllegalMoveError(f"job {claim.job_id} is not before {to}")
        self.change_job(claim.job_id, status=to)
        self.change_run(claim, status=to)

    async def finish(self, claim: Claim, to: RunStatus, *, progress: Progress | None, failure: Failure | None) -> None:
        if not to.is_final:
            raise IllegalMoveError(f"finish() leads to a final status, not to {to}")
        self.end_run(claim, to, progress, failure)
        self.change_job(claim.job_id, status=to, failure=failure, finished_at=self.store.now)
        await FakeOutbox(self.state).add(events.run_ended(claim, to, failure))

    async def requeue(
        self, claim: Claim, *, delay: timedelta, failure: Failure | None, progress: Progress | None
    ) -> None:
        self.end_run(claim, RunStatus.FAILED, progress, failure)
        later = self.store.now + delay
        self.change_job(claim.job_id, status=RunStatus.PENDING, failure=failure, scheduled_for=later)

    async def cancel_pending(self, job_id: JobId) -> bool:
        job = self.state.jobs.get(job_id)
        if job is None or job.status is not RunStatus.PENDING:
            return False
        self.change_job(job_id, status=RunStatus.CANCELLED, finished_at=self.store.tick())
        await FakeOutbox(self.state).add(events.never_ran(job))
        return True

    async def request_cancel(self, job_id: JobId) -> bool:
        job = self.state.jobs.get(job_id)
        if job is None or not job.status.is_running:
            return False
        self.change_job(job_id, cancel_requested=True)
        return True

    async def revive(self, job_id: JobId) -> bool:
        job = self.state.jobs.get(job_id)
        if job is None or job.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
            return False
        now = self.store.tick()
        new = Job(job.id, job.spec, job.owner, RunStatus.PENDING, job.created_at, now, now, epoch=job.epoch + 1)
        self.state.jobs[job_id] = new
        return True

    async def expired(self, *, limit: int) -> Sequence[ExpiredLease]:
        ended = [lease for lease in self.state.leases.values() if lease.expires_at <= self.store.now]
        ended.sort(key=lambda lease: (lease.expires_at, lease.claim.job_id))
        return [self.take_over(lease, f"reaper-{uuid4()}") for lease in ended[:limit]]

    async def depth(self) -> QueueDepth:
        ready = self.ready()
        running = sum(job.status.is_running for job in self.state.jobs.values())
        oldest = self.store.now - min(job.scheduled_for for job in ready) if ready else None
        return QueueDepth(len(ready), running, oldest)

    async def count_by_status(self) -> Mapping[RunStatus, int]:
        statuses = [job.status for job in self.state.jobs.values()]
        return {status: statuses.count(status) for status in RunStatus}

    def ready(self) -> list[Job]:
        """Return the jobs that may be claimed now."""
        pending = [job for job in self.state.jobs.values() if job.status is RunStatus.PENDING]
        return [job for job in pending if job.scheduled_for <= self.store.now]

    def take(self, job: Job, holder: str, lease: timedelta) -> Claim:
        """Give a job a new epoch, a run and a lease."""
        now = self.store.tick()
        epoch, attempt = job.epoch + 1, job.attempt + 1
        claim = Claim(job.id, RunId(uuid4()), epoch, attempt, holder, job.spec, job.owner)
        first: dict[str, Any] = {"started_at": now, "finished_at": None, "failure": None}
        self.change_job(job.id, status=RunStatus.INGESTING, epoch=epoch, attempt=attempt, **first)
        self.state.runs[claim.run_id] = JobRun(
            claim.run_id, job.id, attempt, epoch, RunStatus.INGESTING, holder, started_at=now
        )
        self.state.leases[job.id] = Lease(claim, now + lease)
        return claim

    def take_over(self, lease: Lease, reaper: str) -> ExpiredLease:
        """Give an expired claim to a reaper."""
        claim = replace(lease.claim, holder=reaper)
        self.state.leases[claim.job_id] = Lease(claim, self.store.now + timedelta(minutes=1))
        return ExpiredLease(claim, self.state.jobs[claim.job_id].cancel_requested, lease.claim.holder)

    def check(self, claim: Claim) -> None:
        """Raise `FencedError` when the claim is over."""
        lease = self.state.leases.get(claim.job_id)
        if lease is None or lease.expires_at <= self.store.now:
            raise FencedError(f"the claim on job {claim.job_id} is over")
        if (lease.claim.epoch, lease.claim.holder) != (claim.epoch, claim.holder):
            raise FencedError(f"the claim on job {claim.job_id} is over")

    def end_run(self, claim: Claim, to: RunStatus, progress: Progress | None, failure: Failure | None) -> None:
        """End the run of a claim and drop its lease."""
        self.check(claim)
        del self.state.leases[claim.job_id]
        told = {} if progress is None else {"progress": progress}
        self.change_run(claim, status=to, failure=failure, finished_at=self.store.tick(), **told)

    def change_job(self, job_id: JobId, **changes: Any) -> None:
        """Change a job."""
        self.state.jobs[job_id] = replace(self.state.jobs[job_id], updated_at=self.store.now, **changes)

    def change_run(self, claim: Claim, **changes: Any) -> None:
        """Change the run of a claim."""
        self.state.runs[claim.run_id] = replace(self.state.runs[claim.run_id], **changes)

    def view(self, job: Job) -> Job:
        """Return a job with the progress of its latest run; a waiting job has made none."""
        latest = [run.progress for run in self.state.runs.values() if (run.job_id, run.epoch) == (job.id, job.epoch)]
        return job if job.status is RunStatus.PENDING or not latest else replace(job, progress=latest[0])


@dataclass(frozen=True, slots=True)
class FakeRuns:
    """The history of attempts."""

    store: FakeStore

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        mine = [run for run in self.store.state.runs.values() if run.job_id == job_id]
        return sorted(mine, key=lambda run: run.epoch)


@dataclass(frozen=True, slots=True)
class FakeConnections:
    """Registered sources."""

    state: State

    async def put(self, connection: Connection) -> None:
        self.state.connections[connection.name] = connection

    async def get(self, name: str) -> Connection:
        if name not in self.state.connections:
            raise NotFoundError(f"there is no connection {name!r}")
        return self.state.connections[name]

    async def all(self) -> Sequence[Connection]:
        return [self.state.connections[name] for name in sorted(self.state.connections)]


@dataclass(frozen=True, slots=True)
class FakeIdempotencyKeys:
    """Replies that were given."""

    state: State

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        return self.state.keys.setdefault((owner, key), reply)


@dataclass(frozen=True, slots=True)
class FakeAudit:
    """Who did what; `store.state.entries` has it."""

    state: State

    async def record(self, action: str, *, by: str, subject: str, details: Mapping[str, object]) -> None:
        self.state.entries.append(AuditEntry(action, by, subject, dict(details)))


@dataclass(frozen=True, slots=True)
class FakeOutbox:
    """Events that wait for delivery."""

    state: State

    async def add(self, event: Event) -> None:
        self.state.events.setdefault(event.id, event)

    async def pending(self, *, limit: int) -> Sequence[Event]:
        return [event for event in self.state.events.values() if event.id not in self.state.delivered][:limit]

    async def delivered(self, event_id: UUID) -> None:
        self.state.delivered.add(event_id)


def newest(job: Job) -> tuple[datetime, UUID]:
    """Return what jobs are listed by."""
    return (job.created_at, job.id)


def matches(job: Job, which: JobFilter) -> bool:
    """Whether a job is wanted."""
    return (
        which.status in (None, job.status)
        and which.name in (None, job.spec.name)
        and (which.created_from is None or job.created_at >= which.created_from)
        and (which.created_until is None or job.created_at < which.created_until)
    )


# ── the cluster ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class FakeCluster:
    """A cluster whose Ray Jobs run at once and until they are stopped."""

    bears: int = 8
    jobs: dict[SubmissionId, str] = field(default_factory=dict)
    entrypoints: dict[SubmissionId, str] = field(default_factory=dict)

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        if submission_id not in self.jobs:
            self.jobs[submission_id] = "RUNNING"
            self.entrypoints[submission_id] = entrypoint

    async def list(self, prefix: str) -> Sequence[Submission]:
        return [Submission(name, self.jobs[name]) for name in sorted(self.jobs) if name.startswith(prefix)]

    async def stop(self, submission_id: SubmissionId) -> None:
        if self.jobs.get(submission_id) == "RUNNING":
            self.jobs[submission_id] = "STOPPED"

    async def slots(self) -> int:
        return self.bears


# ── the data plane ───────────────────────────────────────────────────────────────────────────────

ID = pa.schema([("id", pa.int64())])


def look_away(_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class ListSource:
    """A source of one column `id`: each list is a unit; `on_read` sees a unit before it is read."""

    ids: Sequence[Sequence[int]]
    on_read: Callable[[Unit], None] = look_away

    def plan(self) -> SourcePlan:
        units = (Unit(f"u{n}", f"list/{n}", "1", 8 * len(ids), rows=len(ids)) for n, ids in enumerate(self.ids))
        return SourcePlan(tuple(units), ID)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        self.on_read(unit)
        rows = pa.table({"id": self.ids[int(unit.id.removeprefix("u"))]}, schema=ID)
        return number(unit.id, ID, [(with_positions(rows, 0), no_rejects())])


@dataclass(slots=True)
class FakeEngine:
    """Runs the work in this process, one unit after the other."""

    running: int = 0

    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        self.running += 1
        try:
            yield (load(changed(chunk, transforms)) for unit in units for chunk in read(unit))
        finally:
            self.running -= 1


def changed(chunk: Chunk, transforms: Sequence[Transform]) -> Chunk:
    """Return a chunk after all transforms."""
    for transform in transforms:
        chunk = transform.apply(chunk)
    return chunk


@dataclass(frozen=True, slots=True)
class Fence:
    """Up to which epoch a job may be published, and whether it may at all."""

    epoch: int
    cancelled: bool = False


@dataclass(slots=True)
class FakeWarehouse:
    """A warehouse in memory; `refused` are ids that it takes in no row."""

    refused: frozenset[int] = frozenset()
    rows: dict[str, list[int]] = field(default_factory=dict)
    fences: dict[JobId, Fence] = field(default_factory=dict)
    ledger: dict[JobId, Published] = field(default_factory=dict)
    cleaned: list[tuple[JobId, int]] = field(default_factory=list)
    opened: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    is_away: bool = False
    on_published: Callable[[Published], None] = look_away

    def fence(self, load_id: LoadId) -> Published | None:
        self.check()
        fence = self.fences.get(load_id.job_id, Fence(0))
        if fence.epoch > load_id.epoch or (fence.epoch == load_id.epoch and fence.cancelled):
            raise FencedError
        self.fences[load_id.job_id] = Fence(load_id.epoch)
        return self.ledger.get(load_id.job_id)

    def open(self, load_id: LoadId, destination: Destination, schema: pa.Schema, size: int) -> "FakeLoad":
        self.check()
        self.opened.append((tuple(schema.names), size))
        return FakeLoad(self, load_id, destination.table, "staged" if destination.load == "staged" else "direct")

    def published(self, job_id: JobId) -> Published | None:
        self.check()
        return self.ledger.get(job_id)

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        self.check()
        if self.fences.get(job_id, Fence(0)).epoch <= epoch:
            self.fences[job_id] = Fence(epoch, cancelled=True)
        return self.ledger.get(job_id)

    def clean(self, job_id: JobId, epoch: int) -> None:
        self.check()
        self.cleaned.append((job_id, epoch))

    def check(self) -> str:
        if self.is_away:
            raise WarehouseUnavailableError
        return "in memory"


@dataclass(frozen=True, slots=True)
class FakeLoad:
    """A load on its way."""

    warehouse: FakeWarehouse
    load_id: LoadId
    target: str
    way: str

    def step(self, chunk: Chunk) -> LoadedChunk:
        """Return a chunk with its ids as the payload; the staged way sets aside what the warehouse refuses."""
        ids = chunk.rows["id"].to_pylist()
        taken = [one for one in ids if self.way == "direct" or one not in self.warehouse.refused]
        rejected = chunk.rejected + len(ids) - len(taken)
        payload = json.dumps(taken).encode()
        return LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, len(taken), rejected, chunk.filtered, payload, payload
        )

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Account], None]) -> Published:
        tally, rows = Tally(), list[int]()
        for chunk in results:
            if tally.add(chunk):
                rows += json.loads(bytes(chunk.payload))
        if not self.warehouse.refused.isdisjoint(rows):
            raise RowRefusedError
        tally.verify(plan)
        check(tally.account)
        self.take_fence()
        published = Published(self.target, tally.account, self.way)
        self.warehouse.rows.setdefault(self.target, []).extend(rows)
        self.warehouse.ledger[self.load_id.job_id] = published
        self.warehouse.on_published(published)
        return published

    def take_fence(self) -> None:
        """Stop unless this epoch may publish."""
        self.warehouse.check()
        fence = self.warehouse.fences.get(self.load_id.job_id)
        if fence is None or fence.epoch != self.load_id.epoch:
            raise FencedError
        if fence.cancelled:
            raise CancelledRunError
