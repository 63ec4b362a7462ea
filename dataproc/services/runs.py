"""Runs: a claimed job from its first heartbeat to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dataproc.domain.errors import (
    CancelledRunError,
    DataprocError,
    FencedError,
    MetadataUnavailableError,
    RunnerStoppedError,
    StoppedError,
    WarehouseUnavailableError,
)
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import Claim, Failure
from dataproc.domain.status import RunStatus
from dataproc.ports.clock import Clock
from dataproc.ports.journal import Journal
from dataproc.ports.store import Store
from dataproc.ports.warehouse import LoadId, Published, Warehouse
from dataproc.services.attendance import Attendant, Rhythm, ids
from dataproc.services.endings import failure_of, last_failure, progress_of, release, requeue
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline

logger = logging.getLogger(__name__)
INTERNAL = Failure(code="internal", message="an unexpected error; the runner's log has the traceback")


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
    journal: Journal

    async def execute(self, claim: Claim, monitor: Monitor | None = None) -> RunStatus | None:
        """Run a claimed job to its end; return how this run ended, or `None` when the reaper will find that out.

        Whoever passes a `monitor` may stop the run by it. Raises `StuckPipelineError` after the status is settled, when
        a thread of the pipeline still runs.
        """
        reached(FaultPoint.CLAIMED)
        monitor = monitor or Monitor()
        attendant = Attendant(self.store, self.rhythm, self.clock, self.journal)
        with self.journal.of(claim.run_id):
            logger.info("run started", extra=ids(claim) | {"attempt": claim.attempt, "holder": claim.holder})
            work = asyncio.ensure_future(self.work(claim, monitor))
            await attendant.attend(claim, monitor, work)
            ended = await self.settle(claim, monitor, work)
            logger.info("run ended", extra=ids(claim) | {"status": ended and ended.value})
            await attendant.write_log(claim)
        if not work.done():
            raise StuckPipelineError(job=claim.job_id)
        return ended

    async def work(self, claim: Claim, monitor: Monitor) -> Published:
        """Build the pipeline and run it in a thread."""
        try:
            pipeline = await self.pipeline_for(claim)
            load_id = LoadId(claim.job_id, claim.epoch, claim.run_id, claim.spec.name, claim.attempt)
            return await asyncio.to_thread(pipeline.run, load_id, monitor)
        except DataprocError:
            raise
        except Exception:
            logger.exception("run failed unexpectedly", extra=ids(claim))
            raise

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
                return await self.ended_for_good(claim, monitor, RunStatus.CANCELLED, None)
            case RunnerStoppedError() as stopped:
                return await self.waiting(claim, monitor, release(self.store, claim, failure=failure_of(stopped)))
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
        reached(FaultPoint.FINISHING)
        if claim.epoch > 1:
            # What earlier runs have staged; what this one has staged was dropped in the publish.
            await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch - 1)
        progress = progress_of(monitor.progress, published)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
        reached(FaultPoint.FINISHED)
        await self.tidy(claim, published)
        return RunStatus.COMPLETED

    async def tidy(self, claim: Claim, published: Published) -> None:
        """Do what nobody waits for: drop the table that was replaced, and bring the target's statistics up to date.

        Where that fails, the janitor drops the table, and the server looks after its statistics.
        """
        if published.effect.set_aside:
            await self.attempt(claim, self.warehouse.clean, claim.job_id, claim.epoch)
        if published.effect.stale:
            await self.attempt(claim, self.warehouse.refresh, published.target)

    async def attempt(self, claim: Claim, what: Callable[..., None], *arguments: object) -> None:
        """Do something that need not be done; log that it was not."""
        try:
            await asyncio.to_thread(what, *arguments)
        except DataprocError as exc:
            logger.warning("target not tidied", extra=ids(claim) | {"error": exc.code, "step": what.__name__})

    async def failed(self, claim: Claim, monitor: Monitor, failure: Failure) -> RunStatus:
        """Record a failed run: the job waits for its next attempt, or has failed for good."""
        logger.warning("run failed", extra=ids(claim) | {"error": failure.code, "reason": failure.message})
        delay = claim.spec.retry.delay(claim.attempt, self.dice()) if failure.retryable else None
        if delay is None:
            return await self.ended_for_good(claim, monitor, RunStatus.FAILED, last_failure(claim, failure))
        # What it has staged stays: the next run goes on with it. The janitor drops it if there is none.
        later = requeue(self.store, claim, delay=delay, failure=failure, progress=monitor.progress)
        return await self.waiting(claim, monitor, later)

    async def waiting(self, claim: Claim, monitor: Monitor, wait: Awaitable[None]) -> RunStatus:
        """Let the job wait for its next run, unless it is to be cancelled."""
        try:
            await wait
        except CancelledRunError:
            return await self.ended_for_good(claim, monitor, RunStatus.CANCELLED, None)
        return RunStatus.FAILED

    async def ended_for_good(
        self, claim: Claim, monitor: Monitor, status: RunStatus, failure: Failure | None
    ) -> RunStatus:
        """Make sure in the warehouse that nothing is published, then record the end; a publish that was faster wins."""
        published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
        reached(FaultPoint.FORBIDDEN)
        if published is not None:
            return await self.completed(claim, monitor, published)
        await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        async with self.store.begin() as tables:
            await tables.jobs.finish(claim, status, progress=monitor.progress, failure=failure)
        return status
