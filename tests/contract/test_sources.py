"""What every source of files keeps to, on local files and on S3, in every format."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import (
    BadDataError,
    ContractViolationError,
    SetupError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.factory import source_for
from tests.builders import surroundings
from tests.file_kinds import as_csv, as_json_lines, as_parquet, encoded, some_rows, with_prices
from tests.places import Bucket, Folder, Place
from tests.s3 import S3Server, default_s3_server

ROWS = 3000
LONG = 40_000
FORMATS = ("parquet", "csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst")
SMALLEST_UNIT = 64 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with default_s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return Bucket(server, server.make_bucket(f"test-{uuid4().hex}"))


@pytest.fixture(params=["files", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "files":
        return Folder(tmp_path)
    found: Bucket = request.getfixturevalue("bucket")
    return found


def all_chunks(source: Source) -> list[Chunk]:
    """Return the chunks of all units, read by a copy of the source as a worker has it."""
    copy: Source = pickle.loads(pickle.dumps(source))  # noqa: S301  # our own value
    units = pickle.loads(pickle.dumps(source.plan().units))  # noqa: S301  # our own value
    return [chunk for unit in units for chunk in copy.read(unit)]


def all_rows(source: Source) -> list[dict[str, object]]:
    return [row for chunk in all_chunks(source) for row in with_prices(chunk.rows.drop_columns([POSITION])).to_pylist()]


def by_id(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_row_of_every_matching_file_comes_once(place: Place, kind: str) -> None:
    place.put(f"in/a.{kind}", encoded(some_rows(), kind))
    place.put(f"in/deep/er/b.{kind}", encoded(some_rows(ROWS), kind))
    place.put(f"out/c.{kind}", encoded(some_rows(2 * ROWS), kind))

    assert all_rows(place.source(f"in/**/*.{kind}")) == some_rows(0, 2 * ROWS).to_pylist()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_files_give_the_same_plan(place: Place, kind: str) -> None:
    for number in range(3):
        place.put(f"{number}.{kind}", encoded(some_rows(number), kind))
    source = place.source(f"*.{kind}")

    assert source.plan() == source.plan()
    assert len({unit.id for unit in source.plan().units}) == 3


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_large_file_is_cut_into_units_that_cover_it_exactly(place: Place, kind: str) -> None:
    rows = some_rows(0, 12_000)
    place.put(f"a.{kind}", encoded(rows, kind))
    source = place.source(f"a.{kind}", unit_size=SMALLEST_UNIT)
    units = source.plan().units

    assert len(units) > 3
    assert all_rows(source) == rows.to_pylist()
    assert [unit.span[0] for unit in units if unit.span][1:] == [unit.span[1] for unit in units if unit.span][:-1]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_unit_read_twice_gives_the_same_chunks(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))
    source = place.source(f"a.{kind}")
    unit = source.plan().units[0]

    first, second = list(source.read(unit)), list(source.read(unit))

    assert first == second
    assert first[0].rows.num_rows == ROWS


@pytest.mark.parametrize("kind", FORMATS)
def test_chunks_are_numbered_and_have_the_schema_of_the_plan(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))
    source = place.source(f"a.{kind}", unit_size=SMALLEST_UNIT)
    plan = source.plan()

    for unit in plan.units:
        chunks = list(source.read(unit))
        positions = [p for chunk in chunks for p in chunk.rows[POSITION].to_pylist()]
        assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
        assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert positions == list(range(len(positions)))
        assert all(chunk.rows.schema.names == [*plan.schema.names, POSITION] for chunk in chunks)
        assert all(chunk.rows.schema.types[:-1] == plan.schema.types for chunk in chunks)


def test_parquet_announces_its_rows(place: Place) -> None:
    place.put("a.parquet", as_parquet(some_rows(0, 12_000)))

    assert place.source("a.parquet", unit_size=SMALLEST_UNIT).plan().rows == 12_000


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_empty_file_is_a_unit_without_rows(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", b"")
    place.put(f"b.{kind}", encoded(some_rows(), kind))
    source = place.source(f"*.{kind}")

    chunks = list(source.read(source.plan().units[0]))

    assert [(chunk.seq, chunk.last, chunk.read) for chunk in chunks] == [(0, True, 0)]
    assert chunks[0].rows.schema.names == [*some_rows().schema.names, POSITION]


def test_folders_and_empty_markers_are_no_files(place: Place) -> None:
    place.put("in/a.csv", as_csv(some_rows()))
    place.put("in/_SUCCESS", b"")
    place.put("in/.hidden.csv", b"x")

    assert len(place.source("in/**").plan().units) == 1


def test_an_object_that_stands_for_a_folder_is_no_file(bucket: Bucket) -> None:
    bucket.put("in/", b"")
    bucket.put("in/a.csv", as_csv(some_rows()))

    assert [unit.uri for unit in bucket.source("in/**").plan().units] == [f"s3://{bucket.name}/in/a.csv"]


def test_a_path_that_matches_nothing_is_not_found(place: Place) -> None:
    place.put("a.csv", as_csv(some_rows()))

    for path in ("b.csv", "*.parquet", "no/such/**"):
        with pytest.raises(SourceNotFoundError, match="path"):
            place.source(path).plan()


def test_a_missing_bucket_is_not_found(server: S3Server) -> None:
    with pytest.raises(SourceNotFoundError, match="bucket"):
        Bucket(server, "there-is-no-such-bucket").source("a.csv").plan()


def test_a_service_that_does_not_answer_is_unavailable(server: S3Server) -> None:
    nobody = S3Server("http://127.0.0.1:9")

    with pytest.raises(SourceUnavailableError, match="does not answer"):
        Bucket(nobody, "any").source("a.csv").plan()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_changed_after_the_plan_is_noticed(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))
    source = place.source(f"a.{kind}")
    plan = source.plan()
    place.put(f"a.{kind}", encoded(some_rows(7, ROWS + 1), kind))

    with pytest.raises(SourceChangedError, match=f"a.{kind}"):
        list(source.read(plan.units[0]))


def test_a_file_that_went_away_after_the_plan_is_noticed(place: Place) -> None:
    place.put("a.csv", as_csv(some_rows()))
    source = place.source("a.csv")
    plan = source.plan()
    place.remove("a.csv")

    with pytest.raises(SourceChangedError, match=r"a\.csv"):
        list(source.read(plan.units[0]))


def test_what_is_no_parquet_file_is_bad_data_by_name(place: Place) -> None:
    place.put("in/a.parquet", as_parquet(some_rows()))
    place.put("in/b.parquet", b"this is no parquet file, however one looks at it")

    with pytest.raises(BadDataError, match=r"b\.parquet"):
        place.source("in/*").plan()


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl.gz", "csv.zst"])
def test_a_compressed_file_that_is_cut_off_is_bad_data(place: Place, kind: str) -> None:
    whole = encoded(some_rows(0, 60_000), kind)
    place.put(f"a.{kind}", whole[: len(whole) - 20])
    source = place.source(f"a.{kind}")

    with pytest.raises(BadDataError, match=r"a\.(csv|jsonl)"):
        all_chunks(source)


def test_a_parquet_file_with_a_damaged_page_is_bad_data(place: Place) -> None:
    data = bytearray(as_parquet(some_rows()))
    data[4:2000] = b"\xff" * 1996
    place.put("a.parquet", bytes(data))

    with pytest.raises(BadDataError, match=r"a\.parquet"):
        all_chunks(place.source("a.parquet"))


def test_several_formats_under_one_path_are_refused(place: Place) -> None:
    place.put("a.csv", as_csv(some_rows()))
    place.put("b.jsonl", as_json_lines(some_rows()))

    with pytest.raises(BadDataError, match="several formats"):
        place.source("*").plan()


def test_a_name_that_tells_no_format_needs_the_format(place: Place) -> None:
    place.put("data", as_csv(some_rows()))

    with pytest.raises(BadDataError, match="set `format`"):
        place.source("data").plan()
    assert len(all_rows(place.source("data", format="csv"))) == ROWS


def test_columns_that_differ_between_parquet_files_are_widened_or_null(place: Place) -> None:
    place.put("a.parquet", as_parquet(pa.table({"id": pa.array([1], pa.int32())})))
    place.put("b.parquet", as_parquet(pa.table({"id": pa.array([2**40]), "new": ["x"]})))

    assert all_rows(place.source("*.parquet")) == [{"id": 1, "new": None}, {"id": 2**40, "new": "x"}]


def test_columns_that_cannot_be_unified_are_named_with_their_file(place: Place) -> None:
    place.put("a.parquet", as_parquet(pa.table({"id": [1], "name": ["x"]})))
    place.put("b.parquet", as_parquet(pa.table({"id": ["one"], "name": ["x"]})))

    with pytest.raises(ContractViolationError, match=r"b\.parquet: column 'id'"):
        place.source("*.parquet").plan()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_later_file_may_lack_columns_but_not_bring_new_ones(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(0, 3), kind))
    place.put(f"b.{kind}", encoded(some_rows(3, 3).select(["name", "id"]), kind))
    place.put(f"c/c.{kind}", encoded(some_rows(6, 3).append_column("extra", pa.array([1, 2, 3])), kind))

    assert all_rows(place.source(f"*.{kind}"))[4] == {"id": 4, "price": None, "name": 'Zoë "4", the 4th', "good": None}
    with pytest.raises(ContractViolationError, match="'extra'"):
        all_rows(place.source(f"**/*.{kind}"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_columns_asked_for_as_text_come_as_text(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))
    source = place.source(f"a.{kind}", text=frozenset({"id", "good"}))

    assert source.plan().schema.field("id").type == pa.string()
    assert all_rows(source)[3] == {"id": "3", "price": 0.75, "name": None, "good": "true"}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("csv", ["4,5", "x,1,a,true", "5,1,a,true,extra", "6,oh,a,maybe"]),
        ("jsonl", ['{"id": 4', '{"id": "x"}', "[1]", '{"id": 6, "price": "oh"}']),
    ],
)
def test_records_that_cannot_be_read_are_set_aside_where_they_stand(place: Place, kind: str, bad: list[str]) -> None:
    # Beyond the sample, which would else take its types from them.
    good = encoded(some_rows(0, LONG), kind).splitlines(keepends=True)
    where = [LONG - 400, LONG - 300, LONG - 200, LONG - 100]
    for at, line in zip(where, bad, strict=True):
        good.insert(at, line.encode() + b"\n")
    place.put(f"a.{kind}", b"".join(good))

    chunks = all_chunks(place.source(f"a.{kind}"))
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
    first = 1 if kind == "csv" else 0

    assert sorted({row["position"] for row in rejects}) == [at - first for at in where]
    assert all(f"line {row['position'] + 1 + first}" in row["reason"] for row in rejects)
    assert {row["rule"] for row in rejects} == {"parse", "type"}
    assert [n for chunk in chunks for n in chunk.rows["id"].to_pylist()] == list(range(LONG))
    assert sum(chunk.read for chunk in chunks) == LONG + 4


def test_a_link_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    Folder(outside).put("secret.csv", b"a\n1\n")
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file.csv").symlink_to(outside / "secret.csv")

    for path in ("link/secret.csv", "link/*.csv", "file.csv", "*.csv"):
        with pytest.raises(SourceRefusedError, match="out of the folder"):
            Folder(root).source(path).plan()


@pytest.mark.parametrize("path", ["../x.csv", "a/../../x.csv", "/etc/passwd", "a\0b"])
def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceRefusedError, match="path"):
        Folder(tmp_path).source(path).plan()


def test_an_absolute_path_below_the_root_is_that_file(tmp_path: Path) -> None:
    Folder(tmp_path).put("a.csv", b"a\n1\n")

    assert all_rows(Folder(tmp_path).source(f"{tmp_path}/a.csv")) == [{"a": 1}]


def test_without_a_root_no_file_is_read() -> None:
    with pytest.raises(SetupError, match="DATAPROC_FILES_ROOT"):
        source_for(FilesSource(kind="files", path="a.csv"), surroundings())


def test_a_connection_gives_bucket_endpoint_and_prefix(server: S3Server, bucket: Bucket) -> None:
    bucket.put("lake/in/a.csv", b"a\n1\n")
    connection = Connection("lake", "s3", {"bucket": bucket.name, "endpoint": server.endpoint, "prefix": "lake"})
    spec = S3Source(kind="s3", connection="lake", path="in/*.csv")

    assert all_rows(source_for(spec, surroundings(connection=connection, environment={}))) == [{"a": 1}]


def test_a_listing_of_many_pages_is_complete(bucket: Bucket) -> None:
    for number in range(1005):
        bucket.put(f"in/{number:04}.csv", b"")

    assert len(bucket.source("in/*.csv").plan().units) == 1005


def test_no_secret_is_part_of_a_source(server: S3Server, bucket: Bucket) -> None:
    source = bucket.source("a.csv")

    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in pickle.dumps(source)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in repr(source)
