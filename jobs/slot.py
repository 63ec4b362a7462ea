"""A slot: an actor that runs one job at a time, each as one Dataset, and stays warm between them."""

import logging
from dataclasses import dataclass
from typing import cast

import ray

from dataproc.bootstrap import open_workshop
from dataproc.cluster.engine import RayEngine
from dataproc.domain.job import Claim
from dataproc.domain.status import RunStatus
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings

logger = logging.getLogger("jobs.slot")


@dataclass(frozen=True, slots=True)
class SlotResult:
    """How a run ended; a stuck slot must be replaced."""

    status: RunStatus | None
    stuck: bool = False


class Slot:
    """Runs claimed jobs; takes no CPU of its own, for its Dataset's tasks do the work."""

    def __init__(self) -> None:
        """Open connections and the engine once, for all jobs to come."""
        self.engine = RayEngine()
        self.workshop = open_workshop(Settings(), self.engine)

    async def warm(self) -> None:
        """Start the workers that the first job would have to wait for."""
        self.engine.warm()

    async def execute(self, claim: Claim) -> SlotResult:
        """Run a claimed job to its end."""
        try:
            return SlotResult(await self.workshop.runs.execute(claim))
        except StuckPipelineError:
            return SlotResult(None, stuck=True)


def new_slot() -> "ray.actor.ActorHandle[Slot]":
    """Start a slot."""
    return cast("ray.actor.ActorHandle[Slot]", ray.remote(num_cpus=0, max_restarts=0)(Slot).remote())
