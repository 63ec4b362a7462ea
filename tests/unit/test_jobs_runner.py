"""A runner's steps, with slots that are no actors: what is claimed, finished, settled and replaced."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from ray.exceptions import RayActorError

from dataproc.bootstrap import Workshop
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.services.attendance import Rhythm
from dataproc.services.jobs import JobService
from dataproc.services.reconcile import Reaper
from dataproc.services.runs import RunService
from dataproc.settings import Settings
from dataproc.telemetry.journal import RunJournal
from jobs.runner import Runner
from jobs.slot import SlotResult
from tests.builders import a_job
from tests.fakes.store import FakeStore
from tests.fakes.warehouse import FakeWarehouse
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

SETTINGS = Settings(max_running_per_target=100, poll=timedelta(milliseconds=2), slots_per_runner=2, runner_jobs=3)


@dataclass(frozen=True, slots=True)
class Remote:
    """A method of an actor."""

    method: Callable[..., "asyncio.Future[SlotResult]"]

    def remote(self, *args: Claim) -> "asyncio.Future[SlotResult]":
        return self.method(*args)


@dataclass(slots=True)
class FakeSlot:
    """A slot whose runs end when a test says so."""

    is_sound: bool = True
    claims: list[Claim] = field(default_factory=list)
    running: "asyncio.Future[SlotResult] | None" = None

    @property
    def warm(self) -> Remote:
        return Remote(self.warmed)

    @property
    def execute(self) -> Remote:
        return Remote(self.executed)

    def warmed(self) -> "asyncio.Future[SlotResult]":
        done: asyncio.Future[SlotResult] = asyncio.get_running_loop().create_future()
        if self.is_sound:
            done.set_result(SlotResult(None))
        else:
            done.set_exception(RayActorError())
        return done

    def executed(self, claim: Claim) -> "asyncio.Future[SlotResult]":
        self.claims.append(claim)
        self.running = asyncio.get_running_loop().create_future()
        return self.running

    def end(self, result: SlotResult | BaseException) -> None:
        """End the run that is under way."""
        assert self.running is not None
        running, self.running = self.running, None
        if isinstance(result, SlotResult):
            running.set_result(result)
        else:
            running.set_exception(result)


DONE = SlotResult(RunStatus.COMPLETED)


@dataclass(slots=True)
class Shop:
    """A runner with fake slots, store and warehouse."""

    store: FakeStore = field(default_factory=FakeStore)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    slots: list[FakeSlot] = field(default_factory=list)
    killed: list[FakeSlot] = field(default_factory=list)
    next_is_sound: bool = True

    def runner(self) -> Runner:
        return Runner(SETTINGS, self.workshop, self.start_slot, self.killed.append, holder="runner-1")

    @property
    def workshop(self) -> Workshop:
        async def no_pipeline(_: Claim) -> None:
            """Give nothing: a runner's own process runs no pipeline."""

        rhythm = Rhythm(SETTINGS.lease, SETTINGS.heartbeat)
        runs = RunService(self.store, self.warehouse, no_pipeline, rhythm, lambda: 0.0, lambda: 0.5, RunJournal())  # type: ignore[arg-type] # never called
        reaper = Reaper(self.store, self.warehouse, lambda: 0.5)
        return Workshop(runs, reaper, JobService(self.store, uuid4), self.store)

    def start_slot(self) -> FakeSlot:
        self.slots.append(FakeSlot(self.next_is_sound))
        return self.slots[-1]

    async def add(self, number: int) -> list[JobId]:
        async with self.store.begin() as tables:
            return [(await tables.jobs.add(a_job())).id for _ in range(number)]

    async def job(self, job_id: JobId) -> Job:
        async with self.store.begin() as tables:
            return await tables.jobs.get(job_id)

    @property
    def busy(self) -> list[FakeSlot]:
        return [slot for slot in self.slots if slot.running is not None]

    @property
    def claimed(self) -> int:
        return sum(job.status.is_running for job in self.store.state.jobs.values())

    def end_all(self) -> None:
        for slot in self.busy:
            slot.end(DONE)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Give a shop; whatever is under way in the end is ended."""
    shop = Shop()
    yield shop
    shop.end_all()


async def drained(runner: Runner, running: "asyncio.Task[None]", shop: Shop) -> None:
    """Drain a runner, and wait for its end."""
    runner.drain()
    async with asyncio.timeout(PATIENCE):
        while not running.done():
            shop.end_all()
            await asyncio.sleep(0.001)
    await running


async def test_no_more_jobs_are_claimed_than_there_are_free_slots(shop: Shop) -> None:
    await shop.add(5)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(2))

    await until(lambda: len(shop.busy) == 2)
    assert shop.claimed == 2
    shop.busy[0].end(DONE)
    await until(lambda: shop.claimed == 3)

    assert len(shop.busy) == 2
    await drained(runner, running, shop)


async def test_a_runner_finishes_what_it_has_claimed_before_it_ends(shop: Shop) -> None:
    await shop.add(3)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(2))
    await until(lambda: len(shop.busy) == 2)

    runner.drain()
    first, second = shop.busy
    first.end(DONE)
    await until(lambda: len(runner.tasks) == 1)
    assert not running.done()
    second.end(DONE)
    await running

    assert shop.claimed == 2


async def test_a_runner_is_worn_out_after_so_many_jobs_and_claims_no_more(shop: Shop) -> None:
    await shop.add(5)
    running = asyncio.create_task(shop.runner().run(2))

    while not running.done():
        shop.end_all()
        await asyncio.sleep(0.001)
    await running

    assert sum(len(slot.claims) for slot in shop.slots) == SETTINGS.runner_jobs


async def test_slots_are_kept_warm_from_job_to_job(shop: Shop) -> None:
    await shop.add(3)
    running = asyncio.create_task(shop.runner().run(1))

    while not running.done():
        shop.end_all()
        await asyncio.sleep(0.001)
    await running

    [slot] = shop.slots
    assert len(slot.claims) == 3


async def test_a_dead_slot_is_replaced_and_its_job_gets_another_attempt(shop: Shop) -> None:
    [job_id] = await shop.add(1)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(1))
    await until(lambda: len(shop.busy) == 1)

    [dead] = shop.busy
    dead.end(RayActorError())
    await until(lambda: len(shop.slots) == 2 and len(runner.free) == 1)

    job = await shop.job(job_id)
    assert job.status is RunStatus.PENDING
    assert job.failure is not None
    assert job.failure.code == "runner-lost"
    assert shop.killed == [dead]
    assert shop.warehouse.fences[job_id].cancelled
    await drained(runner, running, shop)


async def test_a_job_that_is_to_be_cancelled_is_not_tried_again_when_its_slot_dies(shop: Shop) -> None:
    [job_id] = await shop.add(1)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(1))
    await until(lambda: len(shop.busy) == 1)
    async with shop.store.begin() as tables:
        await tables.jobs.request_cancel(job_id)

    shop.busy[0].end(RayActorError())
    await until(lambda: shop.store.state.jobs[job_id].status.is_final)

    assert (await shop.job(job_id)).status is RunStatus.CANCELLED
    await drained(runner, running, shop)


async def test_an_error_that_nobody_expected_costs_the_slot_and_not_the_runner(shop: Shop) -> None:
    await shop.add(2)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(1))
    await until(lambda: len(shop.busy) == 1)

    shop.busy[0].end(ZeroDivisionError())
    await until(lambda: len(shop.slots) == 2 and bool(shop.slots[1].claims))

    await drained(runner, running, shop)


async def test_a_stuck_slot_is_ended_and_replaced_and_its_job_left_as_it_was_settled(shop: Shop) -> None:
    [job_id] = await shop.add(1)
    runner = shop.runner()
    running = asyncio.create_task(runner.run(1))
    await until(lambda: len(shop.busy) == 1)

    [stuck] = shop.busy
    stuck.end(SlotResult(None, stuck=True))
    await until(lambda: len(runner.free) == 1)

    assert shop.killed == [stuck]
    assert runner.free == [shop.slots[1]]
    assert (await shop.job(job_id)).status.is_running
    await drained(runner, running, shop)


async def test_where_no_slot_starts_no_job_is_claimed_any_more(shop: Shop) -> None:
    await shop.add(3)
    running = asyncio.create_task(shop.runner().run(1))
    await until(lambda: len(shop.busy) == 1)

    shop.next_is_sound = False
    shop.busy[0].end(RayActorError())
    await running

    assert [len(slot.claims) for slot in shop.slots] == [1, 0]


async def test_a_runner_whose_first_slots_do_not_start_ends_with_the_error(shop: Shop) -> None:
    await shop.add(1)
    shop.next_is_sound = False

    with pytest.raises(RayActorError):
        await shop.runner().run(1)
    assert shop.claimed == 0


async def test_a_metadata_database_that_is_away_is_asked_again(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.add(1)
    shop.store.is_away = True
    runner = shop.runner()
    runner.pause = timedelta(milliseconds=1)
    running = asyncio.create_task(runner.run(1))
    await until(lambda: "metadata database does not answer" in caplog.messages)

    shop.store.is_away = False
    await until(lambda: len(shop.busy) == 1)

    await drained(runner, running, shop)
