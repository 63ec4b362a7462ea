"""Laws of jobs, keys, connections, events and transactions, for the fake store and the real one."""

from datetime import timedelta
from uuid import uuid4

import pytest

from dataproc.domain.errors import ConflictError, InFlightError, NotFoundError
from dataproc.domain.job import Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import Cursor, JobFilter
from dataproc.ports.store import Store
from tests.builders import a_connection, a_failure, a_job, a_reply, a_spec, an_event, some_progress
from tests.conftest import PassTime

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
ANY = JobFilter()


async def add(store: Store, *jobs: Job) -> list[Job]:
    """Record jobs, one after the other."""
    recorded = []
    for job in jobs:
        async with store.begin() as tables:
            recorded.append(await tables.jobs.add(job))
    return recorded


async def pages(store: Store, which: JobFilter, *, size: int, meanwhile: int = 0) -> list[JobId]:
    """Read all pages; after each one, `meanwhile` new jobs are recorded."""
    seen: list[JobId] = []
    after: Cursor | None = None
    while True:
        async with store.begin() as tables:
            page = await tables.jobs.find(which, after=after, limit=size)
        if not page:
            return seen
        seen.extend(job.id for job in page)
        after = Cursor(page[-1].created_at, page[-1].id)
        await add(store, *(a_job() for _ in range(meanwhile)))


async def test_a_recorded_job_waits_and_has_the_times_of_the_store(store: Store) -> None:
    job = a_job()

    [recorded] = await add(store, job)

    assert (recorded.id, recorded.spec, recorded.owner) == (job.id, job.spec, job.owner)
    assert recorded.status is RunStatus.PENDING
    assert recorded.created_at == recorded.updated_at == recorded.scheduled_for > job.created_at
    async with store.begin() as tables:
        assert await tables.jobs.get(job.id) == recorded


async def test_a_job_is_recorded_once(store: Store) -> None:
    [job] = await add(store, a_job())

    with pytest.raises(ConflictError):
        await add(store, job)


async def test_an_unknown_job_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        async with store.begin() as tables:
            await tables.jobs.get(JobId(uuid4()))


async def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    async def record_and_fail() -> None:
        async with store.begin() as tables:
            await tables.jobs.add(a_job())
            await tables.outbox.add(an_event())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await record_and_fail()

    async with store.begin() as tables:
        assert await tables.jobs.find(ANY, after=None, limit=9) == []
        assert await tables.outbox.pending(limit=9) == []


async def test_pages_come_newest_first_and_hold_every_job_once(store: Store) -> None:
    jobs = await add(store, *(a_job() for _ in range(7)))

    assert await pages(store, ANY, size=3) == [job.id for job in reversed(jobs)]


async def test_pages_neither_skip_nor_repeat_while_jobs_are_added(store: Store) -> None:
    jobs = await add(store, *(a_job() for _ in range(7)))

    assert await pages(store, ANY, size=2, meanwhile=3) == [job.id for job in reversed(jobs)]


async def test_jobs_are_found_by_name_status_and_time(store: Store) -> None:
    first, second, third = await add(store, a_job(), a_job(spec=a_spec(name="invoices")), a_job())
    async with store.begin() as tables:
        await tables.jobs.cancel_pending(first.id)

    assert await pages(store, JobFilter(name="invoices"), size=9) == [second.id]
    assert await pages(store, JobFilter(status=RunStatus.CANCELLED), size=9) == [first.id]
    assert await pages(store, JobFilter(created_from=second.created_at), size=9) == [third.id, second.id]
    assert await pages(store, JobFilter(created_until=second.created_at), size=9) == [first.id]
    assert await pages(store, JobFilter(name="invoices", status=RunStatus.CANCELLED), size=9) == []


async def test_a_waiting_job_is_cancelled_at_once_and_told_of(store: Store) -> None:
    [job] = await add(store, a_job())

    async with store.begin() as tables:
        assert await tables.jobs.cancel_pending(job.id)
        assert not await tables.jobs.cancel_pending(job.id)

    async with store.begin() as tables:
        ended = await tables.jobs.get(job.id)
        [event] = await tables.outbox.pending(limit=9)
        assert await tables.jobs.claim("runner-1", lease=LEASE, limit=1) == []
    assert (ended.status, event.kind, event.job_id) == (RunStatus.CANCELLED, "job.cancelled", job.id)
    assert ended.finished_at is not None


async def test_a_running_job_learns_of_its_cancel_by_its_next_heartbeat(store: Store) -> None:
    [job] = await add(store, a_job())
    async with store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        before = await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())

    async with store.begin() as tables:
        assert not await tables.jobs.cancel_pending(job.id)
        assert await tables.jobs.request_cancel(job.id)

    async with store.begin() as tables:
        after = await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress())
        assert (await tables.jobs.get(job.id)).cancel_requested
    assert (before.cancel_requested, after.cancel_requested) == (False, True)


