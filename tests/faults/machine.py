"""The life cycle as a state machine: what jobs, runners, reapers and janitors may do, in any order, on real databases.

The model says of each move whether it has to succeed. Time is a parameter: leases end when the machine says so.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from dataproc.domain.errors import DataprocError, IllegalMoveError, StoppedError, WarehouseUnavailableError
from dataproc.domain.job import Claim, Failure
from dataproc.domain.status import RunStatus
from dataproc.domain.tally import Totals
from dataproc.ports.warehouse import Published
from dataproc.repositories.store import PostgresStore
from dataproc.services.attendance import Rhythm
from dataproc.services.jobs import JobService
from dataproc.services.pipeline import Pipeline
from dataproc.services.reconcile import Janitor, Reaper
from dataproc.services.runs import RunService
from dataproc.settings import Settings
from dataproc.telemetry.journal import RunJournal
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import a_failure
from tests.faults.lives import ATTEMPTS, TABLES, Attempt, Life, spec_of
from tests.faults.runner import ANN

T = TypeVar("T")
HOUR = timedelta(hours=1)
STEPS = st.integers(0, 7)
MOST_JOBS = 5
REFUSALS = (StoppedError, WarehouseUnavailableError, IllegalMoveError)
"""What somebody is told who is too late; anything else would be a fault."""
FAILURE: Failure = a_failure()
EMPTY = (
    "TRUNCATE jobs, job_runs, job_leases, run_logs, outbox, idempotency_keys, duties, observer.status, "
    "dataproc_load.load_fence, dataproc_load.load_ledger, dataproc_load.load_unit, dataproc_load.load_chunk, "
    "dataproc_load.load_staging, dataproc_load.reject"
)


@dataclass(frozen=True, slots=True)
class Site:
    """The services on one database, as `bootstrap` puts them together, with dice that never delay."""

    store: PostgresStore
    warehouse: PostgresWarehouse
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def runs(self) -> RunService:
        """What a runner does at the end of a run."""
        return RunService(self.store, self.warehouse, nothing_for, Rhythm(HOUR, HOUR), float, float, RunJournal())

    @property
    def reaper(self) -> Reaper:
        """Who settles expired leases."""
        return Reaper(self.store, self.warehouse, float)

    @property
    def janitor(self) -> Janitor:
        """Who drops what is left over."""
        return Janitor(self.store, self.warehouse)

    @property
    def jobs(self) -> JobService:
        """What callers can do."""
        # In the order of their making, for reapers go by them: an example that is played again must go the same way.
        return JobService(self.store, lambda: UUID(int=next(self.numbers)))


async def nothing_for(_: Claim) -> Pipeline:
    """Refuse to build a pipeline: the machine takes its steps one by one."""
    raise NotImplementedError


def allow(_: Totals) -> None:
    """Refuse no totals."""


def attempted(act: Callable[[], T]) -> tuple[T | None, DataprocError | None]:
    """Return what came of something, or why it was refused."""
    try:
        return act(), None
    except DataprocError as exc:
        return None, exc


class LifeCycle(RuleBasedStateMachine):
    """Anybody does anything at any time, and the databases stay as the model says."""

    attempts = Bundle("attempts")

    def __init__(self, url: str) -> None:
        """Begin with no jobs and two empty tables."""
        super().__init__()
        self.conn = psycopg.connect(url, autocommit=True)
        self.loop = asyncio.Runner()
        store = PostgresStore.open(url, Settings(pool_size=2, pool_overflow=2))
        self.site = Site(store, PostgresWarehouse(url, direct_limit=0))
        self.known: list[Life] = []
        self.tries: list[Attempt] = []
        self.clear()

    def clear(self) -> None:
        """Remove what an earlier example has left."""
        self.conn.execute(EMPTY.encode())
        self.conn.execute(b"DROP SCHEMA IF EXISTS model CASCADE")
        self.conn.execute(b"CREATE SCHEMA model")
        for table in TABLES:
            self.conn.execute(f"CREATE TABLE {table} (id bigint)".encode())
        staging = "SELECT relname FROM pg_class WHERE relname LIKE 'staging\\_%' AND relkind = 'r'"
        for (name,) in self.conn.execute(staging.encode()).fetchall():
            self.conn.execute(f"DROP TABLE dataproc_load.{name}".encode())

    def teardown(self) -> None:
        """Let every job come to its end, and find nothing left over."""
        try:
            self.settle_all()
        finally:
            self.run(self.site.store.close())
            self.loop.close()
            self.conn.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for asynchronous work."""
        return self.loop.run(work)

    def demand(self, expected: bool, act: Callable[[], T], *, told: str) -> T | None:
        """Do something that has to succeed, or that has to be refused; return what came of it."""
        result, refusal = attempted(act)
        assert refusal is None or isinstance(refusal, REFUSALS), f"{told}: {refusal!r}"
        assert (refusal is None) == expected, f"{told} {'had' if expected else 'had not'} to succeed: {refusal!r}"
        return result

    @initialize(
        target=attempts, table=st.sampled_from(TABLES), steps=st.tuples(STEPS, STEPS, STEPS), dice=st.booleans()
    )
    def begin(self, table: str, steps: tuple[int, int, int], dice: bool) -> Any:
        """There are two jobs, one for each way; two runners have come some way with them, and one may be a zombie."""
        for way in ("staged", "direct"):
            self.accept(table, way)
        begun = [self.claim(count, is_heard=dice) for count in steps[:2]]
        if dice:
            self.is_overtaken_by_another(steps[2])
        return multiple(*begun)

    @precondition(lambda self: len(self.known) < MOST_JOBS)
    @rule(table=st.sampled_from(TABLES), way=st.sampled_from(["direct", "staged"]))
    def is_wanted(self, table: str, way: str) -> None:
        """Somebody wants another job."""
        self.accept(table, way)

    def accept(self, table: str, way: str) -> None:
        """Record a job."""
        job = self.run(self.site.jobs.create(spec_of(table, way), by=ANN))
        self.known.append(Life(job.id, len(self.known), table, way))

    @precondition(lambda self: any(life.status is RunStatus.PENDING for life in self.known))
    @rule(target=attempts, steps=STEPS, is_heard=st.booleans())
    def claims_and_works(self, steps: int, is_heard: bool) -> Attempt:
        """Let a runner take the next job, and come some steps far with it."""
        return self.claim(steps, is_heard)

    def claim(self, steps: int, is_heard: bool) -> Attempt:
        """Claim the next job, and go on with it."""
        [claim] = self.run(self.claimed())
        attempt = self.begun(next(life for life in self.known if life.id == claim.job_id), claim)
        self.go_on(attempt, steps, is_heard)
        return attempt

    @rule(attempt=attempts, steps=STEPS, is_heard=st.booleans())
    def work(self, attempt: Attempt, steps: int, is_heard: bool) -> None:
        """Let a runner, or a zombie that thinks it is one, go on some steps; it may not hear of its publish."""
        self.go_on(attempt, steps, is_heard)

    @precondition(lambda self: any(each.is_live and not each.is_over for each in self.tries))
    @rule(steps=STEPS)
    def is_overtaken(self, steps: int) -> None:
        """Let a runner be too slow."""
        self.is_overtaken_by_another(steps)

    def is_overtaken_by_another(self, steps: int) -> None:
        """Let all leases end, a reaper come by and another runner go some steps; then those who were lost wake up."""
        self.pass_time(is_reaped=True)
        if any(life.status is RunStatus.PENDING for life in self.known):
            self.claim(steps, is_heard=True)
        for zombie in self.zombies():
            self.go_on(zombie, steps=10, is_heard=True)

    def zombies(self) -> list[Attempt]:
        """Return the attempts that are over and think that they are not."""
        return [each for each in self.tries if not each.is_live and not each.is_over]

    def go_on(self, attempt: Attempt, steps: int, is_heard: bool) -> None:
        """Take the next steps of a pipeline."""
        for _ in range(steps):
            if attempt.published is not None:
                self.finish(attempt)
                return
            if not attempt.is_fenced:
                self.fence(attempt)
            elif attempt.load is None:
                self.open(attempt)
            elif attempt.life.way == "staged" and attempt.left and not attempt.is_over:
                self.stage(attempt, again=False)
            else:
                self.publish(attempt, is_heard)

    async def claimed(self) -> list[Claim]:
        async with self.site.store.begin() as tables:
            return list(await tables.jobs.claim(f"runner-{uuid4()}", lease=HOUR, limit=1))

    def begun(self, life: Life, claim: Claim) -> Attempt:
        """Return the attempt of a claim."""
        assert life.status is RunStatus.PENDING
        assert claim.epoch > life.epoch
        life.epoch, life.attempt, life.is_expired = claim.epoch, life.attempt + 1, False
        life.move(RunStatus.INGESTING)
        life.holder = attempt = Attempt(life, claim)
        self.tries.append(attempt)
        return attempt

    @rule(attempt=attempts)
    def heartbeat(self, attempt: Attempt) -> None:
        """Let a runner tell that it lives."""
        told = self.demand(attempt.is_live, lambda: self.run(self.beat(attempt.claim)), told="a heartbeat")
        assert told is None or told == attempt.life.cancel_requested

    async def beat(self, claim: Claim) -> bool:
        async with self.site.store.begin() as tables:
            progress = (await tables.jobs.get(claim.job_id)).progress
            return (await tables.jobs.heartbeat(claim, lease=HOUR, progress=progress)).cancel_requested

    @rule(attempt=attempts, to=st.sampled_from([RunStatus.TRANSFORMING, RunStatus.LOADING]))
    def advance(self, attempt: Attempt, to: RunStatus) -> None:
        """Let a runner tell the stage it has come to."""
        expected = attempt.is_live and attempt.life.status.may_become(to)
        self.demand(expected, lambda: self.run(self.advanced(attempt.claim, to)), told=f"a move to {to}")
        if expected:
            attempt.life.move(to)

    async def advanced(self, claim: Claim, to: RunStatus) -> None:
        async with self.site.store.begin() as tables:
            await tables.jobs.advance(claim, to)

    def fence(self, attempt: Attempt) -> None:
        """Let a pipeline begin."""
        if attempt.is_over or attempt.is_fenced:
            return
        expected = attempt.life.raise_fence(attempt.claim.epoch)
        published = self.demand(expected, lambda: (self.site.warehouse.fence(attempt.load_id),), told="the fence")
        attempt.is_fenced, attempt.is_over = expected, not expected
        if published is not None:
            assert (published[0] is not None) == attempt.life.is_published
            attempt.published = published[0]

    def open(self, attempt: Attempt) -> None:
        """Let a pipeline open its load."""
        if attempt.is_over or not attempt.is_fenced or attempt.load is not None or attempt.published:
            return
        life, destination = attempt.life, attempt.claim.spec.destination
        args = (attempt.load_id, destination, life.plan.schema, life.plan)
        expected = attempt.may_publish
        attempt.load = self.demand(expected, lambda: self.site.warehouse.open(*args), told="opening")
        if attempt.load is None:
            attempt.is_over = True
            return
        assert attempt.load.way == life.way
        life.drop(attempt.claim.epoch - 1)

    @rule(attempt=attempts, again=st.booleans())
    def stage(self, attempt: Attempt, again: bool) -> None:
        """Let a worker stage a chunk, perhaps one that is there already; workers may outlive their runner."""
        if attempt.load is None or attempt.life.way == "direct":
            return
        step, left = attempt.load.step, attempt.left
        chunks = attempt.life.chunks[:1] if again else left[:1]
        for chunk in chunks:
            staged = self.demand(attempt.has_staging, lambda chunk=chunk: step(chunk), told="staging")  # type: ignore[misc] # mypy cannot infer lambdas with defaults
            if staged is not None and chunk in left:
                attempt.staged.append(staged)

    def publish(self, attempt: Attempt, is_heard: bool) -> None:
        """Let a pipeline stage what is left and publish; its runner may be lost before it hears of that."""
        if attempt.load is None or attempt.is_over or attempt.published is not None:
            return
        life = attempt.life
        expected = attempt.may_publish and not life.is_published
        published = self.demand(expected, lambda: self.published(attempt), told="a publish")
        attempt.is_over = True
        if published is not None:
            life.is_published = True
            life.drop(attempt.claim.epoch)
            attempt.published = published if is_heard else None

    def published(self, attempt: Attempt) -> Published:
        assert attempt.load is not None
        step = attempt.load.step
        known = [*attempt.load.staged_before, *attempt.staged, *map(step, attempt.left)]
        # Ray may run a task twice, and tell both results.
        twin = step(attempt.life.chunks[0])
        return attempt.load.publish(attempt.life.plan, iter([*known, twin]), allow)

    def finish(self, attempt: Attempt) -> None:
        """Let a runner record what it has published."""
        if attempt.published is None:
            return
        published, is_live = attempt.published, attempt.is_live
        work = self.site.runs.completed
        self.demand(is_live, lambda: self.run(work(attempt.claim, attempt.monitor, published)), told="finishing")
        self.ended(attempt, RunStatus.COMPLETED, is_live)

    @rule(attempt=attempts)
    def fail(self, attempt: Attempt) -> None:
        """Let a runner record that its run has failed; one that has published does not believe that."""
        life, is_live = attempt.life, attempt.is_live
        if attempt.published is not None or (attempt.is_over and life.is_published):
            return
        attempt.is_over = True
        is_last = attempt.claim.attempt >= ATTEMPTS
        work = self.site.runs.failed
        self.demand(is_live, lambda: self.run(work(attempt.claim, attempt.monitor, FAILURE)), told="failing")
        if is_last or (is_live and life.cancel_requested):
            self.forbid(attempt)
            self.ended(attempt, RunStatus.FAILED if is_last else RunStatus.CANCELLED, is_live)
        elif is_live:
            life.move(RunStatus.PENDING)

    @rule(attempt=attempts)
    def obey(self, attempt: Attempt) -> None:
        """Let a runner end a job that is to be cancelled."""
        life, is_live = attempt.life, attempt.is_live
        if not life.cancel_requested or attempt.published is not None:
            return
        attempt.is_over = True
        work = self.site.runs.ended_for_good
        args = (attempt.claim, attempt.monitor, RunStatus.CANCELLED, None)
        self.demand(is_live, lambda: self.run(work(*args)), told="cancelling")
        self.forbid(attempt)
        self.ended(attempt, RunStatus.CANCELLED, is_live)

    def forbid(self, attempt: Attempt) -> None:
        """Note that an epoch may not publish any more, and that what it has staged is dropped."""
        attempt.life.forbid(attempt.claim.epoch)
        attempt.life.drop(attempt.claim.epoch)

    def ended(self, attempt: Attempt, status: RunStatus, is_live: bool) -> None:
        """Note the end of a job; a publish always wins."""
        attempt.is_over = True
        if attempt.life.is_published and attempt.claim.epoch > 1:
            attempt.life.drop(attempt.claim.epoch)
        if is_live:
            attempt.life.move(RunStatus.COMPLETED if attempt.life.is_published else status)

    @rule(is_reaped=st.booleans())
    def leases_end(self, is_reaped: bool) -> None:
        """Time passes."""
        self.pass_time(is_reaped)

    def pass_time(self, is_reaped: bool) -> None:
        """All leases end; a reaper may be there, or come later."""
        # At one moment: reapers go by the end of leases, and an example that is played again must go the same way.
        self.conn.execute(b"UPDATE job_leases SET expires_at = now()")
        for life in self.known:
            life.is_expired = life.is_expired or life.status.is_running
        if is_reaped:
            self.reap()

    @precondition(lambda self: any(life.is_expired for life in self.known))
    @rule()
    def reap(self) -> None:
        """Let a reaper settle what has lost its runner."""
        expired = [life for life in self.known if life.status.is_running and life.is_expired]
        assert self.run(self.site.reaper.reap()) == len(expired)
        for life in expired:
            life.forbid(life.epoch)
            self.settled(life)

    def settled(self, life: Life) -> None:
        """Note what becomes of a job whose runner was lost."""
        if life.is_published:
            life.move(RunStatus.COMPLETED)
        elif life.cancel_requested:
            life.move(RunStatus.CANCELLED)
        else:
            life.move(RunStatus.FAILED if life.attempt >= ATTEMPTS else RunStatus.PENDING)
        if life.status.is_final:
            life.drop(life.epoch)

    @precondition(lambda self: any(not (life.status.is_final or life.cancel_requested) for life in self.known))
    @rule(index=st.integers(0, MOST_JOBS - 1))
    def is_cancelled(self, index: int) -> None:
        """Somebody wants a job no longer."""
        self.cancel(self.known[index % len(self.known)])

    def cancel(self, life: Life) -> None:
        """Cancel a job."""
        # One that was to be cancelled, and came to another end first, is told as it is.
        expected = life.status not in (RunStatus.COMPLETED, RunStatus.FAILED) or life.cancel_requested
        self.demand(expected, lambda: self.run(self.site.jobs.cancel(life.id, by=ANN)), told="a cancel")
        if life.status is RunStatus.PENDING:
            life.move(RunStatus.CANCELLED)
        elif life.status.is_running:
            life.cancel_requested = True

    @precondition(lambda self: any(life.ends for life in self.known))
    @rule(index=st.integers(0, MOST_JOBS - 1))
    def is_retried(self, index: int) -> None:
        """Somebody wants a job that has failed or was cancelled after all."""
        life = self.known[index % len(self.known)]
        expected = life.status in (RunStatus.FAILED, RunStatus.CANCELLED)
        self.demand(expected, lambda: self.run(self.site.jobs.retry(life.id, by=ANN)), told="a retry")
        if expected:
            life.status, life.epoch, life.attempt, life.cancel_requested = RunStatus.PENDING, life.epoch + 1, 0, False

    @rule()
    def sweep(self) -> None:
        """Let a janitor look for what is left over."""
        self.run(self.site.janitor.sweep())
        for life in self.known:
            if life.status.is_final:
                life.drop(life.epoch)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        return self.conn.execute(statement.encode()).fetchall()

    @invariant()
    def statuses_are_those_of_the_model(self) -> None:
        """No end ever changes, and nothing moves that the model does not know of."""
        found = dict(self.fetch("SELECT id, status FROM jobs"))
        assert found == {life.id: life.status for life in self.known}
        events = Counter(kind for (kind,) in self.fetch("SELECT kind FROM outbox"))
        assert events == Counter(f"job.{end.lower()}" for life in self.known for end in life.ends)

    @invariant()
    def rows_are_those_of_published_jobs(self) -> None:
        """Each published job is in the ledger once, and its rows are in its table once; no other's are."""
        ledger = Counter(job_id for (job_id,) in self.fetch("SELECT job_id FROM dataproc_load.load_ledger"))
        assert ledger == Counter(life.id for life in self.known if life.is_published)
        for table in TABLES:
            published = [life for life in self.known if life.is_published and life.table == table]
            rows = Counter(row for (row,) in self.fetch(f"SELECT id FROM {table}"))
            assert rows == Counter(row for life in published for row in life.rows)

    @invariant()
    def ends_tell_what_was_published(self) -> None:
        """See that jobs are completed only if they were published, and are at another end only if they were not."""
        for life in self.known:
            if life.status.is_final:
                assert life.is_published == (life.status is RunStatus.COMPLETED)

    def settle_all(self) -> None:
        """Cancel and reap until every job is at its end, and sweep."""
        for life in self.known:
            if not life.status.is_final:
                self.cancel(life)
        self.pass_time(is_reaped=True)
        self.sweep()
        self.statuses_are_those_of_the_model()
        self.ends_tell_what_was_published()
        assert all(life.status.is_final for life in self.known)
        assert self.fetch("SELECT FROM dataproc_load.load_staging") == []
        assert self.fetch("SELECT FROM dataproc_load.load_chunk") == []
        assert self.fetch("SELECT FROM pg_class WHERE relname LIKE 'staging\\_%' AND relkind = 'r'") == []
