"""Waiting for jobs: how often they are looked at, and for whom."""

import asyncio
import math
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from dataproc.domain.errors import MetadataUnavailableError
from dataproc.domain.job import Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.services.waiting import LONGEST, SHORTEST, Wait, WaitService, age_of
from tests.builders import SOME_TIME, a_job
from tests.fakes.store import FakeStore
from tests.waiting import until

pytestmark = pytest.mark.anyio

LONG = timedelta(minutes=1)


@dataclass(slots=True)
class Clock:
    """A clock that only a pause moves on."""

    now: float = 0.0
    looks: list[tuple[float, list[JobId]]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def waits(store: FakeStore, clock: Clock) -> WaitService:
    """Give the service on a store that notes when it is asked for which jobs."""
    store.on_look = lambda job_ids: clock.looks.append((clock.now, sorted(job_ids)))
    return WaitService(store, clock, clock.pause)


async def added(store: FakeStore) -> Job:
    async with store.begin() as tables:
        return await tables.jobs.add(a_job())


async def cancel(store: FakeStore, job: Job) -> None:
    async with store.begin() as tables:
        await tables.jobs.cancel_pending(job.id)


def waiter(waits: WaitService, job: Job, *, age: float = 0.0) -> asyncio.Task[None]:
    """Wait for a job of an age."""
    return asyncio.create_task(waits.wait(Wait(job.id, waits.clock() - age), LONG))


async def test_a_job_is_told_as_it_ended(store: FakeStore, waits: WaitService) -> None:
    job = await added(store)
    waiting = asyncio.create_task(waits.end_of(job, within=LONG))
    await until(lambda: bool(waits.waits))

    await cancel(store, job)

    assert (await waiting).status is RunStatus.CANCELLED


async def test_a_job_that_goes_on_is_told_as_it_stands_after_the_time(store: FakeStore, waits: WaitService) -> None:
    job = await added(store)
    async with store.begin() as tables:
        await tables.jobs.claim_one(job.id, "runner-1", lease=LONG)

    told = await waits.end_of(job, within=timedelta(milliseconds=20))

    assert told.status is RunStatus.INGESTING


async def test_a_job_that_has_ended_is_told_without_a_look(store: FakeStore, waits: WaitService, clock: Clock) -> None:
    job = a_job(status=RunStatus.FAILED)

    assert await waits.end_of(job, within=LONG) is job
    assert clock.looks == []


async def test_one_look_is_for_all_who_wait(store: FakeStore, waits: WaitService, clock: Clock) -> None:
    jobs = [await added(store) for _ in range(3)]
    waiting = [waiter(waits, job) for job in jobs * 2]

    await until(lambda: clock.now > 0.5)

    assert {tuple(ids) for _, ids in clock.looks} == {tuple(sorted(job.id for job in jobs))}
    for job in jobs:
        await cancel(store, job)
    await asyncio.gather(*waiting)


async def test_only_those_whose_job_has_ended_go_on(store: FakeStore, waits: WaitService) -> None:
    first, second = await added(store), await added(store)
    ends, goes_on = waiter(waits, first), waiter(waits, second)

    await cancel(store, first)

    await ends
    assert not goes_on.done()
    await cancel(store, second)
    await goes_on


async def test_the_older_a_job_the_fewer_the_looks(store: FakeStore, waits: WaitService, clock: Clock) -> None:
    job = await added(store)
    waiting = waiter(waits, job)

    await until(lambda: clock.now > 120)

    times = [time for time, _ in clock.looks]
    gaps = [(later - time, time) for time, later in pairwise(times)]
    assert all(min(max(SHORTEST, 0.02 * at), LONGEST) - SHORTEST / 2 - 0.001 <= gap for gap, at in gaps)
    assert all(gap <= min(max(SHORTEST, 0.021 * at), LONGEST) + SHORTEST for gap, at in gaps)
    assert len(times) < 50 + 1.1 * math.log(50) / 0.02 + 70
    await cancel(store, job)
    await waiting


async def test_an_old_job_is_looked_at_often_only_while_a_young_one_is_waited_for(
    store: FakeStore, waits: WaitService, clock: Clock
) -> None:
    old, young = await added(store), await added(store)
    both = [waiter(waits, old, age=3600), waiter(waits, young)]
    await until(lambda: clock.now > 0.1)
    assert [round(time, 3) for time, _ in clock.looks[:4]] == [0.02, 0.04, 0.06, 0.08]

    await cancel(store, young)
    await both[1]

    clock.looks.clear()
    await until(lambda: len(clock.looks) > 5)
    assert all(later - time > LONGEST - SHORTEST for (time, _), (later, _) in pairwise(clock.looks))
    await cancel(store, old)
    await both[0]


async def test_nothing_is_left_when_nobody_waits(store: FakeStore, waits: WaitService, clock: Clock) -> None:
    waiting = waiter(waits, await added(store))
    await until(lambda: bool(clock.looks))
    looker = waits.looker
    assert looker is not None

    waiting.cancel()

    await asyncio.wait_for(looker, 5)
    assert (waits.waits, waits.looker) == (set(), None)


async def test_who_comes_when_enough_wait_is_answered_at_once(store: FakeStore, waits: WaitService) -> None:
    job = await added(store)
    waits.most = 2
    waiting = [waiter(waits, job) for _ in range(2)]
    await until(lambda: len(waits.waits) == 2)

    assert await waits.end_of(job, within=LONG) is job

    await cancel(store, job)
    await asyncio.gather(*waiting)
    later = asyncio.create_task(waits.end_of(await added(store), within=timedelta(milliseconds=20)))
    await until(lambda: len(waits.waits) == 1)
    await later


async def test_a_look_that_fails_is_told_to_all_who_wait_and_the_next_one_looks_again(
    store: FakeStore, waits: WaitService, caplog: pytest.LogCaptureFixture
) -> None:
    job = await added(store)
    waiting = [asyncio.create_task(waits.end_of(job, within=LONG)) for _ in range(2)]
    await until(lambda: len(waits.waits) == 2)

    store.is_away = True

    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in failed] == [MetadataUnavailableError] * 2
    assert "looking at jobs failed" in caplog.text
    store.is_away = False
    again = waiter(waits, job)
    await cancel(store, job)
    await again


@pytest.mark.parametrize(
    ("started", "due", "age"),
    [(None, -3.0, 3.0), (-1.0, -3.0, 1.0), (None, 7.0, 7.0), (None, 0.0, 0.0)],
)
def test_a_job_is_as_old_as_it_runs_or_waits_and_one_that_is_due_later_is_not_young(
    started: float | None, due: float, age: float
) -> None:
    began = None if started is None else SOME_TIME + timedelta(seconds=started)
    job = a_job(id=JobId(uuid4()), started_at=began, scheduled_for=SOME_TIME + timedelta(seconds=due))

    assert age_of(job, SOME_TIME) == age
