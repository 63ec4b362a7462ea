"""Every format, packed every way, on local files and on S3: conformance, damage, drift, dialects, partitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import uuid4

import psutil  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa
import pytest
from pytest_httpserver import HTTPServer

from dataproc.domain.chunk import Chunk
from dataproc.domain.errors import BadDataError, ContractViolationError, SourceChangedError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Source
from tests.contract.conformance import Row, SourceConformance, one_table, read_all
from tests.file_kinds import PACK, encoded, some_rows
from tests.places import Bucket, Folder, Place
from tests.s3 import S3Server, default_s3_server

KINDS = ("parquet", "csv", "csv.bz2", "csv.snappy", "jsonl.sz", "json", "json.zst", "avro", "avro+snappy")
PACKED = ("csv.gz", "csv.zst", "csv.bz2", "csv.sz", "csv.snappy", "jsonl.bz2", "json.gz", "jsonl.sz")
AVRO = ("avro", "avro+deflate", "avro+bzip2", "avro+xz", "avro+snappy", "avro+zstandard")
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
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
        return Folder(tmp_path / "root")
    found: Bucket = request.getfixturevalue("bucket")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "root")


@dataclass(frozen=True)
class Going:
    """A source whose files go away after they were planned."""

    source: Source
    place: Place
    names: Sequence[str]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        plan = self.source.plan(memory)
        for name in self.names:
            self.place.remove(name)
        return plan

    def read(self, unit: Unit) -> Iterator[Chunk]:
        return self.source.read(unit)


@dataclass(frozen=True)
class FormatSubject:
    """Two files of a kind, and what goes wrong with their place."""

    place: Place
    kind: str
    denying: S3Server

    def source(self) -> Source:
        return self.place.source(f"in/*.{self.kind}", format=self.format)

    def rows(self) -> Sequence[Row]:
        return [tuple(row.values()) for row in some_rows(0, 1200).to_pylist()]

    def empty(self) -> Source:
        self.place.put(f"empty/a.{self.kind}", encoded(some_rows().slice(0, 0), self.kind))
        return self.place.source(f"empty/*.{self.kind}", format=self.format)

    def refused(self) -> Source:
        if isinstance(self.place, Folder):
            return self.place.source(f"../outside/a.{self.kind}", format=self.format)
        return Bucket(self.denying, "lake").source(f"a.{self.kind}", format=self.format)

    def missing(self) -> Source:
        return self.place.source(f"no/such/*.{self.kind}")

    def change(self) -> None:
        self.place.put(f"in/b.{self.kind}", encoded(some_rows(700, 501), self.kind))

    def away(self) -> Source:
        self.place.put(f"going/a.{self.kind}", encoded(some_rows(0, 5), self.kind))
        source = self.place.source(f"going/a.{self.kind}", format=self.format)
        return Going(source, self.place, [f"going/a.{self.kind}"])

    def open_connections(self) -> int:
        if isinstance(self.place, Folder):
            return sum(1 for file in psutil.Process().open_files() if file.path.startswith(str(self.place.root)))
        return 0

    @property
    def format(self) -> str:
        return self.kind.partition(".")[0].partition("+")[0]


class TestFormats(SourceConformance):
    @pytest.fixture(params=KINDS)
    def subject(self, request: pytest.FixtureRequest, place: Place, httpserver: HTTPServer) -> FormatSubject:
        kind: str = request.param
        place.put(f"in/a.{kind}", encoded(some_rows(0, 700), kind))
        place.put(f"in/b.{kind}", encoded(some_rows(700, 500), kind))
        httpserver.expect_request("/lake").respond_with_data(DENIED, status=403, content_type="application/xml")
        return FormatSubject(place, kind, S3Server(httpserver.url_for("").rstrip("/")))


def rows_in(source: Source) -> list[dict[str, object]]:
    return one_table(read_all(source)[1]).to_pylist()


def rejects_in(source: Source) -> list[dict[str, object]]:
    return [row for chunk in read_all(source)[1] for row in chunk.rejects.to_pylist()]


@pytest.mark.parametrize("kind", [*PACKED, *AVRO])
def test_whatever_packs_a_file_its_rows_are_the_same(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))

    source = place.source(f"a.{kind}", format=kind.partition(".")[0].partition("+")[0])

    assert rows_in(source) == some_rows().to_pylist()


@pytest.mark.parametrize("packing", ["gzip", "zstd", "bz2", "snappy"])
def test_what_packs_a_file_can_be_said_where_its_name_does_not(tmp_path: Path, packing: str) -> None:
    end = {"gzip": "gz", "zstd": "zst", "bz2": "bz2", "snappy": "sz"}[packing]
    Folder(tmp_path).put("a.csv", encoded(some_rows(), f"csv.{end}"))

    assert rows_in(Folder(tmp_path).source("a.csv", compression=packing)) == some_rows().to_pylist()


@pytest.mark.parametrize("kind", [*PACKED, "json", "avro", "avro+snappy", "parquet"])
def test_a_file_that_is_cut_off_ends_the_run_by_name(folder: Folder, kind: str) -> None:
    whole = encoded(some_rows(), kind)
    folder.put(f"a.{kind}", whole[: len(whole) - 20])

    with pytest.raises(BadDataError, match=r"a\.(csv|json|jsonl|avro|parquet).* cannot be read"):
        read_all(folder.source(f"a.{kind}", format=kind.partition(".")[0].partition("+")[0]))


@pytest.mark.parametrize("kind", [*PACKED, "json", "avro", "avro+snappy"])
def test_what_comes_before_some_damage_is_kept_where_damage_is_skipped(place: Place, kind: str) -> None:
    form = kind.partition(".")[0].partition("+")[0]
    whole = encoded(some_rows(0, 6000), kind)
    place.put(f"a.{kind}", whole[: len(whole) * 9 // 10])
    place.put(f"b.{kind}", encoded(some_rows(6000, 7), kind))

    plan, chunks = read_all(place.source(f"*.{kind}", format=form, on_bad_file="skip"))
    rows = one_table(chunks).to_pylist()
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]

    good = len(rows) - 7
    assert good > 1000 or kind.endswith("bz2")  # of which a block is as large as the file
    assert rows == [*some_rows(0, good).to_pylist(), *some_rows(6000, 7).to_pylist()]
    assert [(row["rule"], row["position"]) for row in rejects] == [("file", good)]
    assert f"a.{kind}" in str(rejects[0]["reason"])
    assert f"after its first {good} rows is lost" in str(rejects[0]["reason"]) or good == 0
    assert sum(chunk.read for chunk in chunks) == len(rows) + 1
    assert plan.rows is None


@pytest.mark.parametrize("kind", ["parquet", "avro", "csv", "jsonl", "json", "csv.gz"])
def test_a_file_that_is_of_no_known_form_does_not_stop_the_others(folder: Folder, kind: str) -> None:
    form = kind.partition(".")[0]
    folder.put(f"a.{kind}", b"\xff\x00\xfe neither this nor that, in no encoding \xff" * 20)
    folder.put(f"b.{kind}", encoded(some_rows(), kind))

    plan, chunks = read_all(folder.source(f"*.{kind}", format=form, on_bad_file="skip"))
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]

    assert one_table(chunks).to_pylist() == some_rows().to_pylist()
    assert len(rejects) == 1
    if kind != "jsonl":  # there, it is a line that cannot be read
        assert rejects[0]["rule"] == "file"
        assert "none of its rows was read" in str(rejects[0]["reason"])
    assert len(plan.units) == 2


def test_rows_that_a_damaged_page_costs_are_told(place: Place) -> None:
    data = bytearray(encoded(some_rows(), "parquet"))
    data[len(data) // 2 : len(data) // 2 + 3000] = b"\xff" * 3000
    place.put("a.parquet", bytes(data))
    place.put("b.parquet", encoded(some_rows(3000, 5), "parquet"))

    with pytest.raises(BadDataError, match=r"a\.parquet"):
        read_all(place.source("*.parquet"))
    plan, chunks = read_all(place.source("*.parquet", on_bad_file="skip"))
    rejects = [row for chunk in chunks for row in chunk.rejects.to_pylist()]
    good = sum(chunk.rows.num_rows for chunk in chunks) - 5

    assert plan.rows is None
    assert 0 < good < 3000
    assert plan.notes == ()
    assert [row["rule"] for row in rejects] == ["file"]
    assert f"it says that there are 3000 rows, and {good} were read" in str(rejects[0]["reason"])


def test_where_no_file_can_be_read_the_run_ends_though_damage_is_skipped(place: Place) -> None:
    for name in ("a", "b"):
        place.put(f"{name}.parquet", b"this is no parquet file, however one looks at it")

    with pytest.raises(BadDataError, match=r"a\.parquet"):
        place.source("*.parquet", on_bad_file="skip").plan()


def test_a_file_of_extension_types_is_set_aside_where_damage_is_skipped(place: Place) -> None:
    odd = pa.table({"id": pa.array([1], pa.int64())}).cast(
        pa.schema([pa.field("id", pa.int64(), metadata={"ARROW:extension:name": "ray.data.x"})])
    )
    place.put("a.parquet", encoded(odd, "parquet"))
    place.put("b.parquet", encoded(some_rows(0, 3), "parquet"))

    with pytest.raises(ContractViolationError, match=r"extension type 'ray\.data\.x'"):
        place.source("*.parquet").plan()
    source = place.source("*.parquet", on_bad_file="skip")
    assert rows_in(source) == some_rows(0, 3).to_pylist()
    assert "a.parquet: column 'id' has the extension type" in source.plan().notes[0]
    assert [(row["rule"], row["row"]) for row in rejects_in(source)] == [("file", source.plan().units[0].uri)]


@pytest.mark.parametrize("kind", ["csv.gz", "parquet", "avro"])
def test_a_file_that_changed_is_never_taken_for_a_damaged_one(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(), kind))
    source = place.source(f"a.{kind}", format=kind.partition(".")[0], on_bad_file="skip")
    plan = source.plan()
    place.put(f"a.{kind}", b"something else")

    with pytest.raises(SourceChangedError, match=f"a.{kind}"):
        list(source.read(plan.units[0]))


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zst", "csv.bz2", "csv.sz", "json.gz", "avro+deflate", "parquet"])
def test_a_file_that_unpacks_to_more_than_it_may_is_refused_by_name(folder: Folder, kind: str) -> None:
    form = kind.partition(".")[0].partition("+")[0]
    folder.put(f"a.{kind}", encoded(some_rows(0, 10_000), kind))

    with pytest.raises(BadDataError, match=rf"a\.{form}.* unpacks to more than 100000 bytes.*max_unpacked"):
        read_all(folder.source(f"a.{kind}", format=form, max_unpacked=100_000))
    assert len(rows_in(folder.source(f"a.{kind}", format=form, max_unpacked=10_000_000))) == 10_000


@pytest.mark.parametrize("kind", ["csv", "jsonl", "avro"])
def test_a_large_file_is_read_in_parallel_pieces_that_give_each_row_once(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(0, 12_000), kind))
    source = place.source(f"a.{kind}", unit_size=SMALLEST_UNIT)

    assert len(source.plan().units) > 4
    assert rows_in(source) == some_rows(0, 12_000).to_pylist()


@pytest.mark.parametrize("kind", ["avro", "json"])
def test_columns_that_differ_between_files(place: Place, kind: str) -> None:
    place.put(f"a.{kind}", encoded(some_rows(0, 2), kind))
    place.put(f"b.{kind}", encoded(some_rows(2, 1).select(["name", "id"]), kind))
    place.put(f"odd/c.{kind}", encoded(some_rows(3, 1).append_column("new", pa.array(["x"])), kind))

    assert rows_in(place.source(f"*.{kind}"))[2] == {"id": 2, "price": None, "name": 'Zoë "2", the 2th', "good": None}
    if kind == "avro":
        assert [row["new"] for row in rows_in(place.source(f"**/*.{kind}"))] == [None, None, None, "x"]
    else:
        with pytest.raises(ContractViolationError, match=r"odd/c\.json: record 1: the key 'new' is not"):
            read_all(place.source(f"**/*.{kind}"))


def test_a_type_that_differs_between_avro_files_is_named_with_its_file(place: Place) -> None:
    place.put("a.avro", encoded(pa.table({"id": [1]}), "avro"))
    place.put("b.avro", encoded(pa.table({"id": ["x"]}), "avro"))

    with pytest.raises(ContractViolationError, match=r"b\.avro: column 'id'"):
        place.source("*.avro").plan()


def test_folders_called_key_and_value_are_columns(place: Place) -> None:
    for day, city in (("2026-01-01", "K%C3%B6ln"), ("2026-01-02", "__HIVE_DEFAULT_PARTITION__")):
        place.put(f"in/dt={day}/n=7/city={city}/a.csv", encoded(some_rows(0, 2).select(["id"]), "csv"))
    source = place.source("in/**/*.csv", partitions="hive")

    plan, chunks = read_all(source)

    assert plan.schema.types == [pa.int64(), pa.date32(), pa.int64(), pa.string()]
    assert one_table(chunks).to_pylist() == [
        {"id": n, "dt": date(2026, 1, day), "n": 7, "city": city}
        for day, city in ((1, "Köln"), (2, None))
        for n in (0, 1)
    ]
    assert plan == source.plan()
    assert place.source("in/**/*.csv").plan().schema.names == ["id"]


def test_rejects_and_partitions_go_together(place: Place) -> None:
    place.put("k=1/a.csv", b"id,name\n1,x\n2\n")
    place.put("k=2/a.csv.gz", encoded(some_rows().select(["id", "name"]), "csv.gz")[:50])
    source = place.source("**/*", partitions="hive", on_bad_file="skip")

    assert rows_in(source)[:1] == [{"id": 1, "name": "x", "k": 1}]
    assert [row["rule"] for row in rejects_in(source)] == ["parse", "file"]


def test_files_in_other_folders_than_the_first_are_named(place: Place) -> None:
    place.put("dt=2026-01-01/a.csv", b"id\n1\n")
    place.put("dt=2026-01-02/n=1/a.csv", b"id\n1\n")

    with pytest.raises(ContractViolationError, match=r"n=1/a\.csv is not in folders dt=…"):
        place.source("**/*.csv", partitions="hive").plan()


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252", "utf-8-sig", "utf-16-le"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "csv.gz"])
def test_text_comes_out_of_every_encoding_alike(folder: Folder, kind: str, encoding: str) -> None:
    rows = some_rows(0, 9000)
    text = encoded(rows, kind.removesuffix(".gz")).decode()
    folder.put(f"a.{kind}", PACK["gz" if kind == "csv.gz" else ""](text.encode(encoding)))
    source = folder.source(f"a.{kind}", encoding=encoding, unit_size=SMALLEST_UNIT)

    assert rows_in(source) == rows.to_pylist()
    is_cut = encoding in ("latin-1", "cp1252", "utf-8-sig") and kind in ("csv", "jsonl")
    assert (len(source.plan().units) > 1) == is_cut
