"""Keeping a lease while its work lasts, and stopping the work when it may not go on."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from dataproc.domain.errors import CancelledRunError, DataprocError, FencedError, RunTimeoutError
from dataproc.domain.job import Claim
from dataproc.domain.status import RunStatus
from dataproc.ports.clock import Clock
from dataproc.ports.journal import Journal
from dataproc.ports.queue import Heartbeat
from dataproc.ports.store import Store
from dataproc.ports.warehouse import Published
from dataproc.services.monitor import Monitor

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


@dataclass(frozen=True, slots=True)
class Attendant:
    """Renews leases, records how far runs have come, and tells pipelines to stop."""

    store: Store
    rhythm: Rhythm
    clock: Clock
    journal: Journal

    async def attend(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> None:
        """Keep the lease while the work lasts; stop the work when the job is cancelled, late, or no longer ours."""
        looking = asyncio.create_task(self.look(claim, monitor))
        try:
            await self.keep(claim, monitor, work)
        finally:
            looking.cancel()

    async def look(self, claim: Claim, monitor: Monitor) -> None:
        """Keep the obstacle of the run up to date, apart from the lease, which must not wait for a slow database."""
        while True:
            await asyncio.sleep(self.rhythm.heartbeat.total_seconds())
            if monitor.obstacle is None:
                continue
            try:
                monitor.waiting_for = await asyncio.to_thread(monitor.obstacle)
            except DataprocError as exc:
                logger.warning("obstacle not known", extra=ids(claim) | {"error": exc.code})
            except Exception:
                logger.exception("obstacle not known", extra=ids(claim))

    async def keep(self, claim: Claim, monitor: Monitor, work: asyncio.Future[Published]) -> None:
        """Keep the lease until the work is done or has to stop."""
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
            async with asyncio.timeout(patience):
                answer = await self.renew(claim, monitor)
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

    async def renew(self, claim: Claim, monitor: Monitor) -> Heartbeat:
        """Renew the lease, and write what the run has logged since the last time."""
        lines = self.journal.take(claim.run_id)
        try:
            async with self.store.begin() as tables:
                answer = await tables.jobs.heartbeat(claim, lease=self.rhythm.lease, progress=monitor.now)
                if lines:
                    await tables.logs.add(claim.run_id, lines)
        except BaseException:
            self.journal.put_back(claim.run_id, lines)
            raise
        return answer

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

    async def write_log(self, claim: Claim) -> None:
        """Write the last lines of a run, if the metadata database answers."""
        lines = self.journal.take(claim.run_id)
        try:
            async with asyncio.timeout(self.rhythm.trust), self.store.begin() as tables:
                await tables.logs.add(claim.run_id, lines)
        except (DataprocError, TimeoutError) as exc:
            logger.warning("the end of the log is not kept", extra=ids(claim) | {"error": code_of(exc)})


async def is_done(work: asyncio.Future[Published], wait: timedelta) -> bool:
    """Wait for the work, but no longer than `wait`; return whether it is done."""
    done, _ = await asyncio.wait({work}, timeout=wait.total_seconds())
    return bool(done)


def code_of(exc: DataprocError | TimeoutError) -> str:
    """Return the stable name of an error."""
    return exc.code if isinstance(exc, DataprocError) else "timeout"


def ids(claim: Claim) -> dict[str, object]:
    """Return what a line of the log says of a run."""
    return {"job_id": str(claim.job_id), "run_id": str(claim.run_id), "epoch": claim.epoch}
