"""Runs on real databases: a runner's services as `bootstrap` puts them together, with an engine in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from dataproc.bootstrap import Workshop, migrate_all, open_workshop
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.identity import LOCAL
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.spec import JobSpec
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import Unit
from dataproc.embedded.orders import orders
from dataproc.ports.pipeline import Step, Transform
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.runs import StuckPipelineError
from dataproc.settings import Settings
from tests.builders import a_failure
from tests.conftest import PostgresServers
from tests.fakes.pipeline import FakeEngine
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("logs_as_before")]

TABLE = "analytics.orders"
ROWS, FILES = 300, 3
SOON = RetryPolicy(first_delay=timedelta(milliseconds=1))


@dataclass(slots=True)
class HaltingEngine(FakeEngine):
    """An engine that stays at its first chunk while a test wants it to: it repeats it, or gives nothing at all."""

    repeats: bool = False
    hangs: bool = False
    has_begun: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)

    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        with FakeEngine.run(self, units, read, transforms, load) as results:
            yield self.halting(results) if self.repeats or self.hangs else results

    def halting(self, results: Iterator[LoadedChunk]) -> Iterator[LoadedChunk]:
        """Yield results; the first one again and again, for a result may come twice, or then nothing for a while."""
        hangs = self.hangs
        yield (first := next(results))
        self.has_begun.set()
        while not self.go_on.wait(PATIENCE if hangs else 0.005):
            assert not hangs
            yield first
        yield from results


@dataclass(slots=True)
class Plant:
    """A runner's workshop on two real databases, and files to load."""

    workshop: Workshop
    engine: HaltingEngine
    settings: Settings
    warehouse_url: str

    def spec(self, path: str = "orders/*.parquet", **fields: Any) -> JobSpec:
        source = {"kind": "files", "path": path}
        destination = {"table": TABLE, "load": fields.pop("load", "auto")}
        return JobSpec.model_validate({"name": "runs", "source": source, "destination": destination, **fields})

    async def claim(self, spec: JobSpec, lease: timedelta | None = None) -> Claim:
        """Record a job and claim it."""
        return await self.workshop.jobs.create_claimed(spec, "runner-1", lease=lease or self.settings.lease, by=LOCAL)

    async def claim_again(self, job_id: JobId) -> Claim:
        """Claim a job that waits."""
        async with self.workshop.store.begin() as tables:
            return await tables.jobs.claim_one(job_id, "runner-2", lease=self.settings.lease)

    async def execute(self, claim: Claim) -> RunStatus | None:
        return await self.workshop.runs.execute(claim)

    async def job(self, claim: Claim) -> Job:
        return await self.workshop.jobs.get(claim.job_id)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with psycopg.connect(self.warehouse_url, autocommit=True) as conn:
            return conn.execute(statement.encode()).fetchall()

    def act(self, statement: str) -> None:
        """Change the warehouse."""
        with psycopg.connect(self.warehouse_url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def rows(self) -> int:
        """Return how many orders the target has, each one once."""
        [(rows, distinct)] = self.query(f"SELECT count(*), count(DISTINCT order_id) FROM {TABLE}")
        assert rows == distinct
        return int(rows)

    def exists(self) -> bool:
        return self.query(f"SELECT to_regclass('{TABLE}') IS NOT NULL") == [(True,)]

    def left_over(self) -> list[tuple[Any, ...]]:
        return self.query("SELECT relname FROM pg_class WHERE relname LIKE 'staging\\_%' AND relkind = 'r'")


@pytest.fixture(params=["one server", "two servers"])
def warehouse_url(request: pytest.FixtureRequest, postgres_servers: PostgresServers) -> Iterator[str]:
    """Give a warehouse on the server of the metadata, and on one of its own (and of another version)."""
    with postgres_servers.database(18 if request.param == "one server" else 15, "template0") as url:
        yield url


@pytest.fixture
async def plant(database_url: str, warehouse_url: str, tmp_path: Path) -> AsyncIterator[Plant]:
    settings = Settings(
        metadata_url=SecretStr(database_url),
        warehouse_url=SecretStr(warehouse_url),
        files_root=tmp_path,
        heartbeat=timedelta(milliseconds=20),
    )
    migrate_all(settings)
    (tmp_path / "orders").mkdir()
    for number in range(FILES):
        share = ROWS // FILES
        pq.write_table(orders(ROWS).slice(number * share, share), tmp_path / "orders" / f"part-{number}.parquet")
    engine = HaltingEngine()
    workshop = open_workshop(settings, engine)
    yield Plant(workshop, engine, settings, warehouse_url)
    engine.go_on.set()
    await workshop.store.close()


@pytest.mark.parametrize("load", ["direct", "staged"])
async def test_a_job_is_loaded_exactly_once_and_tells_how_far_it_came(plant: Plant, load: str) -> None:
    claim = await plant.claim(plant.spec(load=load))

    assert await plant.execute(claim) is RunStatus.COMPLETED

    progress = (await plant.job(claim)).progress
    assert plant.rows() == ROWS
    assert (progress.units_planned, progress.units_done, progress.rows_loaded) == (FILES, FILES, ROWS)
    assert (progress.rows_announced, progress.load) == (ROWS, load)
    assert plant.left_over() == []


async def test_rows_that_break_the_rules_are_counted_and_set_aside(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("order_id\n1\ntwo\n3\n")
    rules = {"kind": "validate", "columns": {"order_id": "int64!"}}
    claim = await plant.claim(plant.spec("ids.csv", transforms=[rules]))

    assert await plant.execute(claim) is RunStatus.COMPLETED

    progress = (await plant.job(claim)).progress
    assert (progress.rows_read, progress.rows_loaded, progress.rows_rejected) == (3, 2, 1)
    assert plant.query("SELECT count(*), min(column_name) FROM dataproc_load.reject") == [(1, "order_id")]


async def test_a_row_that_copy_refuses_is_found_on_the_staged_way(plant: Plant, tmp_path: Path) -> None:
    plant.act(f"CREATE SCHEMA analytics; CREATE TABLE {TABLE} (order_id bigint NOT NULL)")
    (tmp_path / "ids.jsonl").write_text('{"order_id": 1}\n{"order_id": null}\n{"order_id": 3}\n')
    claim = await plant.claim(plant.spec("ids.jsonl"))

    assert await plant.execute(claim) is RunStatus.COMPLETED

    progress = (await plant.job(claim)).progress
    assert (progress.load, progress.rows_loaded, progress.rows_rejected) == ("staged", 2, 1)
    assert plant.rows() == 2
    assert plant.left_over() == []


async def test_the_stage_shows_while_the_run_lasts(plant: Plant) -> None:
    plant.engine.repeats = True
    claim = await plant.claim(plant.spec())
    run = asyncio.create_task(plant.execute(claim))
    await until(plant.engine.has_begun.is_set, PATIENCE)

    async with asyncio.timeout(PATIENCE):
        while (job := await plant.job(claim)).status is not RunStatus.LOADING or job.progress.units_done < 1:  # noqa: ASYNC110 - the database has no event to wait for
            await asyncio.sleep(0.01)

    assert (job.progress.units_planned, job.progress.rows_read) == (FILES, ROWS // FILES)
    plant.engine.go_on.set()
    assert await run is RunStatus.COMPLETED


@pytest.mark.parametrize("load", ["direct", "staged"])
async def test_a_job_cancelled_on_its_way_leaves_nothing(plant: Plant, load: str) -> None:
    plant.engine.repeats = True
    claim = await plant.claim(plant.spec(load=load))
    run = asyncio.create_task(plant.execute(claim))
    await until(plant.engine.has_begun.is_set, PATIENCE)

    await plant.workshop.jobs.cancel(claim.job_id, by=LOCAL)

    assert await run is RunStatus.CANCELLED
    assert (await plant.job(claim)).status is RunStatus.CANCELLED
    assert not plant.exists()
    assert plant.left_over() == []


@pytest.mark.parametrize("load", ["direct", "staged"])
async def test_a_runner_that_lost_its_lease_stops_and_the_next_one_loads_the_rows(plant: Plant, load: str) -> None:
    plant.engine.repeats = True
    lost = await plant.claim(plant.spec(load=load, retry=SOON))
    run = asyncio.create_task(plant.execute(lost))
    await until(plant.engine.has_begun.is_set, PATIENCE)
    await expire(plant, lost)

    assert await plant.workshop.reaper.reap() == 1
    assert await run is None

    plant.engine.repeats = False
    assert await plant.execute(await plant.claim_again(lost.job_id)) is RunStatus.COMPLETED
    assert plant.rows() == ROWS
    assert plant.left_over() == []
    statuses = [each.status for each in await plant.workshop.jobs.runs(lost.job_id)]
    assert statuses == [RunStatus.FAILED, RunStatus.COMPLETED]


async def test_a_zombie_that_wakes_after_the_next_run_has_loaded_the_rows_adds_none(plant: Plant) -> None:
    plant.engine.hangs = True
    zombie = await plant.claim(plant.spec(load="staged", retry=SOON))
    run = asyncio.create_task(plant.execute(zombie))
    await until(plant.engine.has_begun.is_set, PATIENCE)
    await expire(plant, zombie)
    await plant.workshop.reaper.reap()

    plant.engine.hangs = False
    assert await plant.execute(await plant.claim_again(zombie.job_id)) is RunStatus.COMPLETED
    plant.engine.go_on.set()
    # It may have been given up by now.
    with suppress(StuckPipelineError):
        assert await run is None
    await until(lambda: plant.engine.running == 0, PATIENCE)

    assert plant.rows() == ROWS
    assert plant.left_over() == []


async def expire(plant: Plant, claim: Claim) -> None:
    """Let a lease end, without waiting for it."""
    assert plant.settings.metadata_url is not None
    async with await psycopg.AsyncConnection.connect(plant.settings.metadata_url.get_secret_value()) as conn:
        await conn.execute("UPDATE job_leases SET expires_at = clock_timestamp() WHERE job_id = %s", (claim.job_id,))


async def test_a_runner_lost_between_publish_and_record_leaves_a_completed_job(plant: Plant) -> None:
    claim = await plant.claim(plant.spec())
    pipeline = await plant.workshop.runs.pipeline_for(claim)
    await asyncio.to_thread(pipeline.run, LoadId(claim.job_id, claim.epoch, claim.run_id), Monitor())
    await expire(plant, claim)

    assert await plant.workshop.reaper.reap() == 1

    job = await plant.job(claim)
    assert (job.status, job.progress.rows_loaded) == (RunStatus.COMPLETED, ROWS)
    assert plant.rows() == ROWS


async def test_a_metadata_database_that_ends_all_connections_disturbs_no_run(plant: Plant) -> None:
    plant.engine.repeats = True
    claim = await plant.claim(plant.spec())
    run = asyncio.create_task(plant.execute(claim))
    await until(plant.engine.has_begun.is_set, PATIENCE)

    assert plant.settings.metadata_url is not None
    async with await psycopg.AsyncConnection.connect(plant.settings.metadata_url.get_secret_value()) as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    plant.engine.go_on.set()

    assert await run is RunStatus.COMPLETED
    assert plant.rows() == ROWS


async def test_a_source_that_names_nothing_fails_the_job_at_once(plant: Plant) -> None:
    claim = await plant.claim(plant.spec("nothing/*.parquet"))

    assert await plant.execute(claim) is RunStatus.FAILED

    job = await plant.job(claim)
    assert job.failure is not None
    assert (job.status, job.attempt, job.failure.code) == (RunStatus.FAILED, 1, "source-not-found")
    assert not plant.exists()


async def test_the_second_run_reads_only_what_the_first_one_has_not_staged(plant: Plant) -> None:
    claim = await plant.claim(plant.spec(load="staged", retry=SOON))
    plant.engine.repeats = True
    run = asyncio.create_task(plant.execute(claim))
    await until(plant.engine.has_begun.is_set, PATIENCE)
    plant.act("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    async with plant.workshop.store.begin() as tables:
        await tables.jobs.release(claim, failure=a_failure())
    # It stays before its publish until its heartbeat tells that the job is no longer its own.
    assert await run is None

    plant.engine.repeats = False
    again = await plant.claim_again(claim.job_id)
    assert await plant.execute(again) is RunStatus.COMPLETED

    progress = (await plant.job(again)).progress
    assert (progress.units_planned, progress.units_done, progress.rows_loaded) == (FILES, FILES, ROWS)
    assert progress.units_resumed >= 1
    assert plant.rows() == ROWS
    assert plant.left_over() == []
