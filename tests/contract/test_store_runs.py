"""Laws of claims that change hands, of runs and their logs, and of duties; for the fake store and the real one."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dataproc.domain.errors import ConflictError, FencedError
from dataproc.domain.job import Claim, Job, JobId, RunId
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import DISPATCH, NO_DISPATCHER, JobFilter
from dataproc.ports.store import Store
from tests.builders import a_claim, a_failure, a_job, a_line, a_spec, some_progress
from tests.conftest import PassTime

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)


async def add(store: Store, job: Job) -> Job:
    """Record a job."""
    async with store.begin() as tables:
        return await tables.jobs.add(job)


async def claimed(store: Store, job: Job | None = None) -> Claim:
    """Record a job and claim it."""
    added = await add(store, job or a_job())
    async with store.begin() as tables:
        return await tables.jobs.claim_one(added.id, "runner-1", lease=LEASE)


async def completed(store: Store, rows: int, job: Job | None = None) -> JobId:
    """Record a job and end it with that many rows read."""
    claim = await claimed(store, job)
    async with store.begin() as tables:
        progress = some_progress(rows_loaded=rows)
        await tables.jobs.finish(claim, RunStatus.COMPLETED, progress=progress, failure=None)
    return claim.job_id


async def adopt(store: Store, job_id: JobId, epoch: int, holder: str) -> Claim:
    """Take up a claim that was made for a holder."""
    async with store.begin() as tables:
        return await tables.jobs.adopt(job_id, epoch, holder)


async def release(store: Store, claim: Claim) -> None:
    """Give a job back, the attempt not counted."""
    async with store.begin() as tables:
        await tables.jobs.release(claim, failure=a_failure())


async def usual_rows(store: Store, job_id: JobId) -> int | None:
    """Ask how many rows such a job reads."""
    async with store.begin() as tables:
        return await tables.runs.usual_rows(job_id)


async def take(store: Store, holder: str, duty: str = "reap") -> bool:
    """Take a duty for a minute."""
    async with store.begin() as tables:
        return await tables.duties.take(duty, holder, lease=timedelta(minutes=1))


async def test_a_claim_is_adopted_by_whom_it_was_made_for(store: Store) -> None:
    claim = await claimed(store)

    assert await adopt(store, claim.job_id, claim.epoch, claim.holder) == claim


async def test_a_claim_that_is_over_or_for_another_is_not_adopted(store: Store, pass_time: PassTime) -> None:
    claim = await claimed(store)
    wrong = (
        (claim.job_id, claim.epoch + 1, claim.holder),
        (claim.job_id, claim.epoch, "runner-2"),
        (JobId(uuid4()), claim.epoch, claim.holder),
    )

    for job_id, epoch, holder in wrong:
        with pytest.raises(FencedError):
            await adopt(store, job_id, epoch, holder)
    await pass_time(LEASE + timedelta(seconds=1))
    with pytest.raises(FencedError):
        await adopt(store, claim.job_id, claim.epoch, claim.holder)


async def test_a_released_job_runs_again_at_once_with_the_attempt_not_counted(store: Store) -> None:
    claim = await claimed(store)

    await release(store, claim)

    async with store.begin() as tables:
        waiting = await tables.jobs.get(claim.job_id)
        assert await tables.outbox.pending(limit=9) == []
        [again] = await tables.jobs.claim("runner-2", lease=LEASE, limit=9)
        first, second = await tables.runs.of(claim.job_id)
    assert (waiting.status, waiting.attempt, waiting.failure) == (RunStatus.PENDING, 0, a_failure())
    assert (again.job_id, again.epoch, again.attempt) == (claim.job_id, 2, 1)
    assert (first.status, first.failure, second.status) == (RunStatus.FAILED, a_failure(), RunStatus.INGESTING)
    assert first.finished_at is not None


async def test_a_claim_that_is_over_or_anothers_is_not_released(store: Store, pass_time: PassTime) -> None:
    claim = await claimed(store)
    stranger = a_claim(job_id=claim.job_id, run_id=claim.run_id, epoch=claim.epoch, holder="runner-2")

    with pytest.raises(FencedError):
        await release(store, stranger)
    await pass_time(LEASE + timedelta(seconds=1))
    with pytest.raises(FencedError):
        await release(store, claim)


async def test_a_cancel_that_meets_a_release_is_not_lost(store: Store) -> None:
    claim = await claimed(store)
    async with store.begin() as tables:
        await tables.jobs.request_cancel(claim.job_id)

    await release(store, claim)

    async with store.begin() as tables:
        assert (await tables.jobs.get(claim.job_id)).cancel_requested


async def test_the_usual_rows_are_those_of_the_latest_completed_job_that_loaded_any(store: Store) -> None:
    for rows in (10, 20, 0):
        await completed(store, rows)

    job = await add(store, a_job())

    assert await usual_rows(store, job.id) == 20


async def test_a_job_without_a_completed_one_like_it_has_no_usual_rows(store: Store) -> None:
    await completed(store, 10, a_job(owner="bob"))
    await completed(store, 10, a_job(spec=a_spec(name="invoices")))
    await completed(store, 0)
    failed = await claimed(store)
    async with store.begin() as tables:
        progress = some_progress(rows_loaded=10)
        await tables.jobs.finish(failed, RunStatus.FAILED, progress=progress, failure=a_failure())

    job_id = await completed(store, 10)

    assert await usual_rows(store, job_id) is None
    assert await usual_rows(store, JobId(uuid4())) is None


async def test_the_usual_rows_are_those_of_the_run_that_completed(store: Store) -> None:
    claim = await claimed(store)
    async with store.begin() as tables:
        progress = some_progress(rows_loaded=999)
        await tables.jobs.requeue(claim, delay=timedelta(0), failure=a_failure(), progress=progress)
        [again] = await tables.jobs.claim("runner-2", lease=LEASE, limit=1)
        progress = some_progress(rows_loaded=30)
        await tables.jobs.finish(again, RunStatus.COMPLETED, progress=progress, failure=None)

    job = await add(store, a_job())

    assert await usual_rows(store, job.id) == 30


async def test_a_log_has_the_last_lines_of_its_run_in_order(store: Store) -> None:
    one, other = await claimed(store), await claimed(store)
    lines = [a_line(message=f"line {number}") for number in range(5)]

    async with store.begin() as tables:
        await tables.logs.add(one.run_id, lines[:2])
        await tables.logs.add(other.run_id, [a_line(message="of another")])
        await tables.logs.add(one.run_id, lines[2:])
        await tables.logs.add(one.run_id, [])

    async with store.begin() as tables:
        assert await tables.logs.of(one.run_id, limit=99) == lines
        assert await tables.logs.of(one.run_id, limit=2) == lines[3:]
        assert await tables.logs.of(RunId(uuid4()), limit=9) == []


async def test_a_log_takes_any_text(store: Store) -> None:
    claim = await claimed(store)

    async with store.begin() as tables:
        await tables.logs.add(claim.run_id, [a_line(level="x\0", message="a\0b \ud800 ü 🙂\nc")])

    async with store.begin() as tables:
        assert await tables.logs.of(claim.run_id, limit=9) == [a_line(level="x�", message="a�b ? ü 🙂\nc")]


async def test_an_unknown_run_has_no_log_to_add_to(store: Store) -> None:
    with pytest.raises(ConflictError):
        async with store.begin() as tables:
            await tables.logs.add(RunId(uuid4()), [a_line()])


async def test_a_duty_is_held_by_one_until_its_lease_ends(store: Store, pass_time: PassTime) -> None:
    assert await take(store, "runner-1")
    assert not await take(store, "runner-2")
    assert await take(store, "runner-2", "deliver")

    await pass_time(timedelta(seconds=50))
    assert await take(store, "runner-1")
    await pass_time(timedelta(seconds=50))
    assert not await take(store, "runner-2")

    await pass_time(timedelta(seconds=20))
    assert await take(store, "runner-2")
    assert not await take(store, "runner-1")


async def test_a_duty_that_is_given_back_is_free_at_once(store: Store) -> None:
    await take(store, "runner-1")
    async with store.begin() as tables:
        await tables.duties.give_back("reap", "runner-2")
        await tables.duties.give_back("deliver", "runner-1")
    assert not await take(store, "runner-2")

    async with store.begin() as tables:
        await tables.duties.give_back("reap", "runner-1")

    assert await take(store, "runner-2")


async def waiting_for(store: Store, job_id: JobId) -> str | None:
    """Return the obstacle of a job; its page must show the same."""
    async with store.begin() as tables:
        job = await tables.jobs.get(job_id)
        [listed] = [each for each in await tables.jobs.find(JobFilter(), after=None, limit=9) if each.id == job_id]
    assert listed.progress == job.progress
    return job.progress.waiting_for


async def note(store: Store, text: str | None) -> None:
    """Set the note of the duty to dispatch."""
    async with store.begin() as tables:
        await tables.duties.note(DISPATCH, text)


async def test_a_job_that_is_due_shows_the_note_of_the_dispatcher(store: Store, pass_time: PassTime) -> None:
    job = await add(store, a_job())
    await take(store, "runner-1", DISPATCH)
    without = await waiting_for(store, job.id)

    await note(store, "a runner: none starts")
    noted = await waiting_for(store, job.id)
    await take(store, "runner-1", DISPATCH)
    kept = await waiting_for(store, job.id)
    await note(store, None)

    assert (without, noted, kept) == (None, "a runner: none starts", "a runner: none starts")
    assert await waiting_for(store, job.id) is None
    await pass_time(timedelta(seconds=61))
    assert await waiting_for(store, job.id) == NO_DISPATCHER


async def test_only_jobs_that_are_due_and_wait_show_an_obstacle(store: Store) -> None:
    due = await add(store, a_job())
    later = await add(store, a_job(spec=a_spec(scheduled_for=datetime.now(UTC) + timedelta(days=400))))
    claim = await claimed(store)
    ended = await completed(store, 1)
    async with store.begin() as tables:
        progress = some_progress(waiting_for="the rate limit of api.example.com")
        await tables.jobs.heartbeat(claim, lease=LEASE, progress=progress)

    shown = [await waiting_for(store, each) for each in (due.id, later.id, claim.job_id, ended)]

    assert due.progress.waiting_for == NO_DISPATCHER
    assert shown == [NO_DISPATCHER, None, "the rate limit of api.example.com", None]


async def test_a_note_of_a_duty_without_a_holder_is_not_kept(store: Store) -> None:
    job = await add(store, a_job())
    await note(store, "nothing")

    await take(store, "runner-1", DISPATCH)

    assert await waiting_for(store, job.id) is None
