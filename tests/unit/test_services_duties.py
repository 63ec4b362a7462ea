"""Duties: one process at a time does them, nothing that fails ends the watch, and no duty waits for another."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest

from dataproc.domain.errors import ClusterUnavailableError, MetadataUnavailableError, SetupError
from dataproc.services.duties import Duty, Watch
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=15)


@dataclass(slots=True)
class Work:
    """Counts how often it is done."""

    done: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def act(self) -> int:
        self.done += 1
        self.enough.set()
        return 1


def duty(act: Callable[[], Awaitable[int]], name: str = "reap") -> Duty:
    return Duty(name, act, timedelta(milliseconds=1))


def failing(exc: Exception) -> Callable[[], Awaitable[int]]:
    """Return a task that fails."""

    async def fail() -> int:
        raise exc

    return fail


@pytest.mark.parametrize("exc", [ClusterUnavailableError(), MetadataUnavailableError("no route to host")])
async def test_what_does_not_answer_is_asked_again_with_a_warning(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await Watch(FakeStore(), "one").attempt(duty(failing(exc)))

    [record] = caplog.records
    assert (record.levelname, vars(record)["duty"], vars(record)["reason"]) == ("WARNING", "reap", str(exc))


@pytest.mark.parametrize("exc", [SetupError(), ZeroDivisionError()])
async def test_what_must_be_looked_at_is_logged_with_its_traceback_and_does_not_end_the_watch(
    exc: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await Watch(FakeStore(), "one").attempt(duty(failing(exc)))

    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


async def test_of_two_who_keep_watch_one_does_a_duty() -> None:
    store, first, second = FakeStore(), Work(), Work()

    for _ in range(3):
        await Watch(store, "one").attempt(duty(first.act))
        await Watch(store, "two").attempt(duty(second.act))

    assert (first.done, second.done) == (3, 0)


async def test_each_duty_is_held_by_itself() -> None:
    store, first, second = FakeStore(), Work(), Work()

    await Watch(store, "one").attempt(duty(first.act, "reap"))
    await Watch(store, "two").attempt(duty(second.act, "sweep"))

    assert (first.done, second.done) == (1, 1)


async def test_the_duty_of_one_who_is_gone_is_done_by_another_when_its_lease_has_ended() -> None:
    store, work = FakeStore(), Work()
    await Watch(store, "one", LEASE).attempt(duty(work.act))
    store.now += LEASE + timedelta(seconds=1)

    await Watch(store, "two", LEASE).attempt(duty(work.act))
    await Watch(store, "one", LEASE).attempt(duty(work.act))

    assert work.done == 2


async def test_whoever_is_told_to_stop_lets_others_have_the_duty_at_once() -> None:
    store, work, stopped = FakeStore(), Work(), asyncio.Event()
    keeping = asyncio.create_task(Watch(store, "one").keep(duty(work.act), stopped))
    await work.enough.wait()
    stopped.set()
    await keeping
    before = work.done

    await Watch(store, "two").attempt(duty(work.act))

    assert work.done == before + 1


async def test_a_watch_without_its_database_goes_on_as_soon_as_it_is_back() -> None:
    store, work, stopped = FakeStore(is_away=True), Work(), asyncio.Event()
    keeping = asyncio.create_task(Watch(store, "one").keep(duty(work.act), stopped))
    await asyncio.sleep(0.02)
    assert work.done == 0

    store.is_away = False
    async with asyncio.timeout(10):
        await work.enough.wait()
    stopped.set()

    await keeping


async def test_a_duty_that_fails_is_done_less_and_less_often_until_it_succeeds() -> None:
    moments: list[float] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def act() -> int:
        moments.append(loop.time())
        if len(moments) == 7:
            stopped.set()
        if len(moments) <= 5:
            raise ClusterUnavailableError
        return 1

    await Watch(FakeStore(), "one").keep(duty(act), stopped)

    # After 2, 4, 8, 16 and 32 milliseconds at least; a busy machine only adds to that.
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert all(gap >= 0.001 * 2**n * 0.9 for n, gap in enumerate(gaps[:5], 1))
