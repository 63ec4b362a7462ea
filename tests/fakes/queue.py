"""Jobs in memory, and the claims on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from dataproc.domain.errors import (
    ConflictError,
    FencedError,
    IllegalMoveError,
    NotFoundError,
)
from dataproc.domain.job import Claim, Failure, Job, JobId, JobRun, Progress, RunId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import (
    DISPATCH,
    NO_DISPATCHER,
    NO_LIMITS,
    REACTION,
    Cursor,
    ExpiredLease,
    Heartbeat,
    JobFilter,
    QueueDepth,
    RunningLimits,
)
from dataproc.repositories import events
from tests.fakes.outbox import FakeOutbox
from tests.fakes.state import Lease, Memory, State


@dataclass(frozen=True, slots=True)
class FakeJobs:
    """The queue and the truth about jobs."""

    store: Memory

    @property
    def state(self) -> State:
        return self.store.state

    async def add(self, job: Job) -> Job:
        if job.id in self.state.jobs:
            raise ConflictError(f"there is a job {job.id} already")
        now = self.store.tick()
        new = Job(job.id, job.spec, job.owner, RunStatus.PENDING, now, now, max(now, job.spec.scheduled_for or now))
        self.state.jobs[job.id] = new
        return self.view(new)

    async def get(self, job_id: JobId, *, lock: bool = False) -> Job:  # noqa: ARG002 - transactions come one by one
        if job_id not in self.state.jobs:
            raise NotFoundError(f"there is no job {job_id}")
        return self.view(self.state.jobs[job_id])

    async def find(self, which: JobFilter, *, after: Cursor | None, limit: int) -> Sequence[Job]:
        found = [job for job in self.state.jobs.values() if matches(job, which)]
        found.sort(key=newest, reverse=True)
        rest = [job for job in found if after is None or newest(job) < (after.created_at, after.id)]
        return [self.view(job) for job in rest[:limit]]

    async def claim(
        self, holder: str, *, lease: timedelta, limit: int, limits: RunningLimits = NO_LIMITS, execution: str = "shared"
    ) -> Sequence[Claim]:
        claims: list[Claim] = []
        while len(claims) < limit and (ready := self.within(limits, execution)):
            claims.append(self.take(min(ready, key=self.turn), holder, lease))
        return claims

    async def claim_one(self, job_id: JobId, holder: str, *, lease: timedelta) -> Claim:
        job = await self.get(job_id)
        if job.status is not RunStatus.PENDING:
            raise IllegalMoveError(f"job {job_id} is {job.status}, only a PENDING job can be claimed")
        return self.take(self.state.jobs[job_id], holder, lease)

    async def adopt(self, job_id: JobId, epoch: int, holder: str) -> Claim:
        if not self.is_held(job_id, epoch, holder):
            raise FencedError(f"the claim on job {job_id} is over")
        return self.state.leases[job_id].claim

    async def release(self, claim: Claim, *, failure: Failure) -> None:
        self.end_run(claim, RunStatus.FAILED, None, failure)
        attempt = max(self.state.jobs[claim.job_id].attempt - 1, 0)
        back: dict[str, Any] = {"status": RunStatus.PENDING, "failure": failure, "attempt": attempt}
        self.change_job(claim.job_id, scheduled_for=self.store.now, **back)

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
        await FakeOutbox(self.store).add(events.run_ended(claim, to, progress, failure))

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
        await FakeOutbox(self.store).add(events.never_ran(job))
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
        due = max(now, job.spec.scheduled_for or now)
        new = Job(job.id, job.spec, job.owner, RunStatus.PENDING, job.created_at, now, due, epoch=job.epoch + 1)
        self.state.jobs[job_id] = new
        return True

    async def expired(self, *, limit: int) -> Sequence[ExpiredLease]:
        ended = [lease for lease in self.state.leases.values() if self.is_lost(lease)]
        ended.sort(key=lambda lease: (lease.expires_at, lease.claim.job_id))
        return [self.take_over(lease, f"reaper-{uuid4()}") for lease in ended[:limit]]

    def is_lost(self, lease: Lease) -> bool:
        """Whether a lease has ended, or its runner does not react to a cancel."""
        job = self.state.jobs[lease.claim.job_id]
        is_deaf = job.cancel_requested and job.updated_at <= self.store.now - REACTION
        return lease.expires_at <= self.store.now or (is_deaf and not lease.claim.holder.startswith("reaper-"))

    async def ended(self, job_ids: Sequence[JobId]) -> Mapping[JobId, int]:
        self.store.on_look(job_ids)
        found = [self.state.jobs[job_id] for job_id in job_ids if job_id in self.state.jobs]
        return {job.id: job.epoch for job in found if job.status.is_final}

    async def depth(self, execution: str | None = None) -> QueueDepth:
        ready = [job for job in self.ready() if execution in (None, job.spec.execution)]
        running = [job for job in self.state.jobs.values() if job.status.is_running]
        oldest = self.store.now - min(job.scheduled_for for job in ready) if ready else None
        return QueueDepth(len(ready), sum(execution in (None, job.spec.execution) for job in running), oldest)

    async def count_by_status(self) -> Mapping[RunStatus, int]:
        statuses = [job.status for job in self.state.jobs.values()]
        return {status: statuses.count(status) for status in RunStatus}

    def ready(self) -> list[Job]:
        """Return the jobs that may be claimed now."""
        pending = [job for job in self.state.jobs.values() if job.status is RunStatus.PENDING]
        return [job for job in pending if job.scheduled_for <= self.store.now]

    def within(self, limits: RunningLimits, execution: str) -> list[Job]:
        """Return the ready jobs of an execution that the limits let run now."""
        running = [self.state.jobs[job_id] for job_id in self.state.leases]
        ready = [job for job in self.ready() if job.spec.execution == execution]
        return [job for job in ready if all(counted < most for counted, most in counts(job, running, limits))]

    def turn(self, job: Job) -> tuple[object, ...]:
        """Return what jobs are claimed by: priority, fair share, age."""
        share = sum(self.state.jobs[job_id].owner == job.owner for job_id in self.state.leases)
        return (-job.spec.priority, share, job.scheduled_for, job.created_at, job.id)

    def take(self, job: Job, holder: str, lease: timedelta) -> Claim:
        """Give a job a new epoch, a run and a lease."""
        now = self.store.tick()
        epoch, attempt = job.epoch + 1, job.attempt + 1
        claim = Claim(job.id, RunId(uuid4()), epoch, attempt, holder, job.spec, job.owner, job.created_at)
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
        if not self.is_held(claim.job_id, claim.epoch, claim.holder):
            raise FencedError(f"the claim on job {claim.job_id} is over")

    def is_held(self, job_id: JobId, epoch: int, holder: str) -> bool:
        """Whether the latest claim on a job is this one, and its lease has not ended."""
        lease = self.state.leases.get(job_id)
        if lease is None or lease.expires_at <= self.store.now:
            return False
        return (lease.claim.epoch, lease.claim.holder) == (epoch, holder)

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
        if job.status is RunStatus.PENDING:
            return replace(job, progress=Progress(waiting_for=self.waiting_for(job)))
        return replace(job, progress=latest[0]) if latest else job

    def waiting_for(self, job: Job) -> str | None:
        """Return the obstacle of a waiting job."""
        duty = self.state.duties.get(DISPATCH)
        if job.scheduled_for > self.store.now:
            return None
        return NO_DISPATCHER if duty is None or duty.expires_at <= self.store.now else duty.note


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


def counts(job: Job, running: Sequence[Job], limits: RunningLimits) -> list[tuple[int, int]]:
    """Return, for each limit, how many jobs count towards it for `job`, and the limit."""
    all_counts = (
        (len(running), limits.in_all),
        (sum(other.owner == job.owner for other in running), limits.per_owner),
        (sum(other.spec.source_name == job.spec.source_name for other in running), limits.per_source),
        (sum(other.spec.destination.table == job.spec.destination.table for other in running), limits.per_target),
    )
    return [(counted, most) for counted, most in all_counts if most is not None]
