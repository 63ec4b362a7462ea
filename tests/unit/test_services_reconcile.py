"""The reaper: what becomes of a job whose runner is gone."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from uuid import uuid4

import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.destination import Destination
from dataproc.domain.errors import FencedError, WarehouseUnavailableError
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.status import RunStatus
from dataproc.ports.warehouse import LoadId, Published, Reconciliation
from dataproc.services.endings import last_failure
from dataproc.services.reconcile import LOST, Janitor, Reaper
from tests.builders import SOME_TIME, a_job, a_spec, some_progress
from tests.fakes.pipeline import ListSource
from tests.fakes.store import FakeStore
from tests.fakes.warehouse import FakeWarehouse
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
PUBLISHED = Published("analytics.orders", Account(read=100, loaded=95, rejected=5), "direct")


@dataclass(slots=True)
class Ward:
    """A reaper on fakes, and jobs whose runner is lost."""

    store: FakeStore = field(default_factory=FakeStore)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)

    @property
    def reaper(self) -> Reaper:
        return Reaper(self.store, self.warehouse, dice=lambda: 0.5)

    async def claim(self, retry: RetryPolicy | None = None) -> Claim:
        """Record a job, claim it, and let its run begin."""
        async with self.store.begin() as tables:
            job = await tables.jobs.add(a_job(spec=a_spec(retry=retry or RetryPolicy())))
            claim = await tables.jobs.claim_one(job.id, "runner-1", lease=LEASE)
            await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())
        self.warehouse.fence(load_id(claim))
        return claim

    async def lost(self, retry: RetryPolicy | None = None, *, cancelled: bool = False) -> Claim:
        """Return a claim whose lease has ended."""
        claim = await self.claim(retry)
        if cancelled:
            await self.cancel(claim)
        self.store.now += 2 * LEASE
        return claim

    async def cancel(self, claim: Claim) -> None:
        async with self.store.begin() as tables:
            assert await tables.jobs.request_cancel(claim.job_id)

    def stage(self, claim: Claim) -> None:
        """Stage something for a claim, as its runner would have done before it was lost."""
        plan = ListSource([[1]]).plan()
        self.warehouse.open(load_id(claim), Destination(table="analytics.orders", load="staged"), plan.schema, plan)

    async def sweep(self) -> int:
        return await Janitor(self.store, self.warehouse).sweep()

    async def job(self, claim: Claim) -> Job:
        async with self.store.begin() as tables:
            return await tables.jobs.get(claim.job_id)


def load_id(claim: Claim) -> LoadId:
    return LoadId(claim.job_id, claim.epoch, claim.run_id)


@pytest.fixture
def ward() -> Ward:
    return Ward()


async def test_a_run_that_still_has_its_lease_is_left_alone(ward: Ward) -> None:
    claim = await ward.claim()

    assert await ward.reaper.reap() == 0
    assert (await ward.job(claim)).status.is_running
    assert ward.warehouse.fence(load_id(claim)) is None


async def test_a_lost_run_gets_another_attempt_after_the_delay_of_its_policy(ward: Ward) -> None:
    claim = await ward.lost(RetryPolicy(first_delay=timedelta(seconds=8)))

    assert await ward.reaper.reap() == 1

    job = await ward.job(claim)
    assert (job.status, job.failure) == (RunStatus.PENDING, LOST)
    assert job.scheduled_for - job.updated_at == timedelta(seconds=4)
    assert ward.store.state.runs[claim.run_id].status is RunStatus.FAILED


async def test_a_lost_run_can_publish_no_more_and_what_it_staged_is_kept_for_the_next_one(ward: Ward) -> None:
    claim = await ward.lost()
    ward.stage(claim)

    await ward.reaper.reap()

    with pytest.raises(FencedError):
        ward.warehouse.fence(load_id(claim))
    assert ward.warehouse.staged() == [claim.job_id]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_a_lost_run_has_staged_is_dropped_when_there_is_no_next_one(ward: Ward, *, cancelled: bool) -> None:
    claim = await ward.lost(RetryPolicy(attempts=1), cancelled=cancelled)
    ward.stage(claim)

    await ward.reaper.reap()

    assert ward.warehouse.staged() == []


async def test_a_run_lost_after_its_publish_is_completed_with_the_rows_of_the_ledger(ward: Ward) -> None:
    claim = await ward.lost(cancelled=True)
    ward.warehouse.ledger[claim.job_id] = Reconciliation(
        PUBLISHED.target, PUBLISHED.way, SOME_TIME, PUBLISHED.account, None, ()
    )

    await ward.reaper.reap()

    job = await ward.job(claim)
    assert (job.status, job.failure) == (RunStatus.COMPLETED, None)
    assert (job.progress.rows_read, job.progress.rows_loaded, job.progress.rows_rejected) == (100, 95, 5)
    assert job.progress.units_done == job.progress.units_planned


async def test_a_run_lost_in_its_last_attempt_fails_the_job(ward: Ward) -> None:
    claim = await ward.lost(RetryPolicy(attempts=1))

    await ward.reaper.reap()

    job = await ward.job(claim)
    assert (job.status, job.failure) == (RunStatus.FAILED, last_failure(claim, LOST))
    assert job.failure is not None
    assert job.failure.message.endswith("(given up after 1 attempt)")


@pytest.mark.parametrize("attempts", [1, 5])
async def test_a_lost_run_whose_job_is_to_be_cancelled_ends_cancelled_and_is_not_tried_again(
    ward: Ward, attempts: int
) -> None:
    claim = await ward.lost(RetryPolicy(attempts=attempts), cancelled=True)

    await ward.reaper.reap()

    job = await ward.job(claim)
    assert (job.status, job.failure) == (RunStatus.CANCELLED, None)
    assert ward.store.state.runs[claim.run_id].status is RunStatus.CANCELLED
    assert ward.warehouse.fences[claim.job_id].cancelled


async def test_a_runner_may_settle_the_claim_of_its_own_dead_slot(ward: Ward) -> None:
    claim = await ward.claim()
    await ward.cancel(claim)

    await ward.reaper.settle(claim)

    assert (await ward.job(claim)).status is RunStatus.CANCELLED


async def test_a_lease_that_another_has_settled_is_left_alone(ward: Ward) -> None:
    claim = await ward.lost()
    await ward.reaper.reap()
    before = await ward.job(claim)

    await ward.reaper.settle(claim)

    assert await ward.job(claim) == before


async def test_while_the_warehouse_is_away_the_job_keeps_its_lease_and_is_settled_later(ward: Ward) -> None:
    claim = await ward.lost()
    ward.warehouse.is_away = True
    await ward.reaper.reap()
    assert (await ward.job(claim)).status.is_running

    ward.warehouse.is_away = False
    assert await ward.reaper.reap() == 0
    ward.store.now += timedelta(minutes=2)
    await ward.reaper.reap()

    assert (await ward.job(claim)).status is RunStatus.PENDING


async def test_a_lease_that_cannot_be_settled_keeps_no_other_one_waiting(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    poison, sound = await ward.claim(), await ward.claim()
    ward.store.now += 2 * LEASE
    ward.warehouse = PoisonedWarehouse(poison=poison.job_id)

    assert await ward.reaper.reap() == 2

    assert (await ward.job(poison)).status.is_running
    assert (await ward.job(sound)).status is RunStatus.PENDING
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


@dataclass(slots=True)
class PoisonedWarehouse(FakeWarehouse):
    """A warehouse that fails for one job in a way that nobody expects."""

    poison: JobId = field(default_factory=lambda: JobId(uuid4()))

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        if job_id == self.poison:
            raise ZeroDivisionError
        return FakeWarehouse.forbid(self, job_id, epoch)


async def test_no_more_leases_are_taken_over_than_asked_for(ward: Ward) -> None:
    claims = [await ward.claim() for _ in range(3)]
    ward.store.now += 2 * LEASE

    assert [await ward.reaper.reap(limit=2), await ward.reaper.reap(limit=2)] == [2, 1]
    assert {(await ward.job(claim)).status for claim in claims} == {RunStatus.PENDING}


async def test_the_janitor_leaves_alone_what_a_job_that_waits_or_runs_has_staged(ward: Ward) -> None:
    running, waiting = await ward.claim(), await ward.lost()
    ward.stage(running)
    ward.stage(waiting)
    await ward.reaper.settle(waiting)

    assert await ward.sweep() == 0

    assert sorted(ward.warehouse.staged()) == sorted([running.job_id, waiting.job_id])


async def test_the_janitor_drops_what_a_job_has_staged_that_was_cancelled_while_it_waited(ward: Ward) -> None:
    claim = await ward.lost()
    ward.stage(claim)
    await ward.reaper.reap()
    async with ward.store.begin() as tables:
        assert await tables.jobs.cancel_pending(claim.job_id)

    assert await ward.sweep() == 1

    assert ward.warehouse.staged() == []


async def test_the_janitor_leaves_alone_what_it_knows_nothing_of(ward: Ward) -> None:
    stranger = LoadId(JobId(uuid4()), 1, uuid4())
    ward.warehouse.fence(stranger)
    plan = ListSource([[1]]).plan()
    ward.warehouse.open(stranger, Destination(table="analytics.orders", load="staged"), plan.schema, plan)

    assert await ward.sweep() == 0

    assert ward.warehouse.staged() == [stranger.job_id]


async def test_the_janitor_does_not_touch_what_the_revived_job_stages_anew(ward: Ward) -> None:
    claim = await ward.lost(RetryPolicy(attempts=1))
    await ward.reaper.reap()
    async with ward.store.begin() as tables:
        assert await tables.jobs.revive(claim.job_id)
        again = await tables.jobs.claim_one(claim.job_id, "runner-2", lease=LEASE)
    ward.warehouse.fence(load_id(again))
    ward.stage(again)

    assert await ward.sweep() == 0
    ward.warehouse.clean(claim.job_id, claim.epoch)

    assert ward.warehouse.staged() == [claim.job_id]


@dataclass(slots=True)
class BusyWarehouse(FakeWarehouse):
    """A warehouse in which the publish of one job holds the fence for as long as a test wants."""

    busy: JobId = field(default_factory=lambda: JobId(uuid4()))
    over: Event = field(default_factory=Event)

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        if job_id == self.busy:
            assert self.over.wait(PATIENCE)
        return FakeWarehouse.forbid(self, job_id, epoch)


async def test_a_publish_that_goes_on_keeps_no_other_lost_run_waiting(ward: Ward) -> None:
    busy, other = await ward.claim(), await ward.claim()
    ward.store.now += 2 * LEASE
    ward.warehouse = warehouse = BusyWarehouse(busy=busy.job_id)
    reaping = asyncio.create_task(ward.reaper.reap())
    try:
        await until(lambda: ward.store.state.jobs[other.job_id].status is RunStatus.PENDING, PATIENCE)
        assert (await ward.job(busy)).status.is_running
    finally:
        warehouse.over.set()

    assert await reaping == 2


@dataclass(slots=True)
class HeldWarehouse(FakeWarehouse):
    """A warehouse in which somebody uses what one job has left."""

    held: JobId = field(default_factory=lambda: JobId(uuid4()))

    def clean(self, job_id: JobId, epoch: int) -> None:
        if job_id == self.held:
            raise WarehouseUnavailableError("somebody holds the table")
        FakeWarehouse.clean(self, job_id, epoch)


async def test_what_somebody_uses_is_left_for_the_next_sweep_and_keeps_nothing_else(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    ward.warehouse = warehouse = HeldWarehouse()
    claims = [await ward.claim() for _ in range(3)]
    for claim in claims:
        ward.stage(claim)
        async with ward.store.begin() as tables:
            await tables.jobs.finish(claim, RunStatus.FAILED, progress=None, failure=None)
    warehouse.held = claims[0].job_id

    assert await ward.sweep() == 2

    assert warehouse.staged() == [claims[0].job_id]
    assert "staging not dropped" in caplog.text