async def test_a_waiting_or_unknown_job_has_no_runner_to_ask(store: Store) -> None:
    [job] = await add(store, a_job())

    async with store.begin() as tables:
        assert not await tables.jobs.request_cancel(job.id)
        assert not await tables.jobs.request_cancel(JobId(uuid4()))
        assert not await tables.jobs.cancel_pending(JobId(uuid4()))


async def test_a_failed_job_revives_with_its_attempts_counted_anew(store: Store) -> None:
    [job] = await add(store, a_job())
    async with store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        await tables.jobs.request_cancel(job.id)
        await tables.jobs.finish(claim, RunStatus.FAILED, progress=None, failure=a_failure())

    async with store.begin() as tables:
        assert await tables.jobs.revive(job.id)
        assert not await tables.jobs.revive(job.id)

    async with store.begin() as tables:
        revived = await tables.jobs.get(job.id)
        [again] = await tables.jobs.claim("runner-2", lease=LEASE, limit=1)
    assert (revived.status, revived.attempt, revived.failure) == (RunStatus.PENDING, 0, None)
    assert (revived.cancel_requested, revived.started_at, revived.finished_at) == (False, None, None)
    assert again.attempt == 1
    assert again.epoch > claim.epoch


async def test_a_completed_job_does_not_revive(store: Store) -> None:
    [job] = await add(store, a_job())
    async with store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=None, failure=None)

    async with store.begin() as tables:
        assert not await tables.jobs.revive(job.id)


async def test_every_end_of_a_job_is_told_under_an_id_of_its_own(store: Store) -> None:
    [job] = await add(store, a_job())

    for _ in range(3):
        async with store.begin() as tables:
            await tables.jobs.cancel_pending(job.id)
            await tables.jobs.revive(job.id)

    async with store.begin() as tables:
        assert len(await tables.outbox.pending(limit=9)) == 3


async def test_depth_counts_ready_and_running_jobs(store: Store, pass_time: PassTime) -> None:
    await add(store, a_job(), a_job(), a_job())
    async with store.begin() as tables:
        empty = await tables.jobs.claim("runner-1", lease=LEASE, limit=2)
        await tables.jobs.requeue(empty[0], delay=timedelta(hours=1), failure=None, progress=None)

    await pass_time(timedelta(minutes=1))

    async with store.begin() as tables:
        depth = await tables.jobs.depth()
    assert (depth.ready, depth.running) == (1, 1)
    assert depth.oldest_ready is not None
    assert timedelta(minutes=1) <= depth.oldest_ready < timedelta(minutes=2)


async def test_an_empty_queue_has_no_oldest_job(store: Store) -> None:
    async with store.begin() as tables:
        depth = await tables.jobs.depth()

    assert (depth.ready, depth.running, depth.oldest_ready) == (0, 0, None)


async def test_every_status_has_a_count(store: Store) -> None:
    jobs = await add(store, a_job(), a_job(), a_job())
    async with store.begin() as tables:
        await tables.jobs.cancel_pending(jobs[0].id)

    async with store.begin() as tables:
        counts = await tables.jobs.count_by_status()

    assert set(counts) == set(RunStatus)
    assert (counts[RunStatus.PENDING], counts[RunStatus.CANCELLED], counts[RunStatus.FAILED]) == (2, 1, 0)


async def test_a_key_keeps_what_it_was_first_used_for(store: Store) -> None:
    first, second = a_reply(), a_reply(fingerprint="f2")

    async with store.begin() as tables:
        assert await tables.keys.remember("ann", "k", first) == first
        assert await tables.keys.remember("ann", "k", second) == first
        assert await tables.keys.remember("bob", "k", second) == second


async def test_a_key_whose_twin_is_in_flight_is_refused_at_once(store: Store) -> None:
    first = a_reply()

    async with store.begin() as tables:
        await tables.keys.remember("ann", "k", first)
        with pytest.raises(InFlightError):
            async with store.begin() as other:
                await other.keys.remember("ann", "k", a_reply())

    async with store.begin() as tables:
        assert await tables.keys.remember("ann", "k", a_reply()) == first


async def test_a_connection_is_replaced_under_its_name(store: Store) -> None:
    async with store.begin() as tables:
        assert await tables.connections.put(a_connection(name="b"))
        assert await tables.connections.put(a_connection(name="a"))
        assert not await tables.connections.put(a_connection(name="b", config={"bucket": "new"}))

    async with store.begin() as tables:
        assert (await tables.connections.get("b")).config == {"bucket": "new"}
        assert [connection.name for connection in await tables.connections.all()] == ["a", "b"]


async def test_a_connection_is_removed_once_no_job_needs_it(store: Store) -> None:
    job = a_job(spec=a_spec(source={"kind": "s3", "connection": "lake", "path": "a.csv"}))
    async with store.begin() as tables:
        await tables.connections.put(a_connection())
        await tables.jobs.add(job)

    with pytest.raises(ConflictError):
        async with store.begin() as tables:
            await tables.connections.remove("lake")
    async with store.begin() as tables:
        assert await tables.connections.get("lake") == a_connection()
        await tables.jobs.cancel_pending(job.id)
        await tables.connections.remove("lake")

    async with store.begin() as tables:
        assert await tables.connections.all() == []
    with pytest.raises(NotFoundError):
        async with store.begin() as tables:
            await tables.connections.remove("lake")


