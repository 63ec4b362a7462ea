"""Runs: a claimed job from its first heartbeat to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from dataproc.domain.errors import (
    CancelledRunError,
    DataprocError,
    FencedError,
    MetadataUnavailableError,
    RetryableError,
    RunTimeoutError,
    StoppedError,
)
from dataproc.domain.job import Claim, Failure, Progress
from dataproc.domain.status import RunStatus
from dataproc.ports import Clock, LoadId, Published, Store, Warehouse
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How long a lease lasts, how often it is renewed, and how long a stopped pipeline may take to end."""

    lease: timedelta
    heartbeat: timedelta
    grace: timedelta = timedelta(seconds=3)

    @property
    def trust(self) -> float:
        """Seconds after the start of the last renewal for which the lease may be relied upon."""
        return self.lease.total_seconds() * 0.8


class StuckPipelineError(StoppedError):
    """The pipeline did not stop in time; its process must be ended."""


@dataclass(frozen=True, slots=True)
class RunService:
    """Executes claimed jobs and brings their status in line with what happened in the warehouse."""

    store: Store
    warehouse: Warehouse
    pipeline_for: Callable[[Claim], Awaitable[Pipeline]]
    rhythm: Rhythm
    clock: Clock
    dice: Callable[[], float]

    async def execute(self, claim: Claim) -> RunStatus:
        """Run a claimed job to its end; return the status that this run ended with.

        Raises `StuckPipelineError` after the status is settled, when a thread of the pipeline still runs.
        """
        monitor = Monitor()
        work = asyncio.ensure_future(self.work(claim, monitor))
        await self.attend(claim, monitor, work)
        ended = await self.settle(claim, monitor, work)
        logger.info("run ended", extra={"job_id": str(claim.job_id), "epoch": claim.epoch, "status": ended.value})
        if not work.done():
            raise StuckPipelineError(job=claim.job_id)
        return ended

    async def work(self, claim: Claim, monitor: Monitor) -> Published:
        """Build the pipeline and run it in a thread."""
        pipeline = await self.pipeline_for(claim)
        load_id = LoadId(claim.job_id, claim.epoch, claim.run_id)
        return await asyncio.to_thread(pipeline.run, load_id, monitor)

    async def attend(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> None:
        """Keep the lease while the work lasts; stop the work when the job is cancelled, late, or no longer ours."""
        started = renewed = self.clock()
        status = RunStatus.INGESTING
        while not await is_done(work, self.rhythm.heartbeat):
            if self.clock() - started > claim.spec.timeout.total_seconds():
                monitor.stop(RunTimeoutError(f"the run took longer than its timeout of {claim.spec.timeout}"))
            if monitor.reason is None:
                beat = self.clock()
                if await self.beat(claim, monitor, trusted=beat - renewed < self.rhythm.trust):
                    renewed = beat
                status = await self.follow(claim, monitor, status)
            if monitor.reason is not None:
                await is_done(work, self.rhythm.grace)
                return

    async def beat(self, claim: Claim, monitor: Monitor, *, trusted: bool) -> bool:
        """Renew the lease; return whether that worked. Stop the work when the lease can no longer be trusted."""
        try:
            async with self.store.begin() as tables:
                answer = await tables.jobs.heartbeat(claim, lease=self.rhythm.lease, progress=monitor.progress)
        except FencedError as exc:
            monitor.stop(exc)
            return False
        except MetadataUnavailableError:
            logger.warning("heartbeat failed", extra={"job_id": str(claim.job_id), "epoch": claim.epoch})
            if not trusted:
                monitor.stop(FencedError("the lease could not be renewed in time"))
            return False
        if answer.cancel_requested:
            monitor.stop(CancelledRunError())
        return True

    async def follow(self, claim: Claim, monitor: Monitor, before: RunStatus) -> RunStatus:
        """Record the stage that the pipeline has reached; return it."""
        now = monitor.status
        if not before.may_become(now):
            return before
        try:
            async with self.store.begin() as tables:
                await tables.jobs.advance(claim, now)
        except FencedError as exc:
            monitor.stop(exc)
        except MetadataUnavailableError:
            return before
        return now

    async def settle(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> RunStatus:
        """Record how the run ended."""
        try:
            published = work.result() if work.done() else await self.abandoned(claim, monitor)
        except FencedError:
            logger.warning("fenced off", extra={"job_id": str(claim.job_id), "epoch": claim.epoch})
            return RunStatus.FAILED
        except CancelledRunError:
            return await self.cancelled(claim, monitor)
        except RetryableError as exc:
            return await self.failed(claim, monitor, failure_of(exc, retryable=True))
        except DataprocError as exc:
            return await self.failed(claim, monitor, failure_of(exc, retryable=False))
        except Exception:
            logger.exception("run failed unexpectedly", extra={"job_id": str(claim.job_id), "epoch": claim.epoch})
            failure = Failure(code="internal", message="an unexpected error; the runner's log has the traceback")
            return await self.failed(claim, monitor, failure)
        return await self.completed(claim, monitor, published)

    async def abandoned(self, claim: Claim, monitor: Monitor) -> Published:
        """Forbid a pipeline that does not stop to publish; raise why it was stopped, unless it was faster."""
        published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
        if published is None:
            monitor.check()
            raise StuckPipelineError
        return published

    async def completed(self, claim: Claim, monitor: Monitor, published: Published) -> RunStatus:
        """Record that the load was published."""
        progress = progress_of(monitor.progress, published)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
        return RunStatus.COMPLETED

    async def cancelled(self, claim: Claim, monitor: Monitor) -> RunStatus:
        """Make the cancel final in the warehouse, then record it; a publish that was faster wins."""
        published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
        if published is not None:
            return await self.completed(claim, monitor, published)
        await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.CANCELLED, progress=monitor.progress, failure=None)
        return RunStatus.CANCELLED

    async def failed(self, claim: Claim, monitor: Monitor, failure: Failure) -> RunStatus:
        """Record a failed run: the job waits for its next attempt, or has failed for good."""
        delay = claim.spec.retry.delay(claim.attempt, self.dice()) if failure.retryable else None
        if delay is None:
            return await self.failed_for_good(claim, monitor, failure)
        async with self.store.begin() as tables:
            await tables.jobs.requeue(claim, delay=delay, failure=failure, progress=monitor.progress)
        return RunStatus.FAILED

    async def failed_for_good(self, claim: Claim, monitor: Monitor, failure: Failure) -> RunStatus:
        """Forbid any late publish, then record the failure."""
        published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
        if published is not None:
            return await self.completed(claim, monitor, published)
        await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.FAILED, progress=monitor.progress, failure=failure)
        return RunStatus.FAILED


async def is_done(work: asyncio.Future[Published], wait: timedelta) -> bool:
    """Wait for the work, but no longer than `wait`; return whether it is done."""
    done, _ = await asyncio.wait({work}, timeout=wait.total_seconds())
    return bool(done)


def failure_of(exc: DataprocError, *, retryable: bool) -> Failure:
    """Return an error in words."""
    return Failure(code=exc.code, message=str(exc), retryable=retryable)


def progress_of(progress: Progress, published: Published) -> Progress:
    """Return `progress` with the account that the ledger holds."""
    account = published.account
    return progress.model_copy(
        update={
            "rows_read": account.read,
            "rows_loaded": account.loaded,
            "rows_rejected": account.rejected,
            "rows_filtered": account.filtered,
            "load": published.way,
        }
    )
