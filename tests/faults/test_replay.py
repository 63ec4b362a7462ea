"""A replay that is harmed while it is published: each row that was set aside is loaded once, and marked as replayed."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from dataproc.domain.fault_points import FaultPoint
from tests.faults.faults import Fault, Harm
from tests.faults.invariants import rows_of
from tests.faults.modes import loaded_rows, source_rows
from tests.faults.routes import accept, begun
from tests.faults.runner import Order
from tests.faults.server import fault_server
from tests.faults.world import Case, World, new_world

POINTS = (FaultPoint.PUBLISH_FENCED, FaultPoint.RECORDED, FaultPoint.COMMITTING, FaultPoint.COMMITTED)
FAULTS = (Fault.RETRYABLE, Fault.KILLED, Fault.RESET_AFTER, Fault.TERMINATED)
MARKS = "SELECT replayed_by, count(*) FROM dataproc_load.reject WHERE job_id = %s GROUP BY replayed_by"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with fault_server() as server, ExitStack() as stack:
        yield stack.enter_context(new_world(server))


def replay_of(case: Case) -> Order:
    """Return the order to accept a replay of what a case's job has set aside, into its table."""
    document = {
        "name": f"replay-{uuid4().hex[:8]}",
        "source": {"kind": "rejects", "job": str(case.job_id), "rule": "ge"},
        "transforms": [{"kind": "clean", "cast": {"amount": "float64", "at": "timestamptz"}}],
        "destination": {"table": case.table, "load": case.load},
        "retry": {"attempts": 20, "first_delay": "1ms", "max_delay": "1ms"},
    }
    return Order("accept", document=json.dumps(document), key=uuid4().hex)


@pytest.mark.parametrize("way", ["direct", "staged"])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name.lower())
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
def test_a_replay_that_is_harmed_loads_each_row_once(world: World, fault: Fault, point: FaultPoint, way: str) -> None:
    with world.case(way) as case:
        accept(world, case)
        world.runner().do(Order("recover"))
        replays = [UUID(world.runner().do(replay_of(case))) for _ in range(2)]

        runner = begun(world.runner(), Order("work", halts=(point,)), point)
        Harm(world, runner).do(fault)
        world.expire()
        assert world.runner().do(Order("recover")) == "settled"

    aside = Counter(row for row in source_rows() if row[1] is not None and row[3] < 0)
    assert Counter(rows_of(world, case.table)) == Counter(case.before) + loaded_rows() + aside
    [(by, count)] = world.fetch(MARKS, case.job_id)
    assert (by in replays, count) == (True, aside.total())
    told = world.fetch("SELECT job_id, rows_loaded FROM dataproc_load.load_ledger WHERE job_id = ANY(%s)", replays)
    assert dict(told) == {job: aside.total() if job == by else 0 for job in replays}
