"""What is loaded once: files by their versions, from place to publish in a real warehouse; and what archives keep."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataproc.domain.chunk import Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    ContractViolationError,
    InvalidSpecError,
    MemoryChangedError,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from dataproc.domain.job import JobId, RunId
from dataproc.domain.source_columns import text_field
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Source
from dataproc.ports.warehouse import LoadId, Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.sources.files.archive import ArchivedSource, S3Archive, rows_file
from dataproc.sources.files.run import SourceRun
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.contract.conformance import read_all, rows_of
from tests.fakes.pipeline import FakeEngine, look_away
from tests.s3 import S3Server, default_s3_server, rclone_server
from tests.warehouses import Query, chunks_of

NAME, TABLE = "orders-hourly", "analytics.orders"
ACCEPTED = datetime(2026, 11, 24, 23, 59, tzinfo=UTC)


class Place(Protocol):
    """Somewhere that files can be put for a tracked source to find."""

    def put(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...
    def source(self, path: str, **options: object) -> Source: ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    def put(self, name: str, data: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def source(self, path: str, **options: object) -> Source:
        spec = FilesSource.model_validate({"kind": "files", "path": path, "track": "objects", **options})
        return source_for(spec, surroundings(files_root=self.root))


@dataclass(frozen=True)
class Bucket:
    """A bucket of a real S3 server."""

    server: S3Server
    name: str

    def put(self, name: str, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=name, Body=data)

    def remove(self, name: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=name)

    def keys(self, prefix: str = "") -> list[str]:
        reply = self.server.client().list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for one in reply.get("Contents", [])]

    def source(self, path: str, **options: object) -> Source:
        return self.source_of(None, path, **options)

    def source_of(self, run: SourceRun | None, path: str, **options: object) -> Source:
        """Return the source of a run, which may keep its rows in an archive."""
        values = {"kind": "s3", "path": f"s3://{self.name}/{path}", "track": "objects", **options}
        around = surroundings(environment=self.server.environment, run=run)
        return source_for(S3Source.model_validate(values), around)


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with default_s3_server() as running:
        yield running


@pytest.fixture(scope="module")
def rclone() -> Iterator[S3Server]:
    with rclone_server() as running:
        yield running


@pytest.fixture
def bucket(moto: S3Server) -> Bucket:
    return Bucket(moto, moto.make_bucket(f"test-{uuid4().hex}"))


@pytest.fixture
def versioned(moto: S3Server) -> Bucket:
    return Bucket(moto, moto.make_bucket(f"test-{uuid4().hex}", versioned=True))


@pytest.fixture(params=["files", "moto", "versioned", "rclone"])
def place(request: pytest.FixtureRequest, tmp_path: Path, moto: S3Server) -> Place:
    match request.param:
        case "files":
            return Folder(tmp_path)
        case "moto" | "versioned":
            found: Bucket = request.getfixturevalue("bucket" if request.param == "moto" else "versioned")
            return found
        case _:
            server: S3Server = request.getfixturevalue("rclone")
            return Bucket(server, server.make_bucket(f"test-{uuid4().hex}"))


def csv(*ids: int) -> bytes:
    """Return a file of these ids."""
    return "\n".join(["id", *map(str, ids), ""]).encode()


def run(warehouse: PostgresWarehouse, source: Source, load_id: LoadId | None = None, load: str = "auto") -> Published:
    """Load a source under the job's name, as its next run does."""
    destination = Destination.model_validate({"table": TABLE, "load": load})
    given = load_id or LoadId(JobId(uuid4()), 1, uuid4(), NAME)
    return Pipeline(source, (), destination, (), FakeEngine(), warehouse).run(given, Monitor())


@dataclass
class Loads:
    """The runs of one job, and what they leave in the target."""

    warehouse: PostgresWarehouse
    query: Query

    def load(self, source: Source) -> int:
        """Return how many rows the next run loads."""
        return run(self.warehouse, source).account.loaded

    def ids(self) -> list[int]:
        """Return what is in the target."""
        return [row[0] for row in self.query(f"SELECT id FROM {TABLE} ORDER BY id")]

    @property
    def memory(self) -> Memory:
        return self.warehouse.memory(NAME, TABLE)


@pytest.fixture
def loads(warehouse: PostgresWarehouse, query: Query) -> Loads:
    return Loads(warehouse, query)


