"""How runs end: what a runner and the reaper record alike."""

from datetime import timedelta

from dataproc.domain.errors import CancelledRunError, DataprocError, RetryableError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.job import Claim, Failure, Progress
from dataproc.ports.store import Store, Tables
from dataproc.ports.warehouse import Published


async def requeue(store: Store, claim: Claim, *, delay: timedelta, failure: Failure, progress: Progress | None) -> None:
    """Let the job wait for its next run; if it is to be cancelled, change nothing and raise `CancelledRunError`."""
    async with store.begin() as tables:
        await tables.jobs.requeue(claim, delay=delay, failure=failure, progress=progress)
        await unless_cancelled(tables, claim)
    reached(FaultPoint.REQUEUED)


async def release(store: Store, claim: Claim, *, failure: Failure) -> None:
    """Let the job run again at once, this attempt not counted; if it is to be cancelled, raise `CancelledRunError`."""
    async with store.begin() as tables:
        await tables.jobs.release(claim, failure=failure)
        await unless_cancelled(tables, claim)


async def unless_cancelled(tables: Tables, claim: Claim) -> None:
    """Roll back if the job is to be cancelled."""
    # Asked after the move, which holds the job's row: no request to cancel can slip in between.
    if (await tables.jobs.get(claim.job_id)).cancel_requested:
        raise CancelledRunError(job=claim.job_id)


def failure_of(exc: DataprocError) -> Failure:
    """Return an error in words."""
    return Failure(code=exc.code, message=str(exc), retryable=isinstance(exc, RetryableError))


def last_failure(claim: Claim, failure: Failure) -> Failure:
    """Return the failure that a job ends with: of one that might have gone on, it says why it does not."""
    if not failure.retryable:
        return failure
    attempts = f"{claim.attempt} attempt{'s' if claim.attempt > 1 else ''}"
    return failure.model_copy(update={"message": f"{failure.message} (given up after {attempts})"})


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
            "rows_deduplicated": account.deduplicated,
            "load": published.way,
        }
    )
