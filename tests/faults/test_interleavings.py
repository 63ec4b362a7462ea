"""Two sessions at a time, one of them standing still between two steps: however they meet, the end is whole."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import pyarrow as pa
import pytest

from dataproc.domain.errors import DataprocError, StoppedError, WarehouseUnavailableError
from dataproc.domain.fault_points import FaultPoint
from dataproc.domain.job import Claim, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.warehouse import LoadId, Published
from dataproc.repositories.store import PostgresStore
from dataproc.services.jobs import JobService
from dataproc.services.reconcile import Janitor, Reaper
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.faults.lives import spec_of
from tests.faults.runner import ANN
from tests.faults.server import FaultServer, fault_server
from tests.faults.sessions import session
from tests.warehouses import LoadTrial, Query, a_load_id, planned

TABLE = "sales.orders"
ROWS = Counter(range(6))
HOUR = timedelta(hours=1)
PUBLISHING = [
    (way, point)
    for way, points in {
        "direct": (FaultPoint.LOCKED, FaultPoint.COPIED, FaultPoint.PUBLISH_FENCED),
        "staged": (FaultPoint.STAGED, FaultPoint.LOCKED, FaultPoint.PUBLISH_FENCED),
    }.items()
    for point in (*points, FaultPoint.RECORDED, FaultPoint.COMMITTING, FaultPoint.COMMITTED)
]
IN_A_CHUNK = (FaultPoint.CHUNK_RECORDED, FaultPoint.CHUNK_COPIED, FaultPoint.CHUNK_STAGED)
HOLDING_THE_LOCK = tuple(case for case in PUBLISHING if case[1] not in (FaultPoint.STAGED, FaultPoint.COMMITTED))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Site:
    """Jobs and data in one database."""

    url: str
    warehouse: PostgresWarehouse
    look: Query

    def trial(self, way: str, load_id: LoadId | None = None, table: str = TABLE) -> LoadTrial:
        """Return a load that is to be."""
        return LoadTrial(self.warehouse, way, table, load_id or a_load_id())

    def rows(self) -> Counter[int]:
        """Return the rows of the target."""
        return Counter(row for (row,) in self.look.table(TABLE))

    def left_over(self) -> list[object]:
        """Return what should have been dropped."""
        return [*self.look.staging(), *self.look("SELECT * FROM dataproc_load.load_staging"), *self.chunks()]

    def chunks(self) -> list[object]:
        """Return the chunks that wait."""
        return list(self.look("SELECT job_id, epoch, unit, seq FROM dataproc_load.load_chunk"))


@pytest.fixture
def site(server: FaultServer) -> Iterator[Site]:
    with server.database() as database:
        url = server.url(database)
        yield Site(url, PostgresWarehouse(url, direct_limit=2**40), Query(url))


def halves() -> list[pa.Table]:
    """Return the rows of a load, as two units."""
    return [pa.table({"id": pa.array(range(start, start + 3), pa.int64())}) for start in (0, 3)]


def run(trial: LoadTrial) -> Published:
    """Load all rows."""
    return trial.run(*halves())


@pytest.mark.parametrize(("way", "point"), PUBLISHING)
def test_a_cancel_and_a_publish_that_meet_agree_on_the_end(site: Site, way: str, point: FaultPoint) -> None:
    trial = site.trial(way)
    job_id, epoch = trial.load_id.job_id, trial.load_id.epoch

    with (
        session(lambda: run(trial), point) as publisher,
        session(lambda: site.warehouse.forbid(job_id, epoch)) as canceller,
    ):
        is_first = canceller.await_end_or_lock(site.url)
        before = site.warehouse.published(job_id)
        publisher.go()
        told = canceller.end()
        published = publisher.end()

    assert canceller.raised is None
    assert (before is not None) == (point is FaultPoint.COMMITTED)
    assert published == told == site.warehouse.published(job_id)
    assert site.rows() == (ROWS if told else Counter())
    if is_first:
        assert told == before
    if told is None:
        assert isinstance(publisher.raised, StoppedError)
        site.warehouse.clean(job_id, epoch)
    assert site.left_over() == []


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs of a site, each used in a loop of its own, for sessions are threads."""

    site: Site

    async def opened(self) -> PostgresStore:
        return PostgresStore.open(self.site.url, Settings(pool_size=2, pool_overflow=2))

    def claim(self, way: str) -> Claim:
        """Record a job and claim it."""
        return asyncio.run(self.claimed(way))

    async def claimed(self, way: str) -> Claim:
        store = await self.opened()
        try:
            return await JobService(store, uuid4).create_claimed(spec_of(TABLE, way), "runner-1", lease=HOUR, by=ANN)
        finally:
            await store.close()

    def claim_again(self, job_id: JobId) -> Claim:
        """Claim a job that waits."""
        return asyncio.run(self.claimed_again(job_id))

    async def claimed_again(self, job_id: JobId) -> Claim:
        store = await self.opened()
        try:
            async with store.begin() as tables:
                return await tables.jobs.claim_one(job_id, "runner-2", lease=HOUR)
        finally:
            await store.close()

    def finish(self, claim: Claim, status: RunStatus) -> None:
        """Record the end of a job."""
        asyncio.run(self.finished(claim, status))

    async def finished(self, claim: Claim, status: RunStatus) -> None:
        store = await self.opened()
        try:
            async with store.begin() as tables:
                await tables.jobs.finish(claim, status, progress=None, failure=None)
        finally:
            await store.close()

    def expire(self) -> None:
        """Let all leases end."""
        self.site.look("UPDATE job_leases SET expires_at = clock_timestamp()")

    def reap(self) -> int:
        """Settle expired leases."""
        return asyncio.run(self.reaped())

    async def reaped(self) -> int:
        store = await self.opened()
        try:
            return await Reaper(store, self.site.warehouse, float).reap()
        finally:
            await store.close()

    def sweep(self) -> int:
        """Drop what is left over."""
        return asyncio.run(self.swept())

    async def swept(self) -> int:
        store = await self.opened()
        try:
            return await Janitor(store, self.site.warehouse).sweep()
        finally:
            await store.close()

    def status(self, job_id: JobId) -> str:
        """Return how a job stands."""
        [(status,)] = self.site.look("SELECT status FROM jobs WHERE id = %s", job_id)
        return str(status)


