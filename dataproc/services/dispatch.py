"""The dispatcher: keeps as many runners as the queue needs, and starts jobs that asked for a Ray Job of their own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

from dataproc.domain.errors import ClusterUnavailableError, DataprocError
from dataproc.domain.job import Claim, JobId
from dataproc.ports.cluster import Cluster, Submission, SubmissionId
from dataproc.ports.queue import DISPATCH, QueueDepth, RunningLimits
from dataproc.ports.store import Store
from dataproc.services.endings import failure_of, release
from dataproc.services.starts import Starts

logger = logging.getLogger(__name__)
OURS = "dataproc-"
"""How the ids of all our Ray Jobs begin."""
PREFIX = f"{OURS}runner-"
ENTRYPOINT = "python -m jobs.runner"
DEDICATED_PREFIX = f"{OURS}job-"
DEDICATED = "dedicated"
"""Who holds the claim on a job from its dispatch until the Ray Job of its own adopts it."""
START_PATIENCE = timedelta(minutes=2)
"""How long a Ray Job may take to start; then it counts as lost, and the job gets another one."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How large the fleet of runners may be."""

    slots_per_runner: int
    max_runners: int

    def wanted(self, depth: QueueDepth, cluster_slots: int) -> int:
        """Return how many runners there should be: at least one stays warm, and no more than the cluster bears."""
        needed = ceil((depth.ready + depth.running) / self.slots_per_runner)
        borne = max(1, cluster_slots // self.slots_per_runner)
        return max(1, min(needed, borne, self.max_runners))


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Compares the Ray Jobs there are with those there should be."""

    store: Store
    cluster: Cluster
    fleet: Fleet
    limits: RunningLimits
    new_id: Callable[[], UUID]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def dispatch(self) -> int:
        """Start what is missing, stop what is too much; return how many runners there are.

        Waiting jobs show the obstacle that it notes.
        """
        try:
            return await self.adjust()
        except ClusterUnavailableError as exc:
            async with self.store.begin() as tables:
                await tables.duties.note(DISPATCH, f"the Ray cluster: {exc}")
            raise

    async def adjust(self) -> int:
        """Start what is missing, stop what is too much; return how many runners there are."""
        slots = await self.cluster.slots()
        # Asked for once: for every answer Ray reads its whole table of jobs.
        known = await self.cluster.list(OURS)
        alive = [job for job in known if job.is_alive]
        starts = Starts.of((job for job in known if job.id.startswith(PREFIX)), self.now())
        runners = [job for job in alive if job.id.startswith(PREFIX)]
        dedicated = sum(job.id.startswith(DEDICATED_PREFIX) for job in alive)
        dedicated += await self.dispatch_dedicated(slots - dedicated)
        return await self.dispatch_runners(runners, slots - dedicated, starts)

    async def dispatch_runners(self, runners: Sequence[Submission], slots: int, starts: Starts) -> int:
        """Start the runners that are missing, stop those too many while nothing waits; return how many there are.

        After failed starts it starts fewer runners, each after a longer pause.
        """
        async with self.store.begin() as tables:
            await tables.duties.note(DISPATCH, starts.obstacle)
            depth = await tables.jobs.depth("shared")
        wanted = self.fleet.wanted(depth, slots)
        started = starts.allowed(wanted - len(runners))
        for _ in range(started):
            await self.start(SubmissionId(f"{PREFIX}{self.new_id()}"), ENTRYPOINT)
        if depth.ready == 0 and depth.running == 0:
            await self.stop(runners[wanted:])
        return len(runners) + started

    async def dispatch_dedicated(self, slots: int) -> int:
        """Start a Ray Job for each job that asked for one, as far as slots are left; return how many were started."""
        async with self.store.begin() as tables:
            claims = await tables.jobs.claim(
                DEDICATED,
                lease=START_PATIENCE,
                limit=max(0, slots),
                limits=self.limits,
                execution="dedicated",
            )
        for claim in claims:
            await self.start_dedicated(claim)
        return len(claims)

    async def start_dedicated(self, claim: Claim) -> None:
        """Start the Ray Job of a claim; if the cluster refuses, the job waits as if nothing had happened."""
        # The id tells job and epoch, so that one claim never has two Ray Jobs.
        try:
            await self.start(submission_of(claim), f"python -m jobs.run_pipeline --epoch {claim.epoch} {claim.job_id}")
        except ClusterUnavailableError as exc:
            try:
                await release(self.store, claim, failure=failure_of(exc))
            except DataprocError as late:
                # Its lease ends, and the reaper finds it.
                logger.warning("claim not given back", extra={"job_id": str(claim.job_id), "error": late.code})
            raise

    async def start(self, submission: SubmissionId, entrypoint: str) -> None:
        """Start a Ray Job."""
        await self.cluster.submit(submission, entrypoint)
        logger.info("ray job started", extra={"submission_id": submission})

    async def stop(self, runners: Sequence[Submission]) -> None:
        """Ask runners to finish what they have and end."""
        for runner in runners:
            await self.cluster.stop(runner.id)
            logger.info("runner stopped", extra={"submission_id": runner.id})


def submission_of(claim: Claim) -> SubmissionId:
    """Return the id of the Ray Job of a claim."""
    return SubmissionId(f"{DEDICATED_PREFIX}{JobId(claim.job_id)}-{claim.epoch}")
