"""Laws of claims, for the fake store and the real one."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import anyio
import pytest

from dataproc.domain.errors import FencedError, IllegalMoveError, NotFoundError
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import REACTION
from dataproc.ports.store import Store
from tests.builders import a_claim, a_failure, a_job, a_spec, some_progress
from tests.conftest import PassTime

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)


async def add(store: Store, *jobs: Job) -> list[JobId]:
    """Record jobs, one after the other."""
    for job in jobs:
        async with store.begin() as tables:
            await tables.jobs.add(job)
    return [job.id for job in jobs]


async def claim(store: Store, holder: str = "runner-1", limit: int = 1) -> Sequence[Claim]:
    """Claim ready jobs."""
    async with store.begin() as tables:
        return await tables.jobs.claim(holder, lease=LEASE, limit=limit)


async def claimed(store: Store) -> Claim:
    """Record a job and claim it."""
    await add(store, a_job())
    return (await claim(store))[0]


async def get(store: Store, job_id: JobId) -> Job:
    """Read a job."""
    async with store.begin() as tables:
        return await tables.jobs.get(job_id)


async def finish(store: Store, held: Claim, to: RunStatus = RunStatus.COMPLETED) -> None:
    """End a run."""
    async with store.begin() as tables:
        await tables.jobs.finish(held, to, progress=None, failure=None)


async def heartbeat(store: Store, held: Claim) -> None:
    """Send a heartbeat."""
    async with store.begin() as tables:
        await tables.jobs.heartbeat(held, lease=LEASE, progress=some_progress())


async def advance(store: Store, held: Claim) -> None:
    """Move on."""
    async with store.begin() as tables:
        await tables.jobs.advance(held, RunStatus.LOADING)


async def requeue(store: Store, held: Claim) -> None:
    """Give the job back."""
    async with store.begin() as tables:
        await tables.jobs.requeue(held, delay=timedelta(0), failure=None, progress=None)


USES = (heartbeat, advance, finish, requeue)
"""All that the holder of a claim may do."""


async def test_a_claim_gives_a_job_an_epoch_an_attempt_a_run_and_a_stage(store: Store) -> None:
    [job_id] = await add(store, a_job())

    [held] = await claim(store)

    job = await get(store, job_id)
    async with store.begin() as tables:
        [run] = await tables.runs.of(job_id)
    assert (held.job_id, held.epoch, held.attempt, held.holder) == (job_id, 1, 1, "runner-1")
    assert (job.status, job.epoch, job.attempt) == (RunStatus.INGESTING, 1, 1)
    assert (run.id, run.status, run.holder) == (held.run_id, RunStatus.INGESTING, "runner-1")
    assert job.started_at == run.started_at is not None


async def test_a_claim_carries_the_spec_and_the_owner(store: Store) -> None:
    spec = a_spec(name="invoices", priority=7)
    await add(store, a_job(spec=spec, owner="bob"))

    [held] = await claim(store)

    assert (held.spec, held.owner) == (spec, "bob")


async def test_only_one_of_many_claimers_gets_a_job(store: Store) -> None:
    ids = await add(store, *(a_job() for _ in range(10)))
    got: list[Claim] = []

    async def take(holder: str) -> None:
        got.extend(await claim(store, holder, limit=3))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(take, f"runner-{number}")

    assert len(got) == len({held.job_id for held in got})
    assert {held.job_id for held in got} <= set(ids)
    got.extend(await claim(store, limit=10))
    assert sorted(held.job_id for held in got) == sorted(ids)


async def test_claims_come_by_priority_then_age(store: Store) -> None:
    old, urgent, young, low = await add(
        store, a_job(), a_job(spec=a_spec(priority=5)), a_job(), a_job(spec=a_spec(priority=-5))
    )

    one_by_one = [(await claim(store))[0].job_id for _ in range(2)]
    together = [held.job_id for held in await claim(store, limit=9)]

    assert (one_by_one, together) == ([urgent, old], [young, low])


async def test_a_job_that_waits_for_its_delay_keeps_none_behind_it_waiting(store: Store) -> None:
    held = await claimed(store)
    [behind] = await add(store, a_job())

    async with store.begin() as tables:
        await tables.jobs.requeue(held, delay=timedelta(hours=1), failure=None, progress=None)

    assert [got.job_id for got in await claim(store, limit=9)] == [behind]


async def test_a_cancel_that_meets_a_requeue_is_not_lost(store: Store) -> None:
    held = await claimed(store)
    async with store.begin() as tables:
        await tables.jobs.request_cancel(held.job_id)
        await tables.jobs.requeue(held, delay=timedelta(0), failure=a_failure(), progress=None)

    [again] = await claim(store, "runner-2")

    async with store.begin() as tables:
        assert (await tables.jobs.heartbeat(again, lease=LEASE, progress=some_progress())).cancel_requested


async def test_a_claim_of_none_ready_is_empty(store: Store) -> None:
    await claimed(store)

    assert await claim(store) == []


async def test_a_job_can_be_claimed_by_its_id_once(store: Store) -> None:
    _, wanted = await add(store, a_job(), a_job())

    async with store.begin() as tables:
        held = await tables.jobs.claim_one(wanted, "runner-1", lease=LEASE)

    assert held.job_id == wanted
    with pytest.raises(IllegalMoveError, match="INGESTING"):
        async with store.begin() as tables:
            await tables.jobs.claim_one(wanted, "runner-2", lease=LEASE)


async def test_claiming_an_unknown_job_says_that_there_is_none(store: Store) -> None:
    with pytest.raises(NotFoundError):
        async with store.begin() as tables:
            await tables.jobs.claim_one(JobId(uuid4()), "runner-1", lease=LEASE)


async def test_a_heartbeat_renews_the_lease_and_tells_the_progress(store: Store, pass_time: PassTime) -> None:
    held = await claimed(store)

    for _ in range(3):
        await pass_time(LEASE - timedelta(seconds=5))
        async with store.begin() as tables:
            await tables.jobs.heartbeat(held, lease=LEASE, progress=some_progress(rows_read=7))

    assert (await get(store, held.job_id)).progress.rows_read == 7
    async with store.begin() as tables:
        assert await tables.jobs.expired(limit=9) == []


async def test_an_expired_claim_can_do_nothing(store: Store, pass_time: PassTime) -> None:
    held = await claimed(store)
    await pass_time(LEASE + timedelta(seconds=1))
    before = await get(store, held.job_id)

    for use in USES:
        with pytest.raises(FencedError):
            await use(store, held)
    assert await get(store, held.job_id) == before


async def test_the_claim_of_another_epoch_or_holder_can_do_nothing(store: Store) -> None:
    held = await claimed(store)
    stranger = a_claim(job_id=held.job_id, run_id=held.run_id, epoch=held.epoch, holder="runner-2")
    zombie = a_claim(job_id=held.job_id, run_id=held.run_id, epoch=held.epoch - 1, holder=held.holder)

    for wrong in (stranger, zombie):
        for use in USES:
            with pytest.raises(FencedError):
                await use(store, wrong)
    await finish(store, held)


async def test_a_run_moves_forward_through_its_stages_only(store: Store) -> None:
    held = await claimed(store)

    async with store.begin() as tables:
        await tables.jobs.advance(held, RunStatus.LOADING)

    assert (await get(store, held.job_id)).status is RunStatus.LOADING
    for wrong in (RunStatus.TRANSFORMING, RunStatus.LOADING, RunStatus.PENDING, RunStatus.COMPLETED):
        with pytest.raises(IllegalMoveError):
            async with store.begin() as tables:
                await tables.jobs.advance(held, wrong)


async def test_finishing_ends_job_and_run_and_tells_of_it_once(store: Store) -> None:
    held = await claimed(store)
    progress, failure = some_progress(rows_loaded=0), a_failure()

    async with store.begin() as tables:
        await tables.jobs.finish(held, RunStatus.FAILED, progress=progress, failure=failure)

    async with store.begin() as tables:
        job = await tables.jobs.get(held.job_id)
        [run] = await tables.runs.of(held.job_id)
        [event] = await tables.outbox.pending(limit=9)
    assert (job.status, job.failure, job.progress) == (RunStatus.FAILED, failure, progress)
    assert (run.status, run.failure, run.progress) == (RunStatus.FAILED, failure, progress)
    assert job.finished_at is not None
    assert run.finished_at is not None
    assert (event.kind, event.job_id, event.data["run_id"]) == ("job.failed", held.job_id, str(held.run_id))


@pytest.mark.parametrize("end", [status for status in RunStatus if status.is_final])
async def test_a_final_status_never_changes(store: Store, end: RunStatus, pass_time: PassTime) -> None:
    held = await claimed(store)
    await finish(store, held, end)
    await pass_time(LEASE * 2)
    before = await get(store, held.job_id)

    for use in USES:
        with pytest.raises(FencedError):
            await use(store, held)
    async with store.begin() as tables:
        assert not await tables.jobs.cancel_pending(held.job_id)
        assert not await tables.jobs.request_cancel(held.job_id)
        assert await tables.jobs.claim("runner-2", lease=LEASE, limit=9) == []
        assert await tables.jobs.expired(limit=9) == []
    assert await get(store, held.job_id) == before


@pytest.mark.parametrize("wrong", [status for status in RunStatus if not status.is_final])
async def test_a_run_ends_in_a_final_status_only(store: Store, wrong: RunStatus) -> None:
    held = await claimed(store)

    with pytest.raises(IllegalMoveError):
        await finish(store, held, wrong)


async def test_a_requeued_job_waits_for_its_delay_and_then_runs_anew(store: Store, pass_time: PassTime) -> None:
    held = await claimed(store)

    async with store.begin() as tables:
        await tables.jobs.requeue(held, delay=timedelta(minutes=1), failure=a_failure(), progress=some_progress())

    waiting = await get(store, held.job_id)
    assert (waiting.status, waiting.failure, waiting.progress.rows_read) == (RunStatus.PENDING, a_failure(), 0)
    await pass_time(timedelta(seconds=50))
    assert await claim(store) == []
    await pass_time(timedelta(seconds=20))
    [again] = await claim(store, "runner-2")
    assert (again.job_id, again.epoch, again.attempt) == (held.job_id, 2, 2)
    async with store.begin() as tables:
        first, second = await tables.runs.of(held.job_id)
        assert await tables.outbox.pending(limit=9) == []
    assert (first.status, first.failure, first.progress) == (RunStatus.FAILED, a_failure(), some_progress())
    assert (second.status, second.failure) == (RunStatus.INGESTING, None)


async def test_an_expired_claim_is_taken_over_and_can_be_ended(store: Store, pass_time: PassTime) -> None:
    held = await claimed(store)
    await pass_time(LEASE + timedelta(seconds=1))

    async with store.begin() as tables:
        [lost] = await tables.jobs.expired(limit=9)
        assert await tables.jobs.expired(limit=9) == []

    assert (lost.lost_holder, lost.cancel_requested) == ("runner-1", False)
    assert (lost.claim.job_id, lost.claim.run_id, lost.claim.epoch) == (held.job_id, held.run_id, held.epoch)
    with pytest.raises(FencedError):
        await finish(store, held)
    await finish(store, lost.claim)
    assert (await get(store, held.job_id)).status is RunStatus.COMPLETED


async def test_a_claim_that_its_reaper_dropped_is_taken_over_again(store: Store, pass_time: PassTime) -> None:
    held = await claimed(store)
    await pass_time(LEASE + timedelta(seconds=1))
    async with store.begin() as tables:
        [first] = await tables.jobs.expired(limit=9)

    await pass_time(timedelta(minutes=2))

    async with store.begin() as tables:
        [second] = await tables.jobs.expired(limit=9)
    with pytest.raises(FencedError):
        await finish(store, first.claim)
    await finish(store, second.claim)
    assert second.claim.job_id == held.job_id


async def test_a_runner_that_does_not_react_to_a_cancel_is_overtaken_before_its_lease_ends(
    store: Store, pass_time: PassTime
) -> None:
    held, other = await claimed(store), await claimed(store)
    async with store.begin() as tables:
        assert await tables.jobs.request_cancel(held.job_id)
        assert await tables.jobs.expired(limit=9) == []

    await pass_time(REACTION + timedelta(seconds=1))

    async with store.begin() as tables:
        [lost] = await tables.jobs.expired(limit=9)
        assert await tables.jobs.expired(limit=9) == []
    assert (lost.claim.job_id, lost.cancel_requested) == (held.job_id, True)
    with pytest.raises(FencedError):
        await finish(store, held)
    await finish(store, lost.claim, RunStatus.CANCELLED)
    await finish(store, other)
