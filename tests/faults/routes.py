"""The one table of where each fault point lies: what a runner must do to come by it."""

from collections.abc import Mapping
from enum import Enum
from uuid import UUID

from dataproc.domain.fault_points import FaultPoint
from tests.faults.process import RunnerProcess
from tests.faults.runner import Order
from tests.faults.world import Case, World


class Route(Enum):
    """What happens to a job, and by which way it is loaded."""

    ACCEPT = ("accept", "direct")
    DIRECT = ("load", "direct")
    STAGED = ("load", "staged")
    RETRY_DIRECT = ("retry", "direct")
    RETRY_STAGED = ("retry", "staged")
    CANCEL_DIRECT = ("cancel", "direct")
    CANCEL_STAGED = ("cancel", "staged")
    REAP_DIRECT = ("reap", "direct")
    REAP_STAGED = ("reap", "staged")
    DELIVER = ("deliver", "direct")

    @property
    def event(self) -> str:
        """What happens."""
        return self.value[0]

    @property
    def load(self) -> str:
        """The way of the load."""
        return self.value[1]


BOTH = (Route.DIRECT, Route.STAGED)
REAPS = (Route.REAP_DIRECT, Route.REAP_STAGED)

ROUTES: Mapping[FaultPoint, tuple[Route, ...]] = {
    FaultPoint.ACCEPTING: (Route.ACCEPT,),
    FaultPoint.ACCEPTED: (Route.ACCEPT,),
    FaultPoint.CLAIMED: BOTH,
    FaultPoint.FENCED: BOTH,
    FaultPoint.PLANNED: BOTH,
    FaultPoint.OPENED: BOTH,
    FaultPoint.CHUNK_RECORDED: (Route.STAGED,),
    FaultPoint.CHUNK_COPIED: (Route.STAGED,),
    FaultPoint.CHUNK_STAGED: (Route.STAGED,),
    FaultPoint.STAGED: (Route.STAGED,),
    FaultPoint.LOCKED: BOTH,
    FaultPoint.COPIED: (Route.DIRECT,),
    FaultPoint.PUBLISH_FENCED: BOTH,
    FaultPoint.RECORDED: BOTH,
    FaultPoint.COMMITTING: BOTH,
    FaultPoint.COMMITTED: BOTH,
    FaultPoint.FINISHING: BOTH,
    FaultPoint.FINISHED: BOTH,
    FaultPoint.REQUEUED: (Route.RETRY_DIRECT, Route.RETRY_STAGED),
    FaultPoint.FORBIDDEN: (Route.CANCEL_DIRECT, Route.CANCEL_STAGED, *REAPS),
    FaultPoint.REAPED: REAPS,
    FaultPoint.DELIVERED: (Route.DELIVER,),
}

HALF_WAY = {"direct": FaultPoint.COPIED, "staged": FaultPoint.CHUNK_STAGED}
"""Where a load has done some of its work."""


def bring_to(point: FaultPoint, route: Route, world: World, case: Case) -> RunnerProcess:
    """Return a runner that stands at the point."""
    if route.event == "accept":
        return begun(world.runner(), world.accept_order(case, halts=(point,)), point)
    accept(world, case)
    match route.event:
        case "load":
            return begun(world.runner(), Order("work", halts=(point,)), point)
        case "retry":
            return begun(world.runner(), Order("work", halts=(point,), stumbles_at=HALF_WAY[route.load]), point)
        case "cancel":
            return brought_to_cancel(point, world, case)
        case "reap":
            lose_runner(route, world)
            return begun(world.runner(), Order("reap", halts=(point,)), point)
        case _:
            world.runner().do(Order("work"))
            return begun(world.runner(), Order("deliver", halts=(point,)), point)


def begun(runner: RunnerProcess, order: Order, point: FaultPoint) -> RunnerProcess:
    """Tell a runner what to do; return it when it stands at the point."""
    runner.order(order)
    runner.await_point(point)
    return runner


def accept(world: World, case: Case) -> None:
    """Record the case's job; the same key always gives the same job."""
    told = world.runner().do(world.accept_order(case))
    case.job_id = UUID(told)
    case.accepted.append(case.job_id)


def brought_to_cancel(point: FaultPoint, world: World, case: Case) -> RunnerProcess:
    """Cancel the job while it is loaded; return its runner when it stands at the point."""
    order = Order("work", halts=(point,), waits_at=FaultPoint.OPENED)
    runner = begun(world.runner(), order, FaultPoint.OPENED)
    world.runner().do(Order("cancel", job_id=case.job_id))
    case.cancelled = True
    runner.await_point(point)
    return runner


def lose_runner(route: Route, world: World) -> None:
    """Kill a runner half way through a load, and let its lease end."""
    begun(world.runner(), Order("work", halts=(HALF_WAY[route.load],)), HALF_WAY[route.load]).kill()
    world.expire()
