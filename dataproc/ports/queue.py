"""What the services need of the queue: jobs, their runs, claims and logs. All times are the database's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from dataproc.domain.job import Claim, Failure, Job, JobId, JobRun, Progress, RunId
from dataproc.domain.status import RunStatus

DISPATCH = "dispatch"
"""The duty to start runners; jobs that are due show its note."""
START_DISPATCHER = "start one by `python -m jobs.dispatcher`, or everything by `dataproc up`"
NO_DISPATCHER = f"a dispatcher: none is at work; {START_DISPATCHER}"
"""The obstacle that jobs show while no process holds that duty."""


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
class QueueDepth:
    """How much there is to do."""

    ready: int
    running: int
    oldest_ready: timedelta | None


@dataclass(frozen=True, slots=True)
class RunningLimits:
    """How many jobs may run at once; `None`: any number."""

    in_all: int | None = None
    per_owner: int | None = None
    per_source: int | None = None
    per_target: int | None = None


NO_LIMITS = RunningLimits()

REACTION = timedelta(seconds=6)
"""How long a runner may take to end a job that is to be cancelled; one that lives takes a heartbeat or two."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a run has logged, with ids and never with values of rows."""

    logged_at: datetime
    level: str
    message: str


class Jobs(Protocol):
    """The queue and the truth about jobs. All times are the database's."""

    async def add(self, job: Job) -> Job:
        """Record a new PENDING job; the database sets its times."""

    async def get(self, job_id: JobId, *, lock: bool = False) -> Job:
        """Return a job, or raise `NotFoundError`; with `lock` nobody moves it until the transaction ends."""

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> Sequence[Job]:
        """Return up to `limit` jobs, newest first, that come after the cursor."""

    async def claim(
        self, holder: str, *, lease: timedelta, limit: int, limits: RunningLimits = NO_LIMITS, execution: str = "shared"
    ) -> Sequence[Claim]:
        """Claim up to `limit` ready jobs of that execution; each gets a new epoch, a run and a lease.

        By priority, then fair between owners (who has the fewest jobs running goes first), then by age. Jobs beyond
        the `limits` wait; jobs behind them do not.
        """

    async def claim_one(self, job_id: JobId, holder: str, *, lease: timedelta) -> Claim:
        """Claim this PENDING job, or raise `IllegalMoveError`."""

    async def adopt(self, job_id: JobId, epoch: int, holder: str) -> Claim:
        """Return the claim that was made for `holder`, or raise `FencedError` when it is over."""

    async def release(self, claim: Claim, *, failure: Failure) -> None:
        """End the run as FAILED and make the job PENDING at once, this attempt not counted, or raise `FencedError`."""

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

        So are those whose runner has not reacted to a cancel within `REACTION`, though its lease may last.
        What the lost runner still asks for is fenced, and no other reaper gets the same claim.
        """

    async def ended(self, job_ids: Sequence[JobId]) -> Mapping[JobId, int]:
        """Return those of the jobs that are in a final status, with their latest epoch."""

    async def depth(self, execution: str | None = None) -> QueueDepth:
        """Return how many jobs (of that execution) are ready and running."""

    async def count_by_status(self) -> Mapping[RunStatus, int]:
        """Return the number of jobs in each status; a status without jobs is 0."""


class Runs(Protocol):
    """The history of attempts."""

    async def of(self, job_id: JobId) -> Sequence[JobRun]:
        """Return the runs of a job, the first attempt first."""

    async def usual_rows(self, job_id: JobId) -> int | None:
        """Return how many rows the latest completed job of the same name and owner has read, if it has read any."""


class RunLogs(Protocol):
    """What runs have logged, kept when the Ray cluster is gone."""

    async def add(self, run_id: RunId, lines: Sequence[LogLine]) -> None:
        """Append lines to the log of a run."""

    async def of(self, run_id: RunId, *, limit: int) -> Sequence[LogLine]:
        """Return the last `limit` lines of a run, in order."""


class Duties(Protocol):
    """Work that one process at a time does, whoever is there: each duty is held by a lease."""

    async def take(self, duty: str, holder: str, *, lease: timedelta) -> bool:
        """Take or keep a duty; return whether `holder` has it now."""

    async def give_back(self, duty: str, holder: str) -> None:
        """Let others have the duty at once."""

    async def note(self, duty: str, text: str | None) -> None:
        """Set the note of a held duty; `None` removes it."""
