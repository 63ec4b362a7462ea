"""The reaper: jobs whose runner is gone get their true end, or another run."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from dataproc.domain.errors import FencedError, RunnerLostError, WarehouseUnavailableError
from dataproc.domain.job import Claim, Failure
from dataproc.domain.status import RunStatus
from dataproc.ports import Published, Store, Warehouse

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
            await self.settle(lease.claim, cancel_requested=lease.cancel_requested)
        return len(expired)

    async def settle(self, claim: Claim, *, cancel_requested: bool) -> None:
        """Ask the ledger what became of the load, and act on it; a lease that cannot be settled expires again."""
        ids = {"job_id": str(claim.job_id), "epoch": claim.epoch}
        try:
            # From here on a zombie of this epoch cannot publish, so what the ledger says stays true.
            published = await asyncio.to_thread(self.warehouse.forbid, claim.job_id, claim.epoch)
            if published is None:
                await asyncio.to_thread(self.warehouse.clean, claim.job_id, claim.epoch)
            await self.conclude(claim, published, cancel_requested=cancel_requested)
        except FencedError:
            logger.info("lease was settled by another", extra=ids)
        except WarehouseUnavailableError:
            logger.warning("warehouse does not answer, lease stays", extra=ids)

    async def conclude(self, claim: Claim, published: Published | None, *, cancel_requested: bool) -> None:
        """Record the end of a lost run."""
        delay = claim.spec.retry.delay(claim.attempt, self.dice())
        async with self.store.begin() as tables:
            if published is not None:
                await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=None, failure=None)
            elif cancel_requested:
                await tables.jobs.finish(claim, RunStatus.CANCELLED, progress=None, failure=None)
            elif delay is None:
                await tables.jobs.finish(claim, RunStatus.FAILED, progress=None, failure=LOST)
            else:
                await tables.jobs.requeue(claim, delay=delay, failure=LOST, progress=None)
