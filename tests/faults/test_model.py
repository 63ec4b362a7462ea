"""The life cycle of jobs under a model, on real databases: in whatever order, nothing is lost or doubled.

The short form is always the same; with `DATAPROC_FAULTS=all` it is longer, and other each time.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machine import LifeCycle
from tests.faults.server import FaultServer, fault_server

EVERYTHING = os.environ.get("DATAPROC_FAULTS") == "all"
EXTENT = settings(
    max_examples=300 if EVERYTHING else 30,
    stateful_step_count=60 if EVERYTHING else 30,
    derandomize=not EVERYTHING,
    database=None,
    suppress_health_check=list(HealthCheck),
    # An example is told as it was found: each step that would be tried to shorten it is slow on real databases.
    phases=[Phase.generate],
)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


@pytest.mark.timeout(3600 if EVERYTHING else 900)
def test_whatever_is_done_in_whatever_order_the_databases_stay_as_the_model_says(server: FaultServer) -> None:
    with server.database() as database:
        # It wants what makes a machine; the stub knows only classes.
        run_state_machine_as_test(cast("type[LifeCycle]", partial(LifeCycle, server.url(database))), settings=EXTENT)
