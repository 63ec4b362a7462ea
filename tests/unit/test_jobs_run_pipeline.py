"""One job as a Ray Job of its own: its arguments, its retries and its exit codes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dataproc.bootstrap import Workshop
from dataproc.domain.errors import (
    DataprocError,
    FencedError,
    InvalidSpecError,
    MetadataUnavailableError,
    NotFoundError,
    Problem,
    SourceUnavailableError,
)
from dataproc.domain.identity import LOCAL
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import Unit
from dataproc.services.attendance import Rhythm
from dataproc.services.dispatch import DEDICATED
from dataproc.services.jobs import JobService
from dataproc.services.pipeline import Pipeline
from dataproc.services.reconcile import Reaper
from dataproc.services.runs import RunService
from dataproc.telemetry.journal import RunJournal
from jobs.driver import Dispatched, Driver, is_due
from jobs.run_pipeline import main, read_target
from tests.builders import a_failure, a_job, a_spec
from tests.fakes.pipeline import FakeEngine, ListSource, look_away
from tests.fakes.store import FakeStore
from tests.fakes.warehouse import FakeWarehouse

LEASE = timedelta(seconds=30)
SOON = timedelta(milliseconds=1)
SPEC = "name: orders-daily\nsource: {kind: files, path: o.parquet}\ndestination: {table: analytics.orders}\n"


@dataclass(slots=True)
class Bench:
    """A workshop on fakes."""

    store: FakeStore = field(default_factory=FakeStore)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    on_read: Callable[[Unit], None] = look_away
    dice: float = 0.0

    @property
    def workshop(self) -> Workshop:
        rhythm = Rhythm(LEASE, timedelta(milliseconds=5))
        runs = RunService(
            self.store, self.warehouse, self.pipeline_for, rhythm, lambda: 0.0, lambda: self.dice, RunJournal()
        )
        reaper = Reaper(self.store, self.warehouse, lambda: 0.0)
        return Workshop(runs, reaper, JobService(self.store, uuid4), self.store)

    async def pipeline_for(self, claim: Claim) -> Pipeline:
        source = ListSource([[1, 2]], self.on_read)
        return Pipeline(source, (), claim.spec.destination, (), FakeEngine(), self.warehouse)


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(SPEC)
    return file


def test_a_target_is_a_file_or_the_id_of_a_job(spec_file: Path) -> None:
    spec, job_id = read_target(str(spec_file)), read_target("00000000-0000-0000-0000-000000000001")

    assert isinstance(spec, JobSpec)
    assert job_id == JobId(UUID(int=1))
    assert read_target(str(UUID(int=1)), 3) == Dispatched(JobId(UUID(int=1)), 3)


@pytest.mark.anyio
async def test_a_spec_is_recorded_claimed_and_run() -> None:
    bench = Bench()

    job = await Driver(bench.workshop, LEASE).run(a_spec())

    assert (job.status, job.attempt, job.owner) == (RunStatus.COMPLETED, 1, LOCAL.name)
    assert bench.warehouse.rows == {"analytics.orders": [1, 2]}


@pytest.mark.anyio
async def test_a_job_that_waits_is_run_by_its_id() -> None:
    bench = Bench()
    accepted = await bench.workshop.jobs.create(a_spec(), by=LOCAL)

    job = await Driver(bench.workshop, LEASE).run(accepted.id)

    assert (job.id, job.status) == (accepted.id, RunStatus.COMPLETED)


@pytest.mark.anyio
async def test_a_job_that_a_runner_has_taken_is_waited_for() -> None:
    bench = Bench()
    accepted = await bench.workshop.jobs.create(a_spec(), by=LOCAL)
    async with bench.store.begin() as tables:
        [claim] = await tables.jobs.claim("runner-1", lease=LEASE, limit=1)

    waiting = asyncio.create_task(Driver(bench.workshop, LEASE).run(accepted.id))
    await asyncio.sleep(0)
    async with bench.store.begin() as tables:
        await tables.jobs.finish(claim, RunStatus.FAILED, progress=None, failure=a_failure())

    assert (await waiting).status is RunStatus.FAILED
    assert bench.warehouse.rows == {}


@pytest.mark.anyio
async def test_a_run_that_failed_is_tried_again_by_the_policy_of_its_job() -> None:
    reads: list[str] = []

    def fail_twice(unit: Unit) -> None:
        reads.append(unit.id)
        if len(reads) < 3:
            raise SourceUnavailableError

    job = await Driver(Bench(on_read=fail_twice).workshop, LEASE, pause=SOON).run(a_spec(retry=RetryPolicy(attempts=3)))

    assert (job.status, job.attempt) == (RunStatus.COMPLETED, 3)


@pytest.mark.anyio
async def test_a_job_that_the_dispatcher_has_claimed_is_run_once() -> None:
    bench = Bench(on_read=unavailable)
    accepted = await bench.workshop.jobs.create(a_spec(execution="dedicated"), by=LOCAL)
    async with bench.store.begin() as tables:
        [claim] = await tables.jobs.claim(DEDICATED, lease=LEASE, limit=1, execution="dedicated")

    job = await Driver(bench.workshop, LEASE).run(Dispatched(accepted.id, claim.epoch))

    assert (job.status, job.attempt, job.epoch) == (RunStatus.PENDING, 1, 1)


@pytest.mark.anyio
async def test_a_claim_that_is_over_is_not_run() -> None:
    bench = Bench(on_read=lambda _: pytest.fail("it was read"))
    accepted = await bench.workshop.jobs.create(a_spec(execution="dedicated"), by=LOCAL)

    with pytest.raises(FencedError):
        await Driver(bench.workshop, LEASE).run(Dispatched(accepted.id, 1))


@pytest.mark.anyio
async def test_a_process_that_is_told_to_end_lets_its_job_wait_and_counts_no_attempt() -> None:
    bench = Bench()
    process = Driver(bench.workshop, LEASE)
    bench.on_read = lambda _: process.end()

    job = await process.run(a_spec())

    assert (job.status, job.attempt, job.epoch) == (RunStatus.PENDING, 0, 1)
    assert job.failure is not None
    assert job.failure.code == "runner-stopped"
    assert bench.warehouse.rows == {}


@pytest.mark.anyio
async def test_a_process_that_is_told_to_end_between_two_attempts_begins_no_other() -> None:
    bench = Bench(FakeStore(now=datetime.now(UTC)), on_read=unavailable, dice=1.0)
    spec = a_spec(retry=RetryPolicy(first_delay=timedelta(hours=1), max_delay=timedelta(hours=1)))
    process = Driver(bench.workshop, LEASE, pause=SOON)
    running = asyncio.create_task(process.run(spec))
    while not bench.store.state.jobs or next(iter(bench.store.state.jobs.values())).failure is None:  # noqa: ASYNC110 - the fake has no event to wait for
        await asyncio.sleep(0.001)

    process.end()

    assert ((await running).status, (await running).attempt) == (RunStatus.PENDING, 1)


def unavailable(_: Unit) -> None:
    """Fail a read."""
    raise SourceUnavailableError


@pytest.mark.anyio
async def test_a_job_that_nobody_made_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        await Driver(Bench().workshop, LEASE).run(JobId(UUID(int=1)))


@pytest.mark.parametrize(
    ("status", "ahead", "due"),
    [
        (RunStatus.PENDING, timedelta(0), True),
        (RunStatus.PENDING, timedelta(minutes=1), False),
        (RunStatus.INGESTING, timedelta(0), False),
    ],
)
def test_a_job_is_due_when_it_waits_and_its_delay_is_over(status: RunStatus, ahead: timedelta, *, due: bool) -> None:
    assert is_due(a_job(status=status, scheduled_for=datetime.now(UTC) + ahead)) is due


def exit_code_of(end: Job | DataprocError) -> int:
    """Return how the process ends whose job ends so."""

    async def end_so(*_: object) -> Job:
        if isinstance(end, DataprocError):
            raise end
        return end

    return main([str(uuid4())], join=lambda: None, run=end_so)


@pytest.mark.parametrize(
    ("status", "code"), [(RunStatus.COMPLETED, 0), (RunStatus.FAILED, 1), (RunStatus.CANCELLED, 1)]
)
def test_the_exit_code_says_how_the_job_ended(capsys: pytest.CaptureFixture[str], status: RunStatus, code: int) -> None:
    job = a_job(status=status, failure=a_failure() if status is RunStatus.FAILED else None)

    assert exit_code_of(job) == code

    told = capsys.readouterr().out
    assert told.startswith(f"{job.id} {status}")
    assert ("The source does not answer." in told) is (status is RunStatus.FAILED)


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (MetadataUnavailableError("no route to host"), 1),
        (InvalidSpecError("", (Problem("/source/connection", "there is no connection 'lake'"),)), 2),
    ],
)
def test_an_error_is_told_in_words_and_by_the_exit_code(
    capsys: pytest.CaptureFixture[str], exc: DataprocError, code: int
) -> None:
    assert exit_code_of(exc) == code

    wanted = "/source/connection: there is no connection 'lake'" if code == 2 else "no route to host"
    assert capsys.readouterr().err == f"{wanted}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"name: orders-daily\nsource: {kind: ftp}\ndestination: {table: a.b}\n", "2:16 /source/kind: "),
        (b"name: [", "1:8: this is no YAML or JSON"),
        (b"\xff\xfe\xff", "cannot read the job: "),
    ],
)
def test_a_file_that_holds_no_job_is_refused_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, told: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(text)

    assert main([str(file)]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-job.yaml"]) == 2
    assert "no-such-job.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["one", "two"], ["--help-me"]])
def test_wrong_arguments_end_with_the_same_code_as_a_wrong_spec(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    assert ended.value.code == 2


def test_without_a_cluster_it_is_told_how_to_submit(spec_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise ConnectionError("could not find any running Ray instance")

    assert main([str(spec_file)], join=refuse) == 1
    assert "ray job submit" in capsys.readouterr().err
