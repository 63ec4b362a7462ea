"""A node of Ray is lost in the middle of a load: the rows are there once, in the first attempt, and nothing is left."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from dataproc.embedded.ray_head import MARK, end_marked
from tests.conftest import DEFAULT_MAJOR, WAREHOUSE, PostgresServers, open_folder
from tests.faults.node_loss import CASES, ROWS, Moment
from tests.warehouses import Query

pytestmark = pytest.mark.ray

PATIENCE = 800.0


@dataclass(frozen=True, slots=True)
class Losses:
    """What came of the loads, and the warehouse they went to."""

    warehouse: Query
    told: dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def losses(postgres_servers: PostgresServers) -> Iterator[Losses]:
    """Load and lose nodes in a process of its own; end what it may have left behind."""
    mark = str(uuid4())
    with postgres_servers.database(DEFAULT_MAJOR, WAREHOUSE) as url, open_folder() as folder:
        command = [sys.executable, "-m", "tests.faults.node_loss", url, str(folder)]
        environment = os.environ | {"RAY_AUTH_MODE": "disabled", MARK: mark}
        try:
            done = subprocess.run(
                command, env=environment, text=True, capture_output=True, timeout=PATIENCE, check=False
            )
        finally:
            end_marked(mark)
        assert done.returncode == 0, done.stderr[-5000:]
        trials = json.loads(done.stdout.splitlines()[-1])
        yield Losses(Query(url), {(trial["moment"], trial["way"]): trial for trial in trials})


@pytest.mark.parametrize(("moment", "way"), [case for case in CASES if case[0] is not Moment.PUBLISHING])
def test_what_a_lost_node_was_working_on_is_done_again_by_another(losses: Losses, moment: Moment, way: str) -> None:
    told = losses.told[moment, way]

    assert told["begun_there"] >= 2
    assert told["begun_again"] >= 1


@pytest.mark.parametrize("way", ["direct", "staged"])
def test_what_has_come_before_a_node_is_lost_is_not_done_again(losses: Losses, way: str) -> None:
    told = losses.told[Moment.PUBLISHING, way]

    assert told["begun_there"] >= 1
    assert told["begun_again"] == 0


@pytest.mark.parametrize(("moment", "way"), CASES)
def test_a_load_that_loses_a_node_publishes_every_row_once(losses: Losses, moment: Moment, way: str) -> None:
    table = losses.told[moment, way]["table"]

    [found] = losses.warehouse(f"SELECT count(*), count(DISTINCT order_id), sum(order_id) FROM {table}")

    assert found == (ROWS, ROWS, ROWS * (ROWS - 1) // 2)


@pytest.mark.parametrize(("moment", "way"), CASES)
def test_a_load_that_loses_a_node_has_one_balanced_ledger_row(losses: Losses, moment: Moment, way: str) -> None:
    told = losses.told[moment, way]
    statement = "SELECT target, epoch, way, rows_read, rows_loaded, rows_rejected, rows_filtered "

    rows = losses.warehouse(f"{statement} FROM dataproc_load.load_ledger WHERE job_id = %s", UUID(told["job_id"]))

    assert rows == [(told["table"], 1, way, ROWS, ROWS, 0, 0)]


def test_a_lost_node_leaves_no_staging_behind(losses: Losses) -> None:
    assert losses.warehouse.staging() == []
    assert losses.warehouse.count("load_staging") == 0