def load_of(claim: Claim) -> LoadId:
    """Return which load a claim is about."""
    return LoadId(claim.job_id, claim.epoch, claim.run_id)


@pytest.mark.parametrize(("way", "point"), PUBLISHING)
def test_a_reaper_that_meets_a_publish_tells_its_true_end(site: Site, way: str, point: FaultPoint) -> None:
    queue = Queue(site)
    lost = queue.claim(way)
    trial = site.trial(way, load_of(lost))

    with session(lambda: run(trial), point) as publisher:
        queue.expire()
        with session(queue.reap) as reaper:
            reaper.await_end_or_lock(site.url)
            publisher.go()
            assert reaper.end() == 1
        published = publisher.end()

    assert queue.status(lost.job_id) == ("COMPLETED" if published else "PENDING")
    assert site.rows() == (ROWS if published else Counter())
    if not published:
        run(site.trial(way, load_of(queue.claim_again(lost.job_id))))
    assert site.rows() == ROWS
    assert site.left_over() == []


@pytest.mark.parametrize("is_rolled_back", [False, True], ids=["committed", "rolled back"])
@pytest.mark.parametrize(("way", "point"), HOLDING_THE_LOCK)
def test_two_publishes_of_one_target_go_one_after_the_other(
    site: Site, way: str, point: FaultPoint, is_rolled_back: bool
) -> None:
    run(site.trial("direct"))
    first, second = site.trial(way), site.trial(way)

    with session(lambda: run(first), point) as ahead, session(lambda: run(second)) as behind:
        assert not behind.await_end_or_lock(site.url), "the second has not waited for the first"
        ahead.go(RuntimeError() if is_rolled_back else None)
        assert behind.end() is not None
        ahead.end()

    assert (ahead.raised is not None) == is_rolled_back
    loads = 2 if is_rolled_back else 3
    assert site.rows() == Counter(dict.fromkeys(ROWS, loads))
    assert site.look.count("load_ledger") == loads
    site.warehouse.clean(first.load_id.job_id, 1)
    assert site.left_over() == []