def test_a_late_file_is_loaded_by_the_next_run_and_no_other_again(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/b.csv", csv(2))
    place.put("in/c.csv", csv(3))

    assert loads.load(source) == 2
    place.put("in/a.csv", csv(1))  # its name sorts before what was loaded

    assert [loads.load(source), loads.load(source)] == [1, 0]
    assert loads.ids() == [1, 2, 3]


def test_files_that_are_gone_after_they_were_loaded_are_nothing_new(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    assert loads.load(source) == 1
    place.remove("in/a.csv")

    assert loads.load(source) == 0
    place.put("in/b.csv", csv(2))
    assert loads.load(source) == 1
    assert loads.ids() == [1, 2]


def test_an_overwritten_file_is_loaded_again_also_when_it_is_as_long_as_before(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    place.put("in/b.csv", csv(5))
    assert loads.load(source) == 2

    place.put("in/a.csv", csv(2))

    assert [loads.load(source), loads.load(source)] == [1, 0]
    assert loads.ids() == [1, 2, 5]


def test_a_file_written_in_the_second_of_a_run_is_not_passed_over(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    for number in range(5):
        place.put(f"in/{9 - number}.csv", csv(number))
        assert loads.load(source) == 1

    assert loads.ids() == [0, 1, 2, 3, 4]


def test_a_run_without_anything_new_has_no_units_and_still_tells_the_columns(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    loads.load(source)

    plan = source.plan(loads.memory)

    assert (plan.units, plan.objects, plan.rows) == ((), (), 0)
    assert plan.schema == pa.schema([text_field("id", "bigint")])


def test_a_path_that_never_matched_is_not_found_with_tracking_as_well(place: Place, loads: Loads) -> None:
    place.put("in/a.csv", csv(1))

    with pytest.raises(SourceNotFoundError, match="path"):
        place.source("out/*.csv").plan(loads.memory)


def test_more_files_than_a_run_reads_come_with_the_next_runs(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv", max_files=2)
    for number in range(5):
        place.put(f"in/{number}.csv", csv(number))

    assert source.plan(loads.memory).notes == ("more than 2 files are new; the rest waits for the next run",)
    assert [loads.load(source) for _ in range(4)] == [2, 2, 1, 0]
    assert source.plan(loads.memory).notes == ()
    assert loads.ids() == [0, 1, 2, 3, 4]


def test_a_failed_run_leaves_its_files_to_the_next_one(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    place.put("in/b.csv", csv(2))

    with pytest.raises(SourceUnavailableError):
        run(loads.warehouse, Broken(source))

    assert loads.load(source) == 2
    assert loads.ids() == [1, 2]


@dataclass(frozen=True)
class Broken:
    """A source that breaks down before its second unit, or after all of them."""

    source: Source
    before_unit: Callable[[int], None] = look_away
    read_units: list[str] = field(default_factory=list)

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        return self.source.plan(memory)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        self.read_units.append(unit.id)
        if len(self.read_units) == 2:
            raise SourceUnavailableError
        yield from self.source.read(unit)


def test_a_file_deleted_between_plan_and_read_fails_the_run_and_the_next_one_loads_the_rest(
    place: Place, loads: Loads
) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    place.put("in/b.csv", csv(2))
    plan = source.plan(loads.memory)
    place.remove("in/b.csv")

    with pytest.raises(SourceChangedError, match=r"in/b\.csv"):
        list(source.read(plan.units[1]))
    assert loads.load(source) == 1


def test_of_two_runs_that_planned_the_same_files_one_is_published(place: Place, loads: Loads) -> None:
    source = place.source("in/*.csv")
    place.put("in/a.csv", csv(1))
    stale = source.plan(loads.memory)
    loads.load(source)
    load_id = LoadId(JobId(uuid4()), 1, uuid4(), NAME)
    loads.warehouse.fence(load_id)
    load = loads.warehouse.open(load_id, Destination(table=TABLE), stale.schema, stale)

    with (
        pytest.raises(MemoryChangedError),
        FakeEngine().run(stale.units, source.read, (), load.step) as results,
    ):
        load.publish(stale, results, look_away)

    assert loads.ids() == [1]


def test_a_thousand_objects_are_loaded_in_turns(bucket: Bucket, loads: Loads) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: bucket.put(f"in/{n % 7}/{n:05}.csv", csv(n)), range(1100)))
    source = bucket.source("in/**", max_files=1050)

    first = source.plan(loads.memory)

    assert (len(first.units), len(first.objects)) == (1050, 1050)
    assert [unit.uri for unit in first.units] == sorted(unit.uri for unit in first.units)


# Versions of a versioned bucket


def test_a_content_that_comes_back_is_a_new_version_but_not_a_new_etag(versioned: Bucket, loads: Loads) -> None:
    by_version, by_etag = (versioned.source("in/*.csv", track=track) for track in ("versions", "objects"))
    counts = []
    for data in (csv(1), csv(2), csv(1)):
        versioned.put("in/a.csv", data)
        counts.append((loads.load(by_version), len(by_etag.plan(loads.memory).units)))

    assert [count[0] for count in counts] == [1, 1, 1]
    assert loads.ids() == [1, 1, 2]


def test_the_version_that_was_planned_is_read_whatever_came_after_it(versioned: Bucket) -> None:
    source = versioned.source("in/*.csv", track="versions")
    versioned.put("in/a.csv", csv(1))
    versioned.put("in/a.csv", csv(2))
    plan = source.plan()
    versioned.put("in/a.csv", csv(3))
    versioned.remove("in/a.csv")

    assert rows_of(list(source.read(plan.units[0]))) == [(2,)]
    with pytest.raises(SourceNotFoundError):
        source.plan()


def test_versions_of_a_bucket_without_them_are_its_etags(bucket: Bucket, loads: Loads) -> None:
    source = bucket.source("in/*.csv", track="versions")
    bucket.put("in/a.csv", csv(1))
    assert loads.load(source) == 1
    plan = source.plan()
    bucket.put("in/a.csv", csv(2))

    with pytest.raises(SourceChangedError):
        list(source.read(plan.units[0]))
    assert [loads.load(source), loads.load(source)] == [1, 0]


# Archives


def a_run(job_id: JobId | None = None, attempt: int = 1) -> SourceRun:
    return SourceRun(job_id or JobId(uuid4()), RunId(uuid4()), attempt, ACCEPTED)


def archive_at(bucket: Bucket) -> Mapping[str, object]:
    return {"archive": {"path": f"s3://{bucket.name}/kept", "expires": "30d"}}


def test_rows_are_kept_as_they_were_read_and_can_be_read_again(bucket: Bucket) -> None:
    rows = pa.table(
        {
            "id": pa.array([1, None, 3], pa.int32()),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None, datetime(1900, 1, 1, tzinfo=UTC)]),
            "day": pa.array([datetime(2026, 1, 1, tzinfo=UTC).date()] * 3),
            "price": pa.array([Decimal("1.10"), Decimal("-2.00"), None], pa.decimal128(12, 2)),
            "raw": pa.array([b"\x00\xff", b"", None]),
            "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
            "who": pa.array([{"name": "Zoë"}, None, {"name": None}]),
            "score": pa.array([float("nan"), float("inf"), None]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=2)
    bucket.put("in/a.parquet", sink.getvalue())
    bucket.put("in/b.parquet", sink.getvalue())
    job = a_run()

    plan, chunks = read_all(bucket.source_of(job, "in/*", **archive_at(bucket)))

    folder = f"kept/expires=2026-12-24/job={job.job_id}/"
    assert len(bucket.keys(folder)) == len(bucket.keys("kept/")) == len(plan.units) == 2
    replayed, again = read_all(bucket.source(f"{folder}*.parquet", track="off"))
    assert replayed.schema == plan.schema
    assert sorted(map(repr, rows_of(again))) == sorted(map(repr, rows_of(chunks)))


def test_a_published_load_always_has_its_archive(bucket: Bucket, loads: Loads) -> None:
    for number in range(3):
        bucket.put(f"in/{number}.csv", csv(*range(number * 10, number * 10 + 10)))
    job = a_run()
    load_id = LoadId(job.job_id, 1, job.run_id, NAME)
    source = bucket.source_of(job, "in/*.csv", **archive_at(bucket))
    with pytest.raises(SourceUnavailableError):
        run(loads.warehouse, Broken(source), load_id, "staged")

    later = a_run(job.job_id, attempt=2)
    resumed = bucket.source_of(later, "in/*.csv", **archive_at(bucket))
    run(loads.warehouse, resumed, LoadId(job.job_id, 2, later.run_id, NAME), "staged")

    _, again = read_all(bucket.source("kept/**/*.parquet", track="off"))
    assert {row[0] for row in rows_of(again)} == set(loads.ids()) == set(range(30))
    assert len(rows_of(again)) == 30


def test_no_last_chunk_is_given_when_the_archive_cannot_be_written(bucket: Bucket) -> None:
    bucket.put("in/a.csv", csv(1))
    archive = {"archive": {"path": "s3://there-is-no-such-bucket/kept"}}
    source = bucket.source_of(a_run(), "in/*.csv", **archive)
    unit = bucket.source("in/*.csv").plan().units[0]

    seen: list[Chunk] = []
    with pytest.raises(SourceNotFoundError, match="bucket"):
        seen.extend(source.read(unit))

    assert not any(chunk.last for chunk in seen)


def test_files_without_rows_are_kept_as_well(bucket: Bucket) -> None:
    for key, data in {"in/a.csv": b"", "in/b.csv": b"id\n", "in/c.csv": csv(3)}.items():
        bucket.put(key, data)
    plan, _ = read_all(bucket.source_of(a_run(), "in/*.csv", **archive_at(bucket)))

    replayed, again = read_all(bucket.source("kept/**", track="off"))

    assert (len(replayed.units), replayed.schema) == (3, plan.schema)
    assert rows_of(again) == [(3,)]


def test_columns_that_parquet_cannot_hold_are_refused_by_name() -> None:
    rows = pa.table({"gap": pa.nulls(1, pa.month_day_nano_interval())})

    with rows_file() as file, pytest.raises(ContractViolationError, match=r"archive.*interval"):
        file.add(chunks_of("u0", rows)[0])


def test_a_task_that_runs_twice_keeps_its_rows_once(bucket: Bucket) -> None:
    bucket.put("in/a.csv", csv(1, 2))
    source = bucket.source_of(a_run(), "in/*.csv", **archive_at(bucket))
    unit = source.plan().units[0]
    for _ in range(2):
        list(source.read(unit))

    _, again = read_all(bucket.source("kept/**", track="off"))

    assert rows_of(again) == [(1,), (2,)]


def test_what_a_failed_run_kept_of_a_file_that_changed_is_removed_by_the_next(bucket: Bucket) -> None:
    bucket.put("in/a.csv", csv(1))
    job = a_run()
    read_all(bucket.source_of(job, "in/*.csv", **archive_at(bucket)))
    bucket.put("in/a.csv", csv(2))

    read_all(bucket.source_of(a_run(job.job_id, attempt=2), "in/*.csv", **archive_at(bucket)))

    _, again = read_all(bucket.source("kept/**", track="off"))
    assert rows_of(again) == [(2,)]


def test_expired_archives_are_removed_and_nothing_else(bucket: Bucket) -> None:
    bucket.put("in/a.csv", csv(1))
    job = a_run()
    source = bucket.source_of(job, "in/*.csv", **archive_at(bucket))
    read_all(source)
    old = f"kept/expires=2026-12-23/job={uuid4()}/{'a' * 64}.parquet"
    foreign = ("kept/expires=2026-12-23/notes.txt", "kept/readme.md", "in/expires=2026-12-23/x")
    for key in (old, *foreign):
        bucket.put(key, b"x")
    before = bucket.keys()
    archive = archive_of(source)

    on_day(archive, datetime(2026, 12, 23, 23, tzinfo=UTC)).sweep()
    assert bucket.keys() == before

    on_day(archive, datetime(2026, 12, 24, 1, tzinfo=UTC)).sweep()
    assert set(before) - set(bucket.keys()) == {old}

    on_day(archive, datetime(2026, 12, 25, 1, tzinfo=UTC)).sweep()
    assert sorted(bucket.keys()) == sorted((*foreign, "in/a.csv"))


def archive_of(source: Source) -> S3Archive:
    assert isinstance(source, ArchivedSource)
    return source.archive


def on_day(archive: S3Archive, now: datetime) -> S3Archive:
    """Return the archive as it is at another time."""
    return S3Archive(archive.service, archive.bucket, archive.prefix, archive.expires, archive.run, lambda: now)


def test_an_archive_that_the_source_itself_would_read_is_refused(bucket: Bucket) -> None:
    with pytest.raises(InvalidSpecError, match="exclude it"):
        bucket.source_of(a_run(), "**", **archive_at(bucket))

    bucket.put("a.parquet", b"")
    source = bucket.source_of(a_run(), "**", exclude=[f"s3://{bucket.name}/kept/**"], **archive_at(bucket))
    assert isinstance(source, ArchivedSource)


def test_a_plan_that_nothing_comes_of_touches_no_archive(bucket: Bucket) -> None:
    bucket.put("in/a.csv", csv(1))

    read_all(bucket.source_of(None, "in/*.csv", **archive_at(bucket)))

    assert bucket.keys() == ["in/a.csv"]


def test_files_of_a_folder_can_be_kept_as_well(bucket: Bucket, tmp_path: Path) -> None:
    Folder(tmp_path).put("in/a.jsonl", json.dumps({"id": 7}).encode())
    spec = FilesSource.model_validate({"kind": "files", "path": "in/*", **archive_at(bucket)})
    around = surroundings(files_root=tmp_path, environment=bucket.server.environment, run=a_run())

    read_all(source_for(spec, around))

    _, again = read_all(bucket.source("kept/**", track="off"))
    assert rows_of(again) == [(7,)]


def test_an_archive_lasts_for_at_least_a_day() -> None:
    with pytest.raises(ValueError, match="expires"):
        FilesSource.model_validate({"kind": "files", "path": "x", "archive": {"path": "s3://bkt/k", "expires": "1h"}})
