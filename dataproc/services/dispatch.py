"""The dispatcher: keeps as many runners as the queue needs and the cluster bears."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from uuid import UUID

from dataproc.ports import Cluster, QueueDepth, Store, Submission, SubmissionId

logger = logging.getLogger(__name__)
PREFIX = "dataproc-runner-"
ENTRYPOINT = "python -m jobs.runner"


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
    """Compares the runners there are with those there should be."""

    store: Store
    cluster: Cluster
    fleet: Fleet
    new_id: Callable[[], UUID]

    async def dispatch(self) -> int:
        """Start the runners that are missing, stop those too many while nothing waits; return how many there are."""
        async with self.store.begin() as tables:
            depth = await tables.jobs.depth()
        runners = [runner for runner in await self.cluster.list(PREFIX) if runner.is_alive]
        wanted = self.fleet.wanted(depth, await self.cluster.slots())
        for _ in range(wanted - len(runners)):
            await self.start()
        if depth.ready == 0 and depth.running == 0:
            await self.stop(runners[wanted:])
        return max(wanted, len(runners))

    async def start(self) -> None:
        """Start a runner under an id of its own."""
        submission = SubmissionId(f"{PREFIX}{self.new_id()}")
        await self.cluster.submit(submission, ENTRYPOINT)
        logger.info("runner started", extra={"submission_id": submission})

    async def stop(self, runners: Sequence[Submission]) -> None:
        """Ask runners to finish what they have and end."""
        for runner in runners:
            await self.cluster.stop(runner.id)
            logger.info("runner stopped", extra={"submission_id": runner.id})
