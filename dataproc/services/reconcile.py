"""The reaper: jobs whose runner is gone get their true end, or another run."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from dataproc.domain.errors import CancelledRunError, FencedError, RetryableError, RunnerLostError
from dataproc.domain.job import Claim, Failure
from dataproc.domain.status import RunStatus
from dataproc.ports import Published, Store, Warehouse
from dataproc.services.endings import progress_of, requeue

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
            await self.settle(lease.claim)
        return len(expired)

    async def settle(self, claim: Claim) -> None:
        """Ask the ledger what became of the load, and act on it; a lease that cannot be settled expires again."""
        told: dict[str, object] = {"job_id": str(claim.job_id), "run_id": str(claim.run_id), "epoch": claim.epoch}
        try:
            # From here on a zombie of this epoch cannot publish, so what the ledger says stays true.
            published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
            await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
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
        """Record that the load was published before the runner was lost."""
        async with self.store.begin() as tables:
            progress = progress_of((await tables.jobs.get(claim.job_id)).progress, published)
            await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
        return RunStatus.COMPLETED

    async def never_again(self, claim: Claim) -> RunStatus:
        """Record that the job was cancelled, or failed for good."""
        async with self.store.begin() as tables:
            if (await tables.jobs.get(claim.job_id)).cancel_requested:
                status, failure = RunStatus.CANCELLED, None
            else:
                status, failure = RunStatus.FAILED, LOST
            await tables.jobs.finish(claim, status, progress=None, failure=failure)
        return status
