"""The reaper and the janitor: jobs whose runner is gone get their true end or another run, and nothing is left over."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from dataproc.domain.errors import (
    CancelledRunError,
    FencedError,
    RetryableError,
    RunnerLostError,
    WarehouseUnavailableError,
)
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import Claim, Failure, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.store import Store
from dataproc.ports.warehouse import Published, Warehouse
from dataproc.services.endings import last_failure, progress_of, requeue

logger = logging.getLogger(__name__)
LOST = Failure(code=RunnerLostError().code, message=str(RunnerLostError()), retryable=True)


@dataclass(frozen=True, slots=True)
class Reaper:
    """Ends or requeues the jobs of dead runners. Several may run: each expired lease is taken over by one."""

    store: Store
    warehouse: Warehouse
    dice: Callable[[], float]

    async def reap(self, *, limit: int = 50) -> int:
        """Settle up to `limit` expired leases; return how many there were."""
        async with self.store.begin() as tables:
            expired = await tables.jobs.expired(limit=limit)
        for lease in expired:
            logger.warning("runner lost", extra={"job_id": str(lease.claim.job_id), "holder": lease.lost_holder})
            reached(FaultPoint.REAPED)
        # At once: a publish that goes on under one of them keeps no other one waiting.
        await asyncio.gather(*(self.settle(lease.claim) for lease in expired))
        return len(expired)

    async def settle(self, claim: Claim) -> None:
        """Ask the ledger what became of the load, and act on it; a lease that cannot be settled expires again."""
        told: dict[str, object] = {"job_id": str(claim.job_id), "run_id": str(claim.run_id), "epoch": claim.epoch}
        try:
            # From here on a zombie of this epoch cannot publish, so what the ledger says stays true.
            published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
            reached(FaultPoint.FORBIDDEN)
            status = await self.conclude(claim, published)
            logger.info("lost run settled", extra=told | {"status": status.value})
        except FencedError:
            logger.info("lease was settled by another", extra=told)
        except RetryableError as exc:
            logger.warning("lease stays, it cannot be settled now", extra=told | {"error": exc.code})
        except Exception:
            # The next lease must not wait for this one, which expires again.
            logger.exception("lease stays, it could not be settled", extra=told)

    async def conclude(self, claim: Claim, published: Published | None) -> RunStatus:
        """Record the end of a lost run; return it."""
        if published is not None:
            return await self.completed(claim, published)
        delay = claim.spec.retry.delay(claim.attempt, self.dice())
        if delay is None:
            return await self.never_again(claim)
        try:
            await requeue(self.store, claim, delay=delay, failure=LOST, progress=None)
        except CancelledRunError:
            return await self.never_again(claim)
        return RunStatus.FAILED

    async def completed(self, claim: Claim, published: Published) -> RunStatus:
        """Record that the load was published before the runner was lost; the janitor drops what it has left."""
        async with self.store.begin() as tables:
            progress = progress_of((await tables.jobs.get(claim.job_id)).progress, published)
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
        return RunStatus.COMPLETED

    async def never_again(self, claim: Claim) -> RunStatus:
        """Record that the job was cancelled, or failed for good."""
        await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
        async with self.store.begin() as tables:
            if (await tables.jobs.get(claim.job_id)).cancel_requested:
                status, failure = RunStatus.CANCELLED, None
            else:
                status, failure = RunStatus.FAILED, last_failure(claim, LOST)
            await tables.jobs.finish(claim, status, progress=None, failure=failure)
        return status


@dataclass(frozen=True, slots=True)
class Janitor:
    """Drops what jobs have staged that are over: those cancelled while they waited, and those whose cleaning failed.

    Only staging tables that are registered are dropped, and only those of a job that this installation knows to be at
    its end; a job that waits keeps them, for its next run goes on with them.
    """

    store: Store
    warehouse: Warehouse

    async def sweep(self) -> int:
        """Clean up after the jobs that are over; return how many there were."""
        staged = await asyncio.to_thread(self.warehouse.staged)
        if not staged:
            return 0
        async with self.store.begin() as tables:
            ended = await tables.jobs.ended(staged)
        return sum([await self.drop(job_id, epoch) for job_id, epoch in ended.items()])

    async def drop(self, job_id: JobId, epoch: int) -> bool:
        """Clean up after a job; return whether that could be done: somebody may be using what is to be dropped."""
        named = {"job_id": str(job_id), "epoch": epoch}
        try:
            await asyncio.to_thread(self.warehouse.clean, job_id, epoch)
        except WarehouseUnavailableError as exc:
            logger.warning("staging not dropped", extra=named | {"error": str(exc)})
            return False
        logger.info("staging dropped", extra=named)
        return True
