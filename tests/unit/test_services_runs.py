"""The life of a run: every way in which it can end, and what keeps it from ending twice."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event

import pytest

from dataproc.domain.errors import (
    BadDataError,
    FencedError,
    RunnerStoppedError,
    SetupError,
    SourceUnavailableError,
)
from dataproc.domain.job import Claim, Job
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import Unit
from dataproc.ports.warehouse import LoadId, Published
from dataproc.services.attendance import Rhythm
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.services.runs import RunService, StuckPipelineError
from dataproc.telemetry.journal import RunJournal
from tests.builders import a_job, a_spec
from tests.fakes.pipeline import FakeEngine, ListSource, look_away
from tests.fakes.store import FakeStore, FakeTables
from tests.fakes.warehouse import FakeWarehouse
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

TABLE = "analytics.orders"
LEASE = timedelta(seconds=30)
RHYTHM = Rhythm(LEASE, heartbeat=timedelta(milliseconds=5), grace=timedelta(seconds=10))
IMPATIENT = replace(RHYTHM, grace=timedelta(milliseconds=20))


@dataclass(slots=True)
class MovableClock:
    """Monotonic time that moves when a test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Workplace:
    """A runner's services on fakes, and one claimed job of three rows in two units."""

    store: FakeStore = field(default_factory=FakeStore)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    clock: MovableClock = field(default_factory=MovableClock)
    on_read: Callable[[Unit], None] = look_away
    rhythm: Rhythm = RHYTHM
    journal: RunJournal = field(default_factory=RunJournal)
    monitors: list[Monitor] = field(default_factory=list)
    resume: Event = field(default_factory=Event)
    is_reading: Event = field(default_factory=Event)
    limits: list[str | Exception | None] = field(default_factory=list)

    @property
    def service(self) -> RunService:
        return RunService(
            self.store, self.warehouse, self.pipeline_for, self.rhythm, self.clock, lambda: 0.5, self.journal
        )

    async def pipeline_for(self, claim: Claim) -> Pipeline:
        ids = [[1, 2], [3]]
        source = LimitedSource(ids, self.on_read, self.limits) if self.limits else ListSource(ids, self.on_read)
        destination = claim.spec.destination
        return WatchedPipeline(source, (), destination, (), FakeEngine(), self.warehouse, self.monitors)

    def is_told_to_stop(self) -> bool:
        """Whether the pipeline has been told to stop."""
        return any(monitor.reason is not None for monitor in self.monitors)

    def wait_in_the_second_unit(self, unit: Unit) -> None:
        """Block the pipeline after its first chunk, until the test lets it go on."""
        if unit.id == "u1":
            self.is_reading.set()
            assert self.resume.wait(PATIENCE)

    async def claim(self, **spec: object) -> Claim:
        """Record a job and claim it."""
        async with self.store.begin() as tables:
            job = await tables.jobs.add(a_job(spec=a_spec(**spec)))
            return await tables.jobs.claim_one(job.id, "runner-1", lease=LEASE)

    async def job(self, claim: Claim) -> Job:
        async with self.store.begin() as tables:
            return await tables.jobs.get(claim.job_id)

    async def cancel(self, claim: Claim) -> None:
        async with self.store.begin() as tables:
            assert await tables.jobs.request_cancel(claim.job_id)

    @asynccontextmanager
    async def stopped_midway(self, claim: Claim) -> AsyncIterator[asyncio.Task[RunStatus | None]]:
        """Give a run whose pipeline waits between its two chunks; at the end of the block it goes on."""
        self.on_read = self.wait_in_the_second_unit
        run = asyncio.create_task(self.service.execute(claim))
        try:
            await until(self.is_reading.is_set)
            yield run
        finally:
            self.resume.set()


@pytest.fixture
def place() -> Iterator[Workplace]:
    workplace = Workplace()
    yield workplace
    workplace.resume.set()


@dataclass(frozen=True, slots=True)
class WatchedPipeline(Pipeline):
    """A pipeline that shows its monitor."""

    monitors: list[Monitor]

    def run(self, load_id: LoadId, monitor: Monitor) -> Published:
        self.monitors.append(monitor)
        return Pipeline.run(self, load_id, monitor)


def raising(exc: Exception) -> Callable[[Unit], None]:
    """Return what fails a read."""

    def fail(_: Unit) -> None:
        raise exc

    return fail


