"""A process that runs one job: claims it, retries it by its policy, and lets go of it when it is told to end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from dataproc.bootstrap import Workshop
from dataproc.domain.errors import IllegalMoveError, RunnerStoppedError
from dataproc.domain.identity import LOCAL
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.services.dispatch import DEDICATED
from dataproc.services.monitor import Monitor

PAUSE = timedelta(milliseconds=200)
"""The time between two looks at a job that waits for its next attempt."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A job that the dispatcher has claimed for this process, which so runs it once."""

    job_id: JobId
    epoch: int


What = JobSpec | JobId | Dispatched


@dataclass(slots=True)
class Driver:
    """Runs one job; `new_monitor` makes what each of its runs is watched and stopped by."""

    workshop: Workshop
    lease: timedelta
    new_monitor: Callable[[], Monitor] = Monitor
    monitor: Monitor | None = None
    is_ending: bool = False
    pause: timedelta = PAUSE

    def end(self) -> None:
        """Stop the run cleanly, and begin no other."""
        self.is_ending = True
        if self.monitor is not None:
            self.monitor.stop(RunnerStoppedError())

    async def run(self, what: What) -> Job:
        """Run a job to its end, or until told to end; return it."""
        holder = f"pipeline-{uuid4()}"
        job_id, claim = await self.first_claim(what, holder)
        while True:
            if claim is not None:
                self.monitor = self.new_monitor()
                await self.workshop.runs.execute(claim, self.monitor)
            job = await self.workshop.jobs.get(job_id)
            if job.status.is_final or self.is_ending or isinstance(what, Dispatched):
                return job
            await asyncio.sleep(self.pause.total_seconds())
            claim = await self.claim_of(job_id, holder) if is_due(job) else None

    async def first_claim(self, what: What, holder: str) -> tuple[JobId, Claim | None]:
        """Claim a job; a spec is recorded and claimed in one transaction, so that no runner takes it."""
        if isinstance(what, JobSpec):
            claim = await self.workshop.jobs.create_claimed(what, holder, lease=self.lease, by=LOCAL)
            return claim.job_id, claim
        if isinstance(what, Dispatched):
            async with self.workshop.store.begin() as tables:
                return what.job_id, await tables.jobs.adopt(what.job_id, what.epoch, DEDICATED)
        return what, await self.claim_of(what, holder)

    async def claim_of(self, job_id: JobId, holder: str) -> Claim | None:
        """Claim a job that waits; `None` when it does not, for a runner was faster."""
        with suppress(IllegalMoveError):
            async with self.workshop.store.begin() as tables:
                return await tables.jobs.claim_one(job_id, holder, lease=self.lease)
        return None


def is_due(job: Job) -> bool:
    """Whether a job waits, and its delay is over."""
    return job.status is RunStatus.PENDING and job.scheduled_for <= datetime.now(UTC)
