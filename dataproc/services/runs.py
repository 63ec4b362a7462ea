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
    WarehouseUnavailableError,
)
from dataproc.domain.job import Claim, Failure
from dataproc.domain.status import RunStatus
from dataproc.ports import Clock, LoadId, Published, Store, Warehouse
from dataproc.services.endings import progress_of, requeue
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline

logger = logging.getLogger(__name__)
INTERNAL = Failure(code="internal", message="an unexpected error; the runner's log has the traceback")


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

    async def execute(self, claim: Claim) -> RunStatus | None:
        """Run a claimed job to its end; return how this run ended, or `None` when the reaper will find that out.

        Raises `StuckPipelineError` after the status is settled, when a thread of the pipeline still runs.
        """
        monitor = Monitor()
        work = asyncio.ensure_future(self.work(claim, monitor))
        await self.attend(claim, monitor, work)
        ended = await self.settle(claim, monitor, work)
        logger.info("run ended", extra=ids(claim) | {"status": ended and ended.value})
        if not work.done():
            raise StuckPipelineError(job=claim.job_id)
        return ended

    async def work(self, claim: Claim, monitor: Monitor) -> Published:
        """Build the pipeline and run it in a thread."""
        try:
            pipeline = await self.pipeline_for(claim)
            load_id = LoadId(claim.job_id, claim.epoch, claim.run_id)
            return await asyncio.to_thread(pipeline.run, load_id, monitor)
        except DataprocError:
            raise
        except Exception:
            logger.exception("run failed unexpectedly", extra=ids(claim))
            raise

    async def attend(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> None:
        """Keep the lease while the work lasts; stop the work when the job is cancelled, late, or no longer ours."""
        started = renewed = self.clock()
        status = RunStatus.INGESTING
        while not await is_done(work, self.rhythm.heartbeat):
            if self.clock() - started > claim.spec.timeout.total_seconds():
                monitor.stop(RunTimeoutError(f"the run took longer than its timeout of {claim.spec.timeout}"))
            if monitor.reason is None:
                renewed = await self.beat(claim, monitor, renewed)
                status = await self.follow(claim, monitor, status)
            if monitor.reason is not None:
                await is_done(work, self.rhythm.grace)
                return

    async def beat(self, claim: Claim, monitor: Monitor, renewed: float) -> float:
        """Renew the lease; return when that was last done. Stop the work once the lease cannot be trusted."""
        began = self.clock()
        # A database that hangs must not make us believe in the lease for longer than one that is gone.
        patience = max(renewed + self.rhythm.trust - began, self.rhythm.heartbeat.total_seconds())
        try:
            async with asyncio.timeout(patience), self.store.begin() as tables:
                answer = await tables.jobs.heartbeat(claim, lease=self.rhythm.lease, progress=monitor.progress)
        except FencedError as exc:
            monitor.stop(exc)
        except (DataprocError, TimeoutError) as exc:
            logger.warning("heartbeat failed", extra=ids(claim) | {"error": code_of(exc)})
        except Exception:
            logger.exception("heartbeat failed unexpectedly", extra=ids(claim))
        else:
            if answer.cancel_requested:
                monitor.stop(CancelledRunError())
            return began
        if self.clock() - renewed >= self.rhythm.trust:
            monitor.stop(FencedError("the lease could not be renewed in time"))
        return renewed

    async def follow(self, claim: Claim, monitor: Monitor, before: RunStatus) -> RunStatus:
        """Record the stage that the pipeline has reached; return it."""
        now = monitor.status
        if monitor.reason is not None or not before.may_become(now):
            return before
        try:
            async with asyncio.timeout(self.rhythm.trust), self.store.begin() as tables:
                await tables.jobs.advance(claim, now)
        except FencedError as exc:
            monitor.stop(exc)
        except (DataprocError, TimeoutError) as exc:
            logger.warning("stage not recorded", extra=ids(claim) | {"stage": now.value, "error": code_of(exc)})
            return before
        except Exception:
            logger.exception("stage not recorded", extra=ids(claim) | {"stage": now.value})
            return before
        return now

    async def settle(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> RunStatus | None:
        """Record how the run ended, once the databases answer; `None` when the lease is over before that."""
        until = self.clock() + self.rhythm.lease.total_seconds()
        while True:
            try:
                return await self.conclude(claim, monitor, work)
            except FencedError:
                logger.warning("fenced off", extra=ids(claim))
                return None
            except (MetadataUnavailableError, WarehouseUnavailableError) as exc:
                # Asking again is harmless: the lease guards every move. After its end the reaper asks the ledger.
                logger.warning("end not recorded", extra=ids(claim) | {"error": exc.code})
            if self.clock() >= until:
                return None
            await asyncio.sleep(self.rhythm.heartbeat.total_seconds())

    async def conclude(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> RunStatus:
        """Find out how the run ended, and record it."""
        match await self.ending(claim, monitor, work):
            case Published() as published:
                return await self.completed(claim, monitor, published)
            case FencedError() as fenced:
                raise fenced
            case CancelledRunError():
                return await self.cancelled(claim, monitor)
            case DataprocError() as exc:
                return await self.failed(claim, monitor, failure_of(exc))
            case _:
                return await self.failed(claim, monitor, INTERNAL)

    async def ending(
        self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]
    ) -> Published | BaseException | None:
        """Return what was published, or why nothing was; a pipeline that does not stop is forbidden to publish."""
        if work.done():
            return work.exception() or work.result()
        return await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch) or monitor.reason

    async def completed(self, claim: Claim, monitor: Monitor, published: Published) -> RunStatus:
        """Record that the load was published."""
        if claim.epoch > 1:
            # What earlier runs have staged; what this one has staged was dropped in the publish.
            await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        progress = progress_of(monitor.progress, published)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
        return RunStatus.COMPLETED

    async def cancelled(self, claim: Claim, monitor: Monitor) -> RunStatus:
        """Record that the job was cancelled."""
        return await self.ended_for_good(claim, monitor, RunStatus.CANCELLED, None)

    async def failed(self, claim: Claim, monitor: Monitor, failure: Failure) -> RunStatus:
        """Record a failed run: the job waits for its next attempt, or has failed for good."""
        delay = claim.spec.retry.delay(claim.attempt, self.dice()) if failure.retryable else None
        if delay is None:
            return await self.ended_for_good(claim, monitor, RunStatus.FAILED, failure)
        try:
            await requeue(self.store, claim, delay=delay, failure=failure, progress=monitor.progress)
        except CancelledRunError:
            return await self.cancelled(claim, monitor)
        await self.tidy(claim)
        return RunStatus.FAILED

    async def ended_for_good(
        self, claim: Claim, monitor: Monitor, status: RunStatus, failure: Failure | None
    ) -> RunStatus:
        """Make sure in the warehouse that nothing is published, then record the end; a publish that was faster wins."""
        published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
        if published is not None:
            return await self.completed(claim, monitor, published)
        await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, status, progress=monitor.progress, failure=failure)
        return status

    async def tidy(self, claim: Claim) -> None:
        """Drop what the run has staged, if the warehouse answers: the job's next run drops it otherwise."""
        try:
            await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        except DataprocError as exc:
            logger.warning("staging not dropped", extra=ids(claim) | {"error": exc.code})


async def is_done(work: asyncio.Future[Published], wait: timedelta) -> bool:
    """Wait for the work, but no longer than `wait`; return whether it is done."""
    done, _ = await asyncio.wait({work}, timeout=wait.total_seconds())
    return bool(done)


def failure_of(exc: DataprocError) -> Failure:
    """Return an error in words."""
    return Failure(code=exc.code, message=str(exc), retryable=isinstance(exc, RetryableError))


def code_of(exc: DataprocError | TimeoutError) -> str:
    """Return the stable name of an error."""
    return exc.code if isinstance(exc, DataprocError) else "timeout"


def ids(claim: Claim) -> dict[str, object]:
    """Return what a line of the log says of a run."""
    return {"job_id": str(claim.job_id), "run_id": str(claim.run_id), "epoch": claim.epoch}