async def test_a_run_that_publishes_completes_its_job(place: Workplace) -> None:
    claim = await place.claim()

    ended = await place.service.execute(claim)

    job = await place.job(claim)
    assert (ended, job.status, job.failure) == (RunStatus.COMPLETED, RunStatus.COMPLETED, None)
    assert (job.progress.rows_read, job.progress.rows_loaded, job.progress.units_done) == (3, 3, 2)
    assert place.warehouse.rows == {TABLE: [1, 2, 3]}


async def test_what_was_replaced_is_dropped_when_the_job_is_completed(place: Workplace) -> None:
    claim = await place.claim()
    place.warehouse.on_published = lambda _: place.warehouse.cleaned.clear()

    await place.service.execute(claim)

    assert place.warehouse.cleaned == [(claim.job_id, claim.epoch)]


@pytest.mark.parametrize("is_busy", [False, True])
async def test_statistics_are_refreshed_when_the_job_is_completed_whether_or_not_that_works(
    place: Workplace, caplog: pytest.LogCaptureFixture, *, is_busy: bool
) -> None:
    claim = await place.claim()
    place.warehouse.is_busy = is_busy

    ended = await place.service.execute(claim)

    assert ended is RunStatus.COMPLETED
    assert (await place.job(claim)).status is RunStatus.COMPLETED
    assert place.warehouse.refreshed == ([] if is_busy else [TABLE])
    assert ("target not tidied" in caplog.text) is is_busy


async def test_stage_and_progress_show_while_the_run_lasts(place: Workplace) -> None:
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        runs = place.store.state.runs
        await until(lambda: (seen := runs[claim.run_id]).status is RunStatus.LOADING and seen.progress.rows_read == 2)
        progress = (await place.job(claim)).progress

    assert (progress.units_planned, progress.units_done, progress.rows_loaded) == (2, 1, 2)
    assert await run is RunStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class LimitedSource(ListSource):
    """A source whose next request waits, as long as `limits` says so."""

    limits: list[str | Exception | None] = field(default_factory=list)

    def waits_for(self) -> str | None:
        """Return the next limit; the last one stays."""
        found = self.limits.pop(0) if len(self.limits) > 1 else self.limits[0]
        if isinstance(found, Exception):
            raise found
        return found


async def test_what_the_source_waits_for_shows_while_the_run_lasts_and_not_after_it(place: Workplace) -> None:
    claim = await place.claim()
    place.limits = ["the rate limit of a until 12:00", SourceUnavailableError(), ZeroDivisionError(), None]
    shown: set[str | None] = set()

    async with place.stopped_midway(claim) as run:
        runs = place.store.state.runs

        def has_shown_both() -> bool:
            shown.add(runs[claim.run_id].progress.waiting_for)
            return len(shown) == 2 and len(place.limits) == 1

        await until(has_shown_both)
        place.limits[0] = "the rate limit of b until 13:00"
        await until(lambda: runs[claim.run_id].progress.waiting_for == place.limits[0])

    assert await run is RunStatus.COMPLETED
    assert shown == {"the rate limit of a until 12:00", None}
    assert (await place.job(claim)).progress.waiting_for is None


async def test_a_load_that_was_published_before_completes_at_once_with_the_rows_of_the_ledger(place: Workplace) -> None:
    first = await place.claim()
    await place.service.execute(first)
    place.store.state.jobs[first.job_id] = replace(place.store.state.jobs[first.job_id], status=RunStatus.PENDING)
    async with place.store.begin() as tables:
        again = await tables.jobs.claim_one(first.job_id, "runner-2", lease=LEASE)

    ended = await place.service.execute(again)

    assert ended is RunStatus.COMPLETED
    assert (await place.job(again)).progress.rows_loaded == 3
    assert place.warehouse.rows == {TABLE: [1, 2, 3]}


async def test_a_retryable_failure_lets_the_job_wait_for_its_next_attempt(place: Workplace) -> None:
    claim = await place.claim(retry=RetryPolicy(first_delay=timedelta(seconds=8)))
    place.on_read = raising(SourceUnavailableError("lake does not answer"))

    ended = await place.service.execute(claim)

    job = await place.job(claim)
    assert (ended, job.status) == (RunStatus.FAILED, RunStatus.PENDING)
    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == ("source-unavailable", "lake does not answer")
    assert job.scheduled_for - job.updated_at == timedelta(seconds=4)
    assert place.store.state.runs[claim.run_id].status is RunStatus.FAILED
    assert place.warehouse.cleaned == []


