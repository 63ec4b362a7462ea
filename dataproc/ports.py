"""What the services need from the world, as protocols.

The control plane (`Store`, `Cluster`) is async; the data plane (`Source`, `Transform`, `Engine`,
`Warehouse`) is sync, because it runs inside Ray tasks and one thread of a runner's slot.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType, Protocol
from uuid import UUID

import pyarrow as pa

from dataproc.domain.chunk import Account, Chunk, LoadedChunk
from dataproc.domain.job import Claim, Failure, Job, JobId, JobRun, Progress
from dataproc.domain.spec import Destination
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import SourcePlan, Unit

# ── control plane: the metadata database ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; `None` means any."""

    status: RunStatus | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page of jobs ended: newest first, by time of creation, then id."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to a heartbeat that was in time."""

    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease that ended, taken over: `claim` is now the caller's to finish or requeue."""

    claim: Claim
    cancel_requested: bool
    lost_holder: str = ""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What an Idempotency-Key was used for."""

    fingerprint: str
    job_id: JobId


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much there is to do."""

    ready: int
    running: int
    oldest_ready: timedelta | None


@dataclass(frozen=True, slots=True)
class Connection:
    """A registered source: where it is and how to reach it, without secrets."""

    name: str
    kind: str
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Event:
    """Something others will be told of; its id stays the same however often it is delivered."""

    id: UUID
    kind: str
    job_id: JobId
    data: Mapping[str, object]


class Jobs(Protocol):
    """The queue and the truth about jobs. All times are the database's."""

    async def add(self, job: Job) -> Job:
        """Record a new PENDING job; the database sets its times."""

    async def get(self, job_id: JobId) -> Job:
        """Return a job, or raise `NotFoundError`."""

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> Sequence[Job]:
        """Return up to `limit` jobs, newest first, that come after the cursor."""

    async def claim(self, holder: str, *, lease: timedelta, limit: int) -> Sequence[Claim]:
        """Claim up to `limit` ready jobs, by priority, then age; each gets a new epoch, a run and a lease."""

    async def claim_one(self, job_id: JobId, holder: str, *, lease: timedelta) -> Claim:
        """Claim this PENDING job, or raise `IllegalMoveError`."""

    async def heartbeat(self, claim: Claim, *, lease: timedelta, progress: Progress) -> Heartbeat:
        """Renew the lease and record the progress, or raise `FencedError` when the claim is over."""

    async def advance(self, claim: Claim, to: RunStatus) -> None:
        """Move the run on to a later stage, or raise `FencedError` when the claim is over."""

    async def finish(self, claim: Claim, to: RunStatus, *, progress: Progress | None, failure: Failure | None) -> None:
        """End run and job in the final status `to` and drop the lease, or raise `FencedError`."""

    async def requeue(
        self, claim: Claim, *, delay: timedelta, failure: Failure | None, progress: Progress | None
    ) -> None:
        """End the run as FAILED and make the job PENDING again after `delay`, or raise `FencedError`."""

    async def cancel_pending(self, job_id: JobId) -> bool:
        """Make a PENDING job CANCELLED; return whether it was PENDING."""

    async def request_cancel(self, job_id: JobId) -> bool:
        """Ask the runner of a running job to stop; return whether the job was running."""

    async def revive(self, job_id: JobId) -> bool:
        """Make a FAILED or CANCELLED job PENDING again, its attempts counted anew; return whether it was one."""

    async def expired(self, *, limit: int) -> Sequence[ExpiredLease]:
        """Take over claims whose lease has ended, under a holder of their own and for a minute.

        What the lost runner still asks for is fenced, and no other reaper gets the same claim.
        """

    async def depth(self) -> QueueDepth:
        """Return how many jobs are ready and running."""

    async def count_by_status(self) -> Mapping[RunStatus, int]:
        """Return the number of jobs in each status; a status without jobs is 0."""


class Runs(Protocol):
    """The history of attempts."""

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        """Return the runs of a job, the first attempt first."""


class Connections(Protocol):
    """Registered sources."""

    async def put(self, connection: Connection) -> None: ...
    async def get(self, name: str) -> Connection: ...
    async def all(self) -> Sequence[Connection]: ...


class IdempotencyKeys(Protocol):
    """Replies that were given, kept so that a repeated request gets the same."""

    async def remember(self, owner: str, key: str, reply: StoredReply) -> StoredReply:
        """Store `reply` unless the key is taken; return what stands there now. Waits for a twin that is in flight."""


class Audit(Protocol):
    """An append-only, hash-chained log of who did what."""

    async def record(self, action: str, *, by: str, subject: str, details: Mapping[str, object]) -> None: ...


