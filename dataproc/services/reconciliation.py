"""The proof that a job's load is complete."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dataproc.domain.errors import NotFoundError
from dataproc.domain.job import JobId
from dataproc.ports.store import Store
from dataproc.ports.warehouse import Reconciliation, Warehouse


@dataclass(frozen=True, slots=True)
class ReconciliationService:
    """Shows what became of every row of a job; the ledger in the warehouse is asked, for it holds the truth."""

    store: Store
    open_warehouse: Callable[[], Warehouse]
    # A warehouse that hangs may take these threads, and none of those that the API's own database needs.
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "reconciliation"))

    async def of(self, job_id: JobId) -> Reconciliation:
        """Return the account of a job, unit by unit, or raise `NotFoundError` when it has published nothing."""
        async with self.store.begin() as tables:
            job = await tables.jobs.get(job_id)
        ask = self.open_warehouse().reconciliation
        found = await asyncio.get_running_loop().run_in_executor(self.threads, ask, job_id)
        if found is None:
            raise NotFoundError(f"job {job_id} is {job.status} and has published nothing")
        return found
