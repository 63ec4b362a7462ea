"""Laws that only the real store can break: locks, lost servers, and the audit log."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import anyio
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dataproc.domain.errors import ConflictError, FencedError, MetadataUnavailableError, SetupError
from dataproc.domain.job import Claim
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import RunningLimits
from dataproc.ports.store import StoredReply
from dataproc.repositories.audit import chain_of
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from tests.builders import a_job, a_reply, an_event, some_progress

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)


@asynccontextmanager
async def another_session(store: PostgresStore) -> AsyncIterator[AsyncConnection]:
    """Open a transaction beside the store, rolled back in the end."""
    async with store.engine.connect() as conn:
        yield conn


async def claimed(store: PostgresStore) -> Claim:
    """Record a job and claim it."""
    async with store.begin() as tables:
        await tables.jobs.add(a_job())
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)
    return claim


async def wait_until_blocked(store: PostgresStore) -> None:
    """Wait until some session waits for a lock."""
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with anyio.fail_after(20):
        async with another_session(store) as conn:
            while not await conn.scalar(blocked):
                await conn.rollback()
                await anyio.sleep(0.01)


async def test_a_locked_job_is_moved_by_nobody_until_the_transaction_ends(postgres_store: PostgresStore) -> None:
    job = a_job()
    moved: list[bool] = []

    async def cancel() -> None:
        async with postgres_store.begin() as tables:
            moved.append(await tables.jobs.cancel_pending(job.id))

    async with postgres_store.begin() as tables:
        await tables.jobs.add(job)
    async with anyio.create_task_group() as group, postgres_store.begin() as tables:
        await tables.jobs.get(job.id, lock=True)
        group.start_soon(cancel)
        await wait_until_blocked(postgres_store)
        assert (await tables.jobs.get(job.id)).status is RunStatus.PENDING

    assert moved == [True]


async def test_a_claim_waits_for_another_that_counts_towards_the_same_limits(postgres_store: PostgresStore) -> None:
    limits = RunningLimits(in_all=1)
    late: list[Sequence[Claim]] = []

    async def claim_late() -> None:
        async with postgres_store.begin() as tables:
            late.append(await tables.jobs.claim("runner-2", lease=LEASE, limit=1, limits=limits))

    async with postgres_store.begin() as tables:
        await tables.jobs.add(a_job())
        await tables.jobs.add(a_job())
    async with anyio.create_task_group() as group, postgres_store.begin() as tables:
        assert len(await tables.jobs.claim("runner-1", lease=LEASE, limit=1, limits=limits)) == 1
        group.start_soon(claim_late)
        await wait_until_blocked(postgres_store)

    assert late == [[]]


async def test_a_look_for_work_waits_for_nobody_when_there_is_none(postgres_store: PostgresStore) -> None:
    limits = RunningLimits(in_all=9)
    async with postgres_store.begin() as tables:
        await tables.jobs.add(a_job())

    async with postgres_store.begin() as first, postgres_store.begin() as second:
        await first.jobs.claim("runner-1", lease=LEASE, limit=1, limits=limits)
        with anyio.fail_after(5):
            assert not await second.jobs.claim("jobs", lease=LEASE, limit=1, limits=limits, execution="dedicated")


async def test_the_server_ends_a_transaction_that_hangs_and_sooner_one_that_claims(
    postgres_store: PostgresStore,
) -> None:
    shown = text("SHOW idle_in_transaction_session_timeout")
    async with postgres_store.begin() as tables:
        await tables.jobs.add(a_job())

    async with postgres_store.begin() as tables:
        assert await tables.conn.scalar(shown) == "1min"
        await tables.jobs.claim("runner-1", lease=LEASE, limit=1, limits=RunningLimits(in_all=1))
        assert await tables.conn.scalar(shown) == "10s"
    async with postgres_store.begin() as tables:
        assert await tables.conn.scalar(shown) == "1min"


async def test_of_many_who_take_a_duty_at_once_one_has_it(postgres_store: PostgresStore) -> None:
    taken: list[bool] = []

    async def take(holder: str) -> None:
        async with postgres_store.begin() as tables:
            taken.append(await tables.duties.take("reap", holder, lease=LEASE))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(take, f"runner-{number}")

    assert sorted(taken) == [False] * 7 + [True]


async def test_a_heartbeat_does_not_wait_for_the_lock_on_its_job(postgres_store: PostgresStore) -> None:
    claim = await claimed(postgres_store)

    async with another_session(postgres_store) as other:
        await other.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": claim.job_id})
        with anyio.fail_after(5):
            async with postgres_store.begin() as tables:
                await tables.jobs.heartbeat(claim, lease=LEASE, progress=some_progress(rows_read=5))

    async with postgres_store.begin() as tables:
        assert (await tables.jobs.get(claim.job_id)).progress.rows_read == 5


async def test_a_claim_passes_over_a_job_that_another_transaction_holds(postgres_store: PostgresStore) -> None:
    held, free = a_job(), a_job()
    async with postgres_store.begin() as tables:
        await tables.jobs.add(held)
        await tables.jobs.add(free)

    async with another_session(postgres_store) as other:
        await other.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": held.id})
        with anyio.fail_after(5):
            async with postgres_store.begin() as tables:
                claims = await tables.jobs.claim("runner-1", lease=LEASE, limit=2)

    assert [claim.job_id for claim in claims] == [free.id]


async def test_two_reapers_never_get_the_same_lease(postgres_store: PostgresStore) -> None:
    await claimed(postgres_store)
    async with postgres_store.begin() as tables:
        await tables.conn.execute(text("UPDATE job_leases SET expires_at = clock_timestamp() - interval '1 second'"))

    async with postgres_store.begin() as first, postgres_store.begin() as second:
        with anyio.fail_after(5):
            assert len(await first.jobs.expired(limit=9)) == 1
            assert len(await second.jobs.expired(limit=9)) == 0


async def test_a_late_move_finds_the_job_reclaimed_and_is_fenced(postgres_store: PostgresStore) -> None:
    zombie = await claimed(postgres_store)
    fenced: list[bool] = []

    async def advance() -> None:
        try:
            async with postgres_store.begin() as tables:
                await tables.jobs.advance(zombie, RunStatus.LOADING)
        except FencedError:
            fenced.append(True)

    async with anyio.create_task_group() as group, postgres_store.begin() as tables:
        await tables.jobs.requeue(zombie, delay=timedelta(0), failure=None, progress=None)
        group.start_soon(advance)
        await wait_until_blocked(postgres_store)

    async with postgres_store.begin() as tables:
        job = await tables.jobs.get(zombie.job_id)
    assert fenced == [True]
    assert job.status is RunStatus.PENDING


async def test_of_two_ends_at_once_one_wins_and_the_other_is_fenced(postgres_store: PostgresStore) -> None:
    claim = await claimed(postgres_store)
    ends: list[RunStatus] = []

    async def finish(to: RunStatus) -> None:
        try:
            async with postgres_store.begin() as tables:
                await tables.jobs.finish(claim, to, progress=None, failure=None)
            ends.append(to)
        except FencedError:
            pass

    async with anyio.create_task_group() as group:
        for status in (RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.FAILED):
            group.start_soon(finish, status)

    async with postgres_store.begin() as tables:
        assert [(await tables.jobs.get(claim.job_id)).status] == ends
        assert len(await tables.outbox.pending(limit=9)) == 1


async def test_a_key_that_was_taken_back_is_free(postgres_store: PostgresStore) -> None:
    second = a_reply()
    async with postgres_store.begin() as tables:
        await tables.keys.remember("ann", "k", a_reply())
        await tables.conn.rollback()

    async with postgres_store.begin() as tables:
        assert await tables.keys.remember("ann", "k", second) == second


async def test_a_twin_in_flight_hinders_no_other_key_and_no_other_owner(postgres_store: PostgresStore) -> None:
    reply = a_reply()

    async with postgres_store.begin() as first, postgres_store.begin() as second:
        await first.keys.remember("ann", "k", a_reply())
        assert await second.keys.remember("ann", "other", reply) == reply
        assert await second.keys.remember("bob", "k", reply) == reply


async def test_two_repetitions_of_a_request_are_both_answered(postgres_store: PostgresStore) -> None:
    reply = a_reply()
    async with postgres_store.begin() as tables:
        await tables.keys.remember("ann", "k", reply)

    async with postgres_store.begin() as first, postgres_store.begin() as second:
        assert await first.keys.remember("ann", "k", a_reply()) == reply
        assert await second.keys.remember("ann", "k", a_reply()) == reply


async def test_twins_at_once_never_both_store(postgres_store: PostgresStore) -> None:
    got: list[StoredReply] = []

    async def use() -> None:
        with suppress(ConflictError):
            async with postgres_store.begin() as tables:
                got.append(await tables.keys.remember("ann", "k", a_reply()))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(use)

    assert len(set(got)) == 1


async def test_an_event_goes_to_one_deliverer_at_a_time(postgres_store: PostgresStore) -> None:
    async with postgres_store.begin() as tables:
        await tables.outbox.add(an_event())

    async with postgres_store.begin() as first, postgres_store.begin() as second:
        assert len(await first.outbox.pending(limit=9)) == 1
        assert len(await second.outbox.pending(limit=9)) == 0


async def test_no_statement_is_prepared_so_that_connections_can_be_pooled_by_transaction(
    postgres_store: PostgresStore,
) -> None:
    async with postgres_store.begin() as tables:
        for _ in range(20):
            await tables.jobs.depth()

        assert await tables.conn.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


async def test_check_tells_server_and_schema(postgres_store: PostgresStore, postgres_major: int) -> None:
    told = await postgres_store.check()

    assert told.startswith(f"PostgreSQL {postgres_major}")
    assert "schema 00" in told


async def test_a_database_without_tables_says_what_to_run(empty_database_url: str) -> None:
    store = PostgresStore.open(empty_database_url, Settings())

    with pytest.raises(SetupError, match=r"jobs\.migrate"):
        async with store.begin() as tables:
            await tables.jobs.depth()
    assert "schema missing" in await store.check()
    await store.close()


async def test_a_missing_database_says_which_setting_names_it(database_url: str) -> None:
    store = PostgresStore.open(database_url.replace("/test_", "/missing_"), Settings())

    with pytest.raises(SetupError, match="DATAPROC_METADATA_URL"):
        await store.check()
    await store.close()


async def test_a_lost_connection_is_an_unavailable_database(postgres_store: PostgresStore, database_url: str) -> None:
    def end_all_others() -> None:
        with psycopg.connect(database_url) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    async def ask_after_loss() -> None:
        async with postgres_store.begin() as tables:
            await tables.jobs.depth()
            await anyio.to_thread.run_sync(end_all_others)
            await tables.jobs.depth()

    with pytest.raises(MetadataUnavailableError):
        await ask_after_loss()
    async with postgres_store.begin() as tables:
        assert (await tables.jobs.depth()).ready == 0


async def record(store: PostgresStore, count: int, subject: str = "job-1") -> None:
    """Append entries to the audit log."""
    for number in range(count):
        async with store.begin() as tables:
            await tables.audit.record("job.created", by="ann", subject=subject, details={"number": number})


async def tamper(store: PostgresStore, statement: str) -> None:
    """Do what only the owner of the table can: switch its triggers off, and change it."""
    async with store.engine.begin() as conn:
        await conn.execute(text("SET LOCAL session_replication_role = replica"))
        await conn.execute(text(statement))


async def test_the_audit_log_verifies_also_when_many_write_at_once(postgres_store: PostgresStore) -> None:
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(record, postgres_store, 4, f"job-{number % 3}")

    async with postgres_store.begin() as tables:
        rows = await tables.conn.execute(text("SELECT chain, count(*), max(seq) FROM audit_logs GROUP BY chain"))
        counts = [(count, newest) for _, count, newest in rows]
        assert await tables.audit.first_broken() is None
    assert sum(count for count, _ in counts) == 32
    assert all(count == newest for count, newest in counts)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET actor = 'eve' WHERE seq = 2",
        "UPDATE audit_logs SET details = '{}' WHERE seq = 2",
        "UPDATE audit_logs SET recorded_at = recorded_at + interval '1 microsecond' WHERE seq = 2",
        "UPDATE audit_logs SET hash = sha256('x') WHERE seq = 2",
    ],
)
async def test_a_changed_entry_shows(postgres_store: PostgresStore, statement: str) -> None:
    await record(postgres_store, 3)

    await tamper(postgres_store, statement)

    async with postgres_store.begin() as tables:
        assert await tables.audit.first_broken() == (chain_of("job-1"), 2)


async def test_an_entry_taken_out_of_the_middle_shows(postgres_store: PostgresStore) -> None:
    await record(postgres_store, 3)

    await tamper(postgres_store, "DELETE FROM audit_logs WHERE seq = 2")

    async with postgres_store.begin() as tables:
        assert await tables.audit.first_broken() == (chain_of("job-1"), 3)


async def test_entries_that_retention_has_dropped_break_no_chain(postgres_store: PostgresStore) -> None:
    await record(postgres_store, 3)

    await tamper(postgres_store, "DELETE FROM audit_logs WHERE seq = 1")

    async with postgres_store.begin() as tables:
        assert await tables.audit.first_broken() is None


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_logs SET actor = 'eve'", "DELETE FROM audit_logs", "TRUNCATE audit_logs"]
)
async def test_the_audit_log_refuses_everything_but_appending(postgres_store: PostgresStore, statement: str) -> None:
    await record(postgres_store, 1)

    with pytest.raises(SetupError, match="append only"):
        async with postgres_store.begin() as tables:
            await tables.conn.execute(text(statement))