def test_two_publishes_of_two_targets_do_not_wait_for_each_other(site: Site) -> None:
    run(site.trial("direct"))
    with session(lambda: run(site.trial("direct")), FaultPoint.COMMITTING) as ahead:
        run(site.trial("direct", table="sales.others"))
        assert not ahead.ended.is_set()


@pytest.mark.parametrize("is_rolled_back", [False, True], ids=["committed", "rolled back"])
def test_two_publishes_that_make_the_same_schema_are_both_whole(site: Site, is_rolled_back: bool) -> None:
    with (
        session(lambda: run(site.trial("direct")), FaultPoint.COMMITTING) as ahead,
        session(lambda: run(site.trial("direct", table="sales.others"))) as behind,
    ):
        behind.await_end_or_lock(site.url)
        ahead.go(RuntimeError() if is_rolled_back else None)
        ahead.end()
        behind.end()

    assert (ahead.raised is None) != is_rolled_back
    assert behind.raised is None
    assert len(site.look.table("sales.others")) == len(ROWS)


@pytest.mark.parametrize("point", [FaultPoint.OPENED, *IN_A_CHUNK, FaultPoint.STAGED, FaultPoint.LOCKED])
def test_what_a_zombie_was_about_to_stage_or_publish_is_dropped_with_its_epoch(site: Site, point: FaultPoint) -> None:
    queue = Queue(site)
    claim = queue.claim("staged")
    zombie = site.trial("staged", load_of(claim))

    def end_and_sweep() -> None:
        assert site.warehouse.forbid(claim.job_id, claim.epoch) is None
        queue.finish(claim, RunStatus.FAILED)
        queue.sweep()

    with session(lambda: run(zombie), point) as late:
        with session(end_and_sweep) as janitor:
            janitor.await_end_or_lock(site.url)
            late.go()
            janitor.end()
        assert late.end() is None

    assert janitor.raised is None
    assert isinstance(late.raised, StoppedError | WarehouseUnavailableError)
    queue.sweep()
    assert site.rows() == Counter()
    assert site.left_over() == []


def test_a_zombie_that_comes_to_open_its_load_after_the_end_makes_no_staging_table(site: Site) -> None:
    zombie = site.trial("staged")
    plan, _ = planned(*halves())
    site.warehouse.fence(zombie.load_id)
    site.warehouse.forbid(zombie.load_id.job_id, zombie.load_id.epoch)
    site.warehouse.clean(zombie.load_id.job_id, zombie.load_id.epoch)

    with pytest.raises(StoppedError):
        site.warehouse.open(zombie.load_id, zombie.destination, plan.schema, plan)

    assert site.left_over() == []


