"""Every fault point against every fault, by both ways: whatever dies, the invariants hold.

The short form raises and kills at every point and does everything else at the points that matter most; with
`DATAPROC_FAULTS=all` everything happens everywhere. A point that is not reached fails its tests.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from dataproc.domain.fault_points import FaultPoint
from dataproc.domain.status import RunStatus
from tests.faults import invariants
from tests.faults.faults import Fault, Harm
from tests.faults.modes import APPEND, MODES, LoadMode
from tests.faults.routes import ROUTES, Route, accept, bring_to
from tests.faults.runner import Order
from tests.faults.server import Ballast, FaultServer, fault_server, server_on_small_disk
from tests.faults.world import World, new_world

EVERYTHING = os.environ.get("DATAPROC_FAULTS") == "all"
EVERYWHERE = (Fault.RETRYABLE, Fault.UNEXPECTED, Fault.KILLED)
CRUCIAL = (
    FaultPoint.CHUNK_COPIED, FaultPoint.STAGED, FaultPoint.COPIED, FaultPoint.COMMITTING, FaultPoint.COMMITTED,
)  # fmt: skip
IN_PUBLISH = (
    FaultPoint.STAGED, FaultPoint.LOCKED, FaultPoint.COPIED, FaultPoint.PUBLISH_FENCED, FaultPoint.RECORDED,
    FaultPoint.COMMITTING, FaultPoint.COMMITTED,
)  # fmt: skip
CASES_IN_A_WORLD = 40

HOLDING_A_TRANSACTION = {
    FaultPoint.CHUNK_RECORDED, FaultPoint.CHUNK_COPIED, FaultPoint.LOCKED, FaultPoint.COPIED,
    FaultPoint.PUBLISH_FENCED, FaultPoint.RECORDED, FaultPoint.COMMITTING,
}  # fmt: skip
"""Where a run that loses its connections has lost what it was about to do."""
HOLDING_THE_FENCE = {FaultPoint.PUBLISH_FENCED, FaultPoint.RECORDED, FaultPoint.COMMITTING}
OF_CONNECTIONS = (Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.TERMINATED, Fault.RESTARTED)

Cell = tuple[FaultPoint, Route, Fault, LoadMode]


def cells() -> Iterator[Cell]:
    """Yield what happens where; a point that is missing in the table of routes is met on none of them, and fails."""
    for point in FaultPoint:
        for route in ROUTES.get(point, (Route.DIRECT,)):
            for fault in Fault:
                if EVERYTHING or fault in EVERYWHERE or point in CRUCIAL:
                    yield point, route, fault, APPEND[route.load]


def cells_of_modes() -> Iterator[Cell]:
    """Yield what happens where within the publish of each other mode."""
    for point in IN_PUBLISH:
        for route in (route for route in ROUTES[point] if route in (Route.DIRECT, Route.STAGED)):
            for fault in Fault if EVERYTHING else (Fault.KILLED, Fault.RESET_AFTER):
                if EVERYTHING or point in CRUCIAL or fault is Fault.KILLED:
                    yield from ((point, route, fault, mode) for mode in MODES[route.load])


def name_of(cell: Cell) -> str:
    """Return how a test is called."""
    return "-".join(part.name.lower() for part in cell)


CELLS = (*cells(), *cells_of_modes())
ON_FULL_DISK = [cell for cell in CELLS if cell[2] is Fault.DISK_FULL]
OTHERS = [cell for cell in CELLS if cell[2] is not Fault.DISK_FULL]


@dataclass(slots=True)
class Worlds:
    """Hands out worlds: the same one until a case has failed in it, or until it has seen many."""

    server: FaultServer
    stack: ExitStack = field(default_factory=ExitStack)
    current: World | None = None
    cases: int = 0

    def take(self) -> World:
        """Return a world in which all is well."""
        if self.current is None or self.cases >= CASES_IN_A_WORLD:
            self.stack.close()
            self.current, self.cases = self.stack.enter_context(new_world(self.server)), 0
        self.cases += 1
        return self.current

    def spoil(self) -> None:
        """Let the next case have another world."""
        self.cases = CASES_IN_A_WORLD


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with fault_server() as server, ExitStack() as stack:
        yield Worlds(server, stack)


@pytest.fixture(scope="module")
def small_worlds() -> Iterator[tuple[Worlds, Ballast]]:
    with server_on_small_disk() as (server, ballast), ExitStack() as stack:
        yield Worlds(server, stack), ballast
        assert server.complaints() > 0, "the disk was never full when something was to be written"


def ends_of(point: FaultPoint, route: Route, fault: Fault) -> RunStatus:
    """Return how a job has to end."""
    order = list(FaultPoint)
    within = order.index(FaultPoint.FENCED) <= order.index(point) < order.index(FaultPoint.COMMITTED)
    if route.event == "cancel":
        return RunStatus.CANCELLED
    if fault is Fault.UNEXPECTED and route.event == "load" and within:
        return RunStatus.FAILED
    return RunStatus.COMPLETED


def runs_of(point: FaultPoint, fault: Fault, mode: str) -> int | None:
    """Return how many runs a loaded job needs when the fault was felt; `None`: that depends."""
    if list(FaultPoint).index(point) >= list(FaultPoint).index(FaultPoint.COMMITTED):
        # A run that fails after its publish is followed by one that finds the load in the ledger.
        return 2 if (point, fault) == (FaultPoint.COMMITTED, Fault.RETRYABLE) else 1
    if fault is Fault.RESET_AFTER and point is FaultPoint.COMMITTING:
        return 1  # the reply to COMMIT is lost, and the load is found in the ledger
    if fault is Fault.FROZEN:
        # Whoever holds the fence publishes, however late. Nobody waits for long for a table that is being changed, but
        # tries again.
        depends = (point, mode) == (FaultPoint.COPIED, "evolve")
        return None if depends else 1 if point in HOLDING_THE_FENCE else 2
    if fault in OF_CONNECTIONS:
        return 2 if point in HOLDING_A_TRANSACTION else None
    if fault is Fault.UNEXPECTED:
        return 2 if point is FaultPoint.CLAIMED else 1
    return 2 if fault in (Fault.RETRYABLE, Fault.KILLED) else None


def go_through(cell: Cell, worlds: Worlds, ballast: Ballast | None = None) -> None:
    """Let the fault happen at the point, repair what a client and other runners would, and look at what is left."""
    point, route, fault, mode = cell
    world = worlds.take()
    seen = worlds.cases
    worlds.spoil()
    with world.case(route.load, mode) as case:
        runner = bring_to(point, route, world, case)
        Harm(world, runner, ballast).do(fault)
        if route.event == "accept":
            accept(world, case)
        world.expire()
        assert world.runner().do(Order("recover")) == "settled"
    invariants.check(world, case, ends_of(point, route, fault))
    runs = world.fetch("SELECT count(*) FROM job_runs WHERE job_id = %s", case.job_id)
    assert route.event != "load" or runs == [(runs_of(point, fault, mode.name) or runs[0][0],)], (
        "the fault was not felt"
    )
    worlds.cases = seen


@pytest.mark.parametrize("cell", OTHERS, ids=name_of)
def test_a_load_happens_once_or_not_at_all(cell: Cell, worlds: Worlds) -> None:
    go_through(cell, worlds)


@pytest.mark.parametrize("cell", ON_FULL_DISK, ids=name_of)
def test_a_load_happens_once_or_not_at_all_when_the_disk_is_full(
    cell: Cell, small_worlds: tuple[Worlds, Ballast]
) -> None:
    go_through(cell, *small_worlds)
