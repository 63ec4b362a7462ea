"""How runs end: what a runner and the reaper record alike."""

from datetime import timedelta

from dataproc.domain.errors import CancelledRunError
from dataproc.domain.job import Claim, Failure, Progress
from dataproc.ports import Published, Store


async def requeue(store: Store, claim: Claim, *, delay: timedelta, failure: Failure, progress: Progress | None) -> None:
    """Let the job wait for its next run; if it is to be cancelled, change nothing and raise `CancelledRunError`."""
    async with store.begin() as tables:
        await tables.jobs.requeue(claim, delay=delay, failure=failure, progress=progress)
        # Asked after the move, which holds the job's row: no request to cancel can slip in between.
        if (await tables.jobs.get(claim.job_id)).cancel_requested:
            raise CancelledRunError(job=claim.job_id)


def progress_of(progress: Progress, published: Published) -> Progress:
    """Return `progress` as it is at the end: every unit done, and the account that the ledger holds."""
    account = published.account
    return progress.model_copy(
        update={
            "units_done": progress.units_planned,
            "rows_read": account.read,
            "rows_loaded": account.loaded,
            "rows_rejected": account.rejected,
            "rows_filtered": account.filtered,
            "load": published.way,
        }
    )