class Outbox(Protocol):
    """Events to deliver, recorded in the transaction that made them true."""

    async def add(self, event: Event) -> None: ...
    async def pending(self, *, limit: int) -> Sequence[Event]: ...
    async def delivered(self, event_id: UUID) -> None: ...


class Tables(Protocol):
    """All tables, in one transaction."""

    @property
    def jobs(self) -> Jobs: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def connections(self) -> Connections: ...
    @property
    def keys(self) -> IdempotencyKeys: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def outbox(self) -> Outbox: ...


class Store(Protocol):
    """The metadata database."""

    def begin(self) -> AbstractAsyncContextManager[Tables]:
        """Open a transaction: committed at the end of the block, rolled back when it raises."""

    async def check(self) -> str:
        """Return the server's version and the schema's revision, or raise `MetadataUnavailableError`."""

    async def close(self) -> None: ...


# ── control plane: the cluster ───────────────────────────────────────────────────────────────────

SubmissionId = NewType("SubmissionId", str)


@dataclass(frozen=True, slots=True)
class Submission:
    """A Ray Job as the cluster tells it."""

    id: SubmissionId
    status: str

    @property
    def is_alive(self) -> bool:
        """Whether it runs or will run."""
        return self.status in ("PENDING", "RUNNING")


class Cluster(Protocol):
    """The Ray Jobs of a cluster."""

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        """Submit a Ray Job; one of that id that is there already is left alone."""

    async def list(self, prefix: str) -> Sequence[Submission]:
        """Return the Ray Jobs whose submission id begins with `prefix`."""

    async def stop(self, submission_id: SubmissionId) -> None: ...

    async def slots(self) -> int:
        """Return how many Datasets may run at once in the cluster."""


# ── data plane ───────────────────────────────────────────────────────────────────────────────────


class Source(Protocol):
    """A source of rows. It travels to Ray workers, so it must pickle, and holds no open connection."""

    def plan(self) -> SourcePlan:
        """Cut the source into units; the same source gives the same plan."""

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit, each with the plan's schema and the column `POSITION` last."""


class Transform(Protocol):
    """A pure function of a chunk. It travels to Ray workers, so it must pickle."""

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the schema that comes out, without `POSITION`, or raise `ContractViolationError` with the column."""

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk transformed; `POSITION` stays with its rows, and the account stays balanced."""


Step = Callable[[Chunk], LoadedChunk]


class Engine(Protocol):
    """Runs the work on every unit, in parallel."""

    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> AbstractContextManager[Iterator[LoadedChunk]]:
        """Read, transform and load all units; the results come in any order, and may come twice."""


@dataclass(frozen=True, slots=True)
class LoadId:
    """Which load: the job, the claim's epoch and the run."""

    job_id: JobId
    epoch: int
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Published:
    """A load as its ledger row tells it."""

    target: str
    account: Account
    way: str


class Load(Protocol):
    """One load on its way into a target."""

    @property
    def way(self) -> str:
        """`direct` or `staged`."""

    @property
    def step(self) -> Step:
        """What each worker does with a transformed chunk; it pickles."""

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Account], None]) -> Published:
        """Take all results and publish them in one transaction; `check` may refuse the totals before commit."""


class Warehouse(Protocol):
    """Where the data go, together with fence, chunks, ledger and rejects."""

    def fence(self, load_id: LoadId) -> Published | None:
        """Let this epoch publish, and no earlier one; return what an earlier one published."""

    def open(self, load_id: LoadId, destination: Destination, schema: pa.Schema, size: int) -> Load:
        """Look at the target and choose the way of the load; nothing is changed in the target."""

    def published(self, job_id: JobId) -> Published | None:
        """Return what the ledger says of a job; `None`: nothing was published."""

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        """Forbid any publish of this epoch or an earlier one; return what was published, if a publish won."""

    def clean(self, job_id: JobId, epoch: int) -> None:
        """Drop the staging tables of an epoch that is over, and of every earlier one."""

    def check(self) -> str:
        """Return the server's version, or raise `WarehouseUnavailableError`."""


@dataclass(frozen=True, slots=True)
class TargetPreview:
    """A target as a load would find it: its columns (name and type), or the statements that would make it."""

    table: str
    exists: bool
    columns: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]
    way: str


class TargetPreviewer(Protocol):
    """What planning needs of a warehouse."""

    def preview(self, destination: Destination, schema: pa.Schema, size: int) -> TargetPreview:
        """Return what a load of rows of `schema` would meet; nothing is changed."""


class Clock(Protocol):
    """Monotonic time, in seconds."""

    def __call__(self) -> float: ...
