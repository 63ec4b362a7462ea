"""The dispatcher's loop: nothing that fails ends it, and one task does not wait for the other."""

from collections.abc import Awaitable, Callable

import pytest

from dataproc.domain.errors import ClusterUnavailableError, MetadataUnavailableError, SetupError
from dataproc.domain.status import RunStatus
from dataproc.services.dispatch import Dispatcher, Fleet
from dataproc.services.reconcile import Reaper
from jobs.dispatcher import attempt, tick
from tests.builders import a_job
from tests.fakes import FakeCluster, FakeStore, FakeWarehouse
from tests.unit.test_services_reconcile import LEASE, Ward

pytestmark = pytest.mark.anyio


class AbsentCluster(FakeCluster):
    """A cluster that does not answer."""

    async def slots(self) -> int:
        raise ClusterUnavailableError


def dispatcher_of(store: FakeStore, cluster: FakeCluster) -> Dispatcher:
    ids = iter([a_job().id for _ in range(10)])
    return Dispatcher(store, cluster, Fleet(slots_per_runner=2, max_runners=4), lambda: next(ids))


@pytest.mark.parametrize("exc", [ClusterUnavailableError(), MetadataUnavailableError("no route to host")])
async def test_what_does_not_answer_is_asked_again_with_a_warning(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await attempt("reap", failing(exc))

    [record] = caplog.records
    assert (record.levelname, vars(record)["task"], vars(record)["reason"]) == ("WARNING", "reap", str(exc))


@pytest.mark.parametrize("exc", [SetupError(), ZeroDivisionError()])
async def test_what_must_be_looked_at_is_logged_with_its_traceback_and_does_not_end_the_loop(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await attempt("dispatch", failing(exc))

    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


def failing(exc: Exception) -> Callable[[], Awaitable[int]]:
    """Return a task that fails."""

    async def fail() -> int:
        raise exc

    return fail


async def test_lost_jobs_are_settled_while_the_cluster_is_away() -> None:
    ward = Ward()
    claim = await ward.lost()

    await tick(dispatcher_of(ward.store, AbsentCluster()), ward.reaper)

    assert (await ward.job(claim)).status is RunStatus.PENDING


async def test_runners_are_started_while_the_warehouse_is_away() -> None:
    ward = Ward()
    await ward.lost()
    ward.warehouse.is_away = True
    cluster = FakeCluster()

    await tick(dispatcher_of(ward.store, cluster), ward.reaper)

    assert len(cluster.jobs) == 1


async def test_a_dispatcher_without_its_database_goes_on_as_soon_as_it_is_back() -> None:
    store, cluster = FakeStore(is_away=True), FakeCluster()
    dispatcher, reaper = dispatcher_of(store, cluster), Reaper(store, FakeWarehouse(), lambda: 0.5)
    await tick(dispatcher, reaper)
    assert cluster.jobs == {}

    store.is_away = False
    await tick(dispatcher, reaper)

    assert len(cluster.jobs) == 1


async def test_leases_that_still_hold_are_left_alone() -> None:
    ward = Ward()
    claim = await ward.claim()
    ward.store.now += LEASE / 2

    await tick(dispatcher_of(ward.store, FakeCluster()), ward.reaper)

    assert (await ward.job(claim)).status.is_running