async def test_an_unknown_connection_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="lake"):
        async with store.begin() as tables:
            await tables.connections.get("lake")


async def test_an_event_is_pending_until_it_is_delivered(store: Store) -> None:
    first, second = an_event(data={"rows": 1}), an_event()
    async with store.begin() as tables:
        await tables.outbox.add(first)
        await tables.outbox.add(second)
        await tables.outbox.add(first)

    async with store.begin() as tables:
        pending = await tables.outbox.pending(limit=9)
        await tables.outbox.delivered(first.id)

    assert [(event.id, event.data) for event in pending] == [(first.id, {"rows": 1}), (second.id, {})]
    async with store.begin() as tables:
        assert await tables.outbox.pending(limit=9) == pending[1:]


async def test_an_event_says_when_it_was_recorded(store: Store) -> None:
    async with store.begin() as tables:
        recorded = await tables.jobs.add(a_job())
        await tables.outbox.add(an_event())

    async with store.begin() as tables:
        [event] = await tables.outbox.pending(limit=9)
    assert event.created_at is not None
    assert event.created_at > recorded.created_at
    assert event.attempts == 0


async def test_an_event_that_is_put_off_comes_again_later_and_holds_up_no_other(
    store: Store, pass_time: PassTime
) -> None:
    first, second = an_event(), an_event()
    async with store.begin() as tables:
        await tables.outbox.add(first)
        await tables.outbox.add(second)

    for attempt in (1, 2):
        async with store.begin() as tables:
            await tables.outbox.put_off(first.id, delay=timedelta(minutes=1))
        async with store.begin() as tables:
            assert [event.id for event in await tables.outbox.pending(limit=1)] == [second.id]
        await pass_time(timedelta(minutes=2))
        async with store.begin() as tables:
            [_, again] = await tables.outbox.pending(limit=9)
        assert (again.id, again.attempts) == (first.id, attempt)


async def test_what_is_delivered_or_unknown_is_not_put_off(store: Store) -> None:
    event = an_event()
    async with store.begin() as tables:
        await tables.outbox.add(event)
        await tables.outbox.delivered(event.id)

    async with store.begin() as tables:
        await tables.outbox.put_off(event.id, delay=timedelta(0))
        await tables.outbox.put_off(uuid4(), delay=timedelta(0))

    async with store.begin() as tables:
        assert await tables.outbox.pending(limit=9) == []


async def test_ended_tells_the_jobs_in_a_final_status_with_their_epoch(store: Store) -> None:
    waiting, running, cancelled, completed = await add(store, a_job(), a_job(), a_job(), a_job())
    async with store.begin() as tables:
        await tables.jobs.cancel_pending(cancelled.id)
        await tables.jobs.claim_one(running.id, "runner-1", lease=LEASE)
        claim = await tables.jobs.claim_one(completed.id, "runner-1", lease=LEASE)
        await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=None, failure=None)

    async with store.begin() as tables:
        asked = [waiting.id, running.id, cancelled.id, completed.id, JobId(uuid4())]
        assert await tables.jobs.ended(asked) == {cancelled.id: 0, completed.id: 1}
        assert await tables.jobs.ended([]) == {}


async def test_a_job_that_is_locked_is_read_as_any_other(store: Store) -> None:
    [job] = await add(store, a_job())

    async with store.begin() as tables:
        assert await tables.jobs.get(job.id, lock=True) == job
        with pytest.raises(NotFoundError):
            await tables.jobs.get(JobId(uuid4()), lock=True)


async def test_a_job_scheduled_for_later_waits_until_then_also_when_it_is_revived(
    store: Store, pass_time: PassTime
) -> None:
    [now] = await add(store, a_job())
    later = now.created_at + timedelta(hours=1)

    [job] = await add(store, a_job(spec=a_spec(scheduled_for=later)))

    async with store.begin() as tables:
        await tables.jobs.cancel_pending(now.id)
        await tables.jobs.cancel_pending(job.id)
        await tables.jobs.revive(job.id)
        assert (await tables.jobs.get(job.id)).scheduled_for == job.scheduled_for == later
        assert await tables.jobs.claim("runner-1", lease=LEASE, limit=9) == []
        assert (await tables.jobs.depth()).ready == 0
    await pass_time(timedelta(hours=2))
    async with store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=9)
    assert claim.job_id == job.id


async def test_depth_can_be_of_one_execution(store: Store) -> None:
    dedicated = a_spec(execution="dedicated")
    await add(store, a_job(), a_job(), a_job(spec=dedicated), a_job(spec=dedicated), a_job(spec=dedicated))
    async with store.begin() as tables:
        await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
        await tables.jobs.claim("runner-1", lease=LEASE, limit=2, execution="dedicated")

    async with store.begin() as tables:
        depths = [await tables.jobs.depth(which) for which in (None, "shared", "dedicated")]

    assert [(depth.ready, depth.running) for depth in depths] == [(2, 3), (1, 1), (1, 2)]
