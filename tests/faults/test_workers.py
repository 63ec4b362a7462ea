"""A worker of a real Ray that dies in the middle of a chunk, at each point there: the load happens all the same."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataproc.bootstrap import open_workshop
from dataproc.cluster.engine import RayEngine
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.fault_points import FaultPoint, hooked
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Step, Transform
from dataproc.settings import Settings
from tests.faults import invariants
from tests.faults.routes import accept
from tests.faults.runner import Order, remembering
from tests.faults.server import fault_server
from tests.faults.world import World, new_world
from tests.local_ray import own_ray

# Ray warns of its own deprecated settings and of files that its own processes leave open.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("logs_as_before"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """Start a Ray of our own, and end it."""
    with own_ray():
        yield


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with fault_server() as server, new_world(server) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Deadly:
    """A step whose worker dies the first time that it comes to a point, and leaves a mark of that."""

    step: Step
    point: FaultPoint
    mark: Path

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        with hooked(self.die):
            return self.step(chunk)

    def die(self, point: FaultPoint) -> None:
        """Die, unless another worker has died of this before."""
        if point is not self.point:
            return
        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class DeadlyEngine:
    """Ray, with one worker that dies."""

    engine: RayEngine
    point: FaultPoint
    mark: Path

    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> AbstractContextManager[Iterator[LoadedChunk]]:
        return self.engine.run(units, read, transforms, Deadly(load, self.point, self.mark))


async def executed(settings: Settings, engine: DeadlyEngine) -> RunStatus | None:
    """Claim the job that waits and run it to its end."""
    workshop = remembering(open_workshop(settings, engine))
    try:
        async with workshop.store.begin() as tables:
            [claim] = await tables.jobs.claim("runner-with-ray", lease=settings.lease, limit=1)
        return await workshop.runs.execute(claim)
    finally:
        await workshop.store.close()


@pytest.mark.parametrize("point", [FaultPoint.CHUNK_RECORDED, FaultPoint.CHUNK_COPIED, FaultPoint.CHUNK_STAGED])
def test_a_worker_that_dies_in_a_chunk_costs_no_row_and_doubles_none(
    world: World, point: FaultPoint, tmp_path: Path
) -> None:
    mark = tmp_path / "died"
    with world.case("staged") as case:
        accept(world, case)

        ended = asyncio.run(executed(world.settings, DeadlyEngine(RayEngine(), point, mark)))

        assert mark.exists(), f"no worker came to {point}"
        assert ended is RunStatus.COMPLETED
        assert world.runner().do(Order("recover")) == "settled"
    invariants.check(world, case, RunStatus.COMPLETED)
