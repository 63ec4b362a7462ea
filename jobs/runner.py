"""A runner: a long-lived Ray Job that claims jobs from the queue and runs them in its slots.

`ray job submit -- python -m jobs.runner`; the dispatcher keeps the right number of them.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import ray

from dataproc.bootstrap import Workshop, open_workshop, running_limits
from dataproc.cluster.capacity import datasets_at_once
from dataproc.cluster.engine import RayEngine
from dataproc.domain.errors import MetadataUnavailableError
from dataproc.domain.job import Claim
from dataproc.settings import Settings
from jobs.slot import SlotResult, new_slot

logger = logging.getLogger("jobs.runner")
PAUSE = timedelta(seconds=1)
"""The time until a metadata database that did not answer is asked again."""


@dataclass(slots=True)
class Runner:
    """Claims as many jobs as it has free slots."""

    settings: Settings
    workshop: Workshop
    start_slot: Callable[[], Any]
    end_slot: Callable[[Any], None]
    holder: str
    free: list[Any] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    left: int = 0
    draining: bool = False
    pause: timedelta = PAUSE

    async def run(self, slots: int) -> None:
        """Work until drained or worn out; what was claimed is finished first."""
        self.left = self.settings.runner_jobs
        self.free = [self.start_slot() for _ in range(slots)]
        await asyncio.gather(*(slot.warm.remote() for slot in self.free))
        logger.info("runner ready", extra={"holder": self.holder, "slots": slots})
        try:
            while not self.draining and self.left > 0:
                await self.step()
        finally:
            if self.tasks:
                await asyncio.wait(self.tasks)
        logger.info("runner ended", extra={"holder": self.holder, "jobs": self.settings.runner_jobs - self.left})

    async def step(self) -> None:
        """Claim jobs for the free slots; then wait for a slot, or a moment."""
        claims = await self.claim(min(len(self.free), self.left))
        for claim in claims:
            self.left -= 1
            task = asyncio.create_task(self.supervise(self.free.pop(), claim))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if self.tasks and not self.free:
            await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        elif not claims:
            await asyncio.sleep(self.settings.poll.total_seconds())

    async def claim(self, limit: int) -> list[Claim]:
        """Return up to `limit` claims; none while the metadata database does not answer."""
        if limit == 0:
            return []
        try:
            async with self.workshop.store.begin() as tables:
                claims = await tables.jobs.claim(
                    self.holder, lease=self.settings.lease, limit=limit, limits=running_limits(self.settings)
                )
            return list(claims)
        except MetadataUnavailableError:
            logger.warning("metadata database does not answer", extra={"holder": self.holder})
            await asyncio.sleep(self.pause.total_seconds())
            return []

    async def supervise(self, slot: Any, claim: Claim) -> None:
        """Run a claim in a slot; settle it when the slot is lost, and give the slot, or a new one, back."""
        try:
            result: SlotResult = await slot.execute.remote(claim)
        except Exception:
            # Whatever it was, the run is nobody's now and the slot may be broken.
            logger.exception("slot lost", extra={"job_id": str(claim.job_id), "epoch": claim.epoch})
            # It may live on, with a pipeline in it that nobody watches.
            self.end_slot(slot)
            await self.workshop.reaper.settle(claim)
            await self.replace_slot()
            return
        if result.stuck:
            self.end_slot(slot)
            await self.replace_slot()
            return
        self.free.append(slot)

    async def replace_slot(self) -> None:
        """Start another slot; if it does not come up, drain: where no slot starts, no job may be claimed."""
        slot = self.start_slot()
        try:
            await slot.warm.remote()
        except Exception:
            logger.exception("slot does not start", extra={"holder": self.holder})
            self.drain()
        else:
            self.free.append(slot)

    def drain(self) -> None:
        """Claim no more."""
        self.draining = True


async def serve(settings: Settings) -> None:
    """Run a runner until it is told to stop."""
    workshop = open_workshop(settings, RayEngine())
    runner = Runner(settings, workshop, new_slot, ray.kill, holder=f"runner-{uuid4()}")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.drain)
    nodes = ray.nodes()  # type: ignore[no-untyped-call] # Ray leaves it untyped
    bearable = datasets_at_once(node["Resources"].get("CPU", 0) for node in nodes if node["Alive"])
    try:
        await runner.run(min(settings.slots_per_runner, bearable))
    finally:
        await workshop.store.close()


def main() -> None:
    """Connect to the cluster that this Ray Job belongs to, and work."""
    ray.init(address="auto", log_to_driver=False)
    asyncio.run(serve(Settings()))


if __name__ == "__main__":
    main()