async def test_the_last_attempt_fails_the_job(place: Workplace) -> None:
    claim = await place.claim(retry=RetryPolicy(attempts=1))
    place.on_read = raising(SourceUnavailableError())

    await place.service.execute(claim)

    job = await place.job(claim)
    assert job.status is RunStatus.FAILED
    assert job.failure is not None
    assert job.failure.retryable


async def test_a_fatal_failure_ends_the_job_at_once_and_forbids_every_publish(place: Workplace) -> None:
    claim = await place.claim()
    place.on_read = raising(BadDataError("part-1.parquet is broken"))

    ended = await place.service.execute(claim)

    job = await place.job(claim)
    assert (ended, job.status, job.attempt) == (RunStatus.FAILED, RunStatus.FAILED, 1)
    assert job.failure is not None
    assert (job.failure.code, job.failure.retryable) == ("bad-data", False)
    assert place.warehouse.fences[claim.job_id].cancelled
    assert place.warehouse.cleaned == [(claim.job_id, claim.epoch)]


async def test_an_unexpected_error_fails_the_job_without_its_words_and_logs_it_once(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    claim = await place.claim()
    place.on_read = raising(KeyError("ann@example.com"))

    await place.service.execute(claim)

    job = await place.job(claim)
    assert job.status is RunStatus.FAILED
    assert job.failure is not None
    assert job.failure.code == "internal"
    assert "ann@example.com" not in job.failure.message
    [logged] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.exc_info is not None
    assert vars(logged)["job_id"] == str(claim.job_id)


async def test_a_pipeline_that_cannot_be_built_fails_the_run(place: Workplace) -> None:
    claim = await place.claim()

    async def refuse(_: Claim) -> Pipeline:
        raise SetupError("DATAPROC_FILES_ROOT is not set")

    await replace(place.service, pipeline_for=refuse).execute(claim)

    job = await place.job(claim)
    assert job.failure is not None
    assert (job.status, job.failure.code) == (RunStatus.FAILED, "setup")


async def test_a_cancel_is_seen_at_a_heartbeat_and_nothing_is_published(place: Workplace) -> None:
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        await place.cancel(claim)
        await until(place.is_told_to_stop)

    assert await run is RunStatus.CANCELLED
    assert (await place.job(claim)).status is RunStatus.CANCELLED
    assert place.warehouse.rows == {}
    assert place.warehouse.cleaned == [(claim.job_id, claim.epoch)]


async def test_a_publish_that_was_faster_than_the_cancel_wins(place: Workplace) -> None:
    claim = await place.claim()
    loop = asyncio.get_running_loop()

    def cancel_and_wait(_: object) -> None:
        asyncio.run_coroutine_threadsafe(place.cancel(claim), loop).result(PATIENCE)
        asyncio.run_coroutine_threadsafe(until(place.is_told_to_stop), loop).result(PATIENCE)

    place.warehouse.on_published = cancel_and_wait

    ended = await place.service.execute(claim)

    job = await place.job(claim)
    assert (ended, job.status, job.cancel_requested) == (RunStatus.COMPLETED, RunStatus.COMPLETED, True)
    assert place.warehouse.rows == {TABLE: [1, 2, 3]}


async def test_a_run_that_fails_while_its_job_is_to_be_cancelled_is_not_tried_again(place: Workplace) -> None:
    claim = await place.claim()
    place.rhythm = replace(RHYTHM, heartbeat=timedelta(seconds=PATIENCE))
    loop = asyncio.get_running_loop()

    def cancel_and_fail(_: Unit) -> None:
        asyncio.run_coroutine_threadsafe(place.cancel(claim), loop).result(PATIENCE)
        raise SourceUnavailableError

    place.on_read = cancel_and_fail

    ended = await place.service.execute(claim)

    assert (ended, (await place.job(claim)).status) == (RunStatus.CANCELLED, RunStatus.CANCELLED)
    assert place.warehouse.fences[claim.job_id].cancelled


async def test_a_run_beyond_its_timeout_is_stopped_and_tried_again(place: Workplace) -> None:
    claim = await place.claim(timeout=timedelta(seconds=60))

    async with place.stopped_midway(claim) as run:
        place.clock.now += 61
        await until(place.is_told_to_stop)

    assert await run is RunStatus.FAILED
    job = await place.job(claim)
    assert job.failure is not None
    assert (job.status, job.failure.code) == (RunStatus.PENDING, "run-timeout")
    assert "0:01:00" in job.failure.message
    assert place.warehouse.rows == {}


async def test_a_run_whose_lease_is_lost_stops_and_leaves_the_job_alone(place: Workplace) -> None:
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        place.store.now += LEASE
        async with place.store.begin() as tables:
            [taken] = await tables.jobs.expired(limit=1)
            await tables.jobs.requeue(taken.claim, delay=timedelta(0), failure=None, progress=None)
        await until(place.is_told_to_stop)

    assert await run is None
    assert (await place.job(claim)).status is RunStatus.PENDING
    assert place.warehouse.rows == {}


async def test_a_metadata_database_that_is_away_for_a_moment_disturbs_nothing(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        place.store.is_away = True
        place.clock.now += 23
        await until(lambda: "heartbeat failed" in caplog.messages)
        place.store.is_away = False
        before = place.store.state.leases[claim.job_id]
        await until(lambda: place.store.state.leases[claim.job_id] != before)
        place.clock.now += 20

    assert await run is RunStatus.COMPLETED
    assert place.warehouse.rows == {TABLE: [1, 2, 3]}


async def test_a_lease_is_trusted_no_longer_than_allowed_and_then_the_work_is_stopped(place: Workplace) -> None:
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        place.store.is_away = True
        place.clock.now += 24
        await until(place.is_told_to_stop)

    assert await run is None
    assert place.warehouse.rows == {}
    assert place.store.state.jobs[claim.job_id].status.is_running


async def test_a_metadata_database_that_hangs_is_waited_for_no_longer_than_the_lease_is_trusted(
    place: Workplace,
) -> None:
    hanging = HangingStore()
    place.store = hanging
    place.rhythm = replace(RHYTHM, lease=timedelta(milliseconds=50))
    claim = await place.claim()
    hanging.hangs = True
    place.on_read = place.wait_in_the_second_unit

    run = asyncio.create_task(replace(place.service, clock=time.monotonic).execute(claim))
    await until(place.is_told_to_stop)
    place.resume.set()

    assert await run is None
    assert place.warehouse.rows == {}


@dataclass(slots=True)
class HangingStore(FakeStore):
    """A store that, when told to, gives no answer."""

    hangs: bool = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[FakeTables]:
        if self.hangs:
            await asyncio.sleep(PATIENCE)
        async with FakeStore.begin(self) as tables:
            yield tables


async def test_the_end_is_recorded_as_soon_as_the_metadata_database_is_back(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    claim = await place.claim()
    place.warehouse.on_published = lambda _: setattr(place.store, "is_away", True)

    run = asyncio.create_task(place.service.execute(claim))
    await until(lambda: "end not recorded" in caplog.messages)
    place.store.is_away = False

    assert await run is RunStatus.COMPLETED


async def test_an_end_that_cannot_be_recorded_while_the_lease_lasts_is_left_to_the_reaper(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    claim = await place.claim()
    place.warehouse.on_published = lambda _: setattr(place.store, "is_away", True)

    run = asyncio.create_task(place.service.execute(claim))
    await until(lambda: "end not recorded" in caplog.messages)
    place.clock.now += 31

    assert await run is None
    assert place.store.state.jobs[claim.job_id].status.is_running


async def test_a_run_published_under_a_lease_that_was_taken_over_meanwhile_is_left_to_the_reaper(
    place: Workplace,
) -> None:
    claim = await place.claim()
    place.warehouse.on_published = lambda _: setattr(place.store, "now", place.store.now + LEASE)

    assert await place.service.execute(claim) is None


async def test_a_failure_is_final_only_when_the_warehouse_has_forbidden_the_publish(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    claim = await place.claim()

    def leave(_: Unit) -> None:
        place.warehouse.is_away = True
        raise BadDataError

    place.on_read = leave

    run = asyncio.create_task(place.service.execute(claim))
    await until(lambda: "end not recorded" in caplog.messages)
    assert (await place.job(claim)).status.is_running
    place.warehouse.is_away = False

    assert await run is RunStatus.FAILED
    assert place.warehouse.fences[claim.job_id].cancelled


async def test_a_pipeline_that_does_not_stop_is_settled_and_its_late_publish_is_refused(place: Workplace) -> None:
    claim = await place.claim()
    place.rhythm = IMPATIENT

    async with place.stopped_midway(claim) as run:
        await place.cancel(claim)
        with pytest.raises(StuckPipelineError):
            await run
        assert (await place.job(claim)).status is RunStatus.CANCELLED

    with pytest.raises(FencedError):
        place.warehouse.fence(LoadId(claim.job_id, claim.epoch, claim.run_id))
    assert place.warehouse.rows == {}


async def test_a_stuck_pipeline_that_had_published_completes_its_job(place: Workplace) -> None:
    claim = await place.claim()
    place.rhythm = IMPATIENT
    place.warehouse.on_published = lambda _: place.wait_in_the_second_unit(Unit("u1", "", "", 0))

    run = asyncio.create_task(place.service.execute(claim))
    await until(place.is_reading.is_set)
    await place.cancel(claim)

    with pytest.raises(StuckPipelineError):
        await run
    place.resume.set()
    assert (await place.job(claim)).status is RunStatus.COMPLETED


async def test_what_earlier_runs_have_staged_is_dropped_when_a_later_one_completes(place: Workplace) -> None:
    first = await place.claim(retry=RetryPolicy(first_delay=timedelta(milliseconds=1)))
    place.on_read = raising(SourceUnavailableError())
    await place.service.execute(first)
    place.store.now += timedelta(seconds=1)
    place.on_read = look_away
    async with place.store.begin() as tables:
        [second] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)

    assert await place.service.execute(second) is RunStatus.COMPLETED

    assert (second.job_id, second.epoch) in place.warehouse.cleaned


async def test_an_unexpected_error_of_the_heartbeat_does_not_leave_the_run_alone(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BrokenStore()
    place.store = broken
    claim = await place.claim()

    async with place.stopped_midway(claim) as run:
        broken.is_broken = True
        await until(lambda: "heartbeat failed unexpectedly" in caplog.messages)
        broken.is_broken = False

    assert await run is RunStatus.COMPLETED


@dataclass(slots=True)
class BrokenStore(FakeStore):
    """A store that, when told to, fails in a way that nobody expects."""

    is_broken: bool = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[FakeTables]:
        if self.is_broken:
            raise ZeroDivisionError
        async with FakeStore.begin(self) as tables:
            yield tables


def test_a_lease_is_trusted_for_less_than_it_lasts() -> None:
    assert RHYTHM.trust < LEASE.total_seconds()


async def test_what_a_run_logs_is_kept_with_it(
    place: Workplace, caplog: pytest.LogCaptureFixture, logs_as_before: None
) -> None:
    claim = await place.claim()
    place.on_read = raising(SourceUnavailableError("bucket lake does not answer"))
    caplog.set_level(logging.INFO, "dataproc")
    logging.getLogger("dataproc").handlers = [place.journal]

    await place.service.execute(claim)

    async with place.store.begin() as tables:
        lines = [line.message for line in await tables.logs.of(claim.run_id, limit=100)]
    assert [line.split(" job_id")[0] for line in lines] == [
        f'event="run {did}"' for did in ("started", "failed", "ended")
    ]
    assert 'reason="bucket lake does not answer"' in lines[1]


async def test_a_run_that_is_told_to_stop_waits_for_another_one_and_its_attempt_does_not_count(
    place: Workplace,
) -> None:
    claim, monitor = await place.claim(), Monitor()
    place.on_read = lambda _: monitor.stop(RunnerStoppedError())

    ended = await place.service.execute(claim, monitor)

    job = await place.job(claim)
    assert (ended, job.status, job.attempt) == (RunStatus.FAILED, RunStatus.PENDING, 0)


async def test_a_run_that_is_told_to_stop_while_its_job_is_cancelled_ends_cancelled(place: Workplace) -> None:
    claim, monitor = await place.claim(), Monitor()
    await place.cancel(claim)
    place.on_read = lambda _: monitor.stop(RunnerStoppedError())

    await place.service.execute(claim, monitor)

    assert (await place.job(claim)).status is RunStatus.CANCELLED


async def test_a_job_that_failed_in_every_attempt_says_how_often_it_was_tried(place: Workplace) -> None:
    claim = await place.claim(retry=RetryPolicy(attempts=1))
    place.on_read = raising(SourceUnavailableError("bucket lake does not answer"))

    await place.service.execute(claim)

    failure = (await place.job(claim)).failure
    assert failure is not None
    assert failure.message == "bucket lake does not answer (given up after 1 attempt)"