@pytest.mark.parametrize("point", IN_A_CHUNK)
def test_a_zombie_in_a_chunk_adds_nothing_to_what_its_successor_has_taken_over(site: Site, point: FaultPoint) -> None:
    early = site.trial("staged")
    late = site.trial("staged", replace(early.load_id, epoch=2, run_id=uuid4()))
    plan, chunks = planned(*halves())
    opened = early.open(plan.schema, plan)
    opened.step(chunks[0])

    with session(lambda: opened.step(chunks[1]), point) as zombie:
        with session(lambda: late.open(plan.schema, plan)) as taking:
            taking.await_end_or_lock(site.url)
            zombie.go()
            load = taking.end()
        zombie.end()

    assert load is not None
    assert {chunk.unit for chunk in load.staged_before} >= {"u0"}
    known = {chunk.unit for chunk in load.staged_before}
    again = [load.step(chunk) for chunk in chunks if chunk.unit not in known]
    load.publish(plan, iter([*load.staged_before, *again]), lambda _: None)
    assert site.rows() == ROWS
    assert site.left_over() == []
    with pytest.raises(DataprocError):
        opened.step(chunks[1])
    assert site.chunks() == []


@pytest.mark.parametrize("is_rolled_back", [False, True], ids=["committed", "rolled back"])
@pytest.mark.parametrize("point", [FaultPoint.CHUNK_RECORDED, FaultPoint.CHUNK_COPIED])
def test_of_two_workers_with_the_same_chunk_one_stages_it(site: Site, point: FaultPoint, is_rolled_back: bool) -> None:
    trial = site.trial("staged")
    plan, chunks = planned(*halves())
    load = trial.open(plan.schema, plan)
    last = load.step(chunks[1])

    with session(lambda: load.step(chunks[0]), point) as first, session(lambda: load.step(chunks[0])) as twin:
        assert not twin.await_end_or_lock(site.url), "the twin has not waited"
        first.go(RuntimeError() if is_rolled_back else None)
        told = [each for each in (first.end(), twin.end()) if each is not None]

    assert len(told) == (1 if is_rolled_back else 2)
    load.publish(plan, iter([*told, last]), lambda _: None)
    assert site.rows() == ROWS
    assert site.left_over() == []


@pytest.mark.parametrize("point", [FaultPoint.REAPED, FaultPoint.FORBIDDEN, FaultPoint.REQUEUED])
def test_of_two_reapers_one_settles_a_lease(site: Site, point: FaultPoint) -> None:
    queue = Queue(site)
    lost = queue.claim("staged")
    queue.expire()

    with session(queue.reap, point) as first:
        assert queue.reap() == 0
        first.go()
        assert first.end() == 1

    assert queue.status(lost.job_id) == "PENDING"
    assert site.look("SELECT status FROM job_runs") == [("FAILED",)]


@pytest.mark.parametrize("point", [FaultPoint.REAPED, FaultPoint.FORBIDDEN])
def test_a_reaper_that_was_too_slow_leaves_the_job_to_the_next_one(site: Site, point: FaultPoint) -> None:
    queue = Queue(site)
    lost = queue.claim("staged")
    queue.expire()

    with session(queue.reap, point) as slow:
        queue.expire()
        assert queue.reap() == 1
        again = queue.claim_again(lost.job_id)
        trial = site.trial("staged", load_of(again))
        slow.go()
        slow.end()

    assert slow.raised is None
    run(trial)
    queue.finish(again, RunStatus.COMPLETED)
    assert site.look("SELECT status FROM job_runs ORDER BY epoch") == [("FAILED",), ("COMPLETED",)]
    assert site.rows() == ROWS


def test_two_janitors_drop_everything_once(site: Site) -> None:
    queue = Queue(site)
    for _ in range(4):
        claim = queue.claim("staged")
        trial = site.trial("staged", load_of(claim))
        plan, chunks = planned(*halves())
        trial.open(plan.schema, plan).step(chunks[0])
        site.warehouse.forbid(claim.job_id, claim.epoch)
        queue.finish(claim, RunStatus.FAILED)
    assert len(site.look.staging()) == 4

    with ExitStack() as stack:
        janitors = [stack.enter_context(session(queue.sweep)) for _ in range(2)]
        ends = [janitor.end() for janitor in janitors]

    assert [janitor.raised for janitor in janitors] == [None, None]
    assert sum(end or 0 for end in ends) >= 4
    assert site.left_over() == []
