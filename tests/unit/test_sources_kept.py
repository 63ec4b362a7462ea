"""Small files that the plan has read travel with their units; no worker asks the storage for them."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import SourceChangedError, SourceNotFoundError
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Source
from dataproc.sources.factory import source_for
from dataproc.sources.files.kept import FEW_FILES, SMALL_FILE, KeepingFiles
from dataproc.sources.files.samples import MAX_THREADS, threads_for
from tests.builders import surroundings
from tests.file_kinds import encoded, some_rows

MANY = FEW_FILES + 1


def write(folder: Path, kind: str, count: int) -> Source:
    """Write files of two rows, and return the source that reads them."""
    for n in range(count):
        (folder / f"f{n:03}.{kind}").write_bytes(encoded(some_rows(2 * n, 2), kind))
    spec = FilesSource.model_validate({"kind": "files", "path": f"*.{kind}"})
    return source_for(spec, surroundings(files_root=folder))


def ids_of(source: Source, units: tuple[Unit, ...]) -> list[int]:
    """Return the ids in units, which travel before they are read."""
    found = pickle.loads(pickle.dumps(units))  # noqa: S301 - our own
    ids: list[Any] = [n for unit in found for chunk in source.read(unit) for n in chunk.rows["id"].to_pylist()]
    return ids


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "json", "parquet", "avro"])
def test_many_small_files_are_read_once(tmp_path: Path, kind: str) -> None:
    source = write(tmp_path, kind, MANY)
    plan = source.plan()

    for path in tmp_path.iterdir():
        path.unlink()

    assert ids_of(source, plan.units) == list(range(2 * MANY))


def test_a_few_files_are_read_where_they_are(tmp_path: Path) -> None:
    source = write(tmp_path, "csv", FEW_FILES)
    plan = source.plan()

    (tmp_path / "f000.csv").unlink()

    with pytest.raises((SourceChangedError, SourceNotFoundError)):
        ids_of(source, plan.units)


def test_a_large_file_among_many_small_ones_is_read_where_it_is(tmp_path: Path) -> None:
    source = write(tmp_path, "csv", MANY)
    large = tmp_path / "f000.csv"
    large.write_bytes(encoded(some_rows(0, 2), "csv") + b'1,0.5,"x",true\n' * (SMALL_FILE // 10))
    plan = source.plan()

    large.unlink()

    assert ids_of(source, plan.units[1:]) == list(range(2, 2 * MANY))
    with pytest.raises((SourceChangedError, SourceNotFoundError)):
        ids_of(source, plan.units[:1])


def test_no_value_of_a_file_shows_in_what_is_logged_of_a_unit(tmp_path: Path) -> None:
    plan = write(tmp_path, "csv", MANY).plan()

    assert "Zoë" not in repr(plan)


@dataclass(frozen=True, slots=True)
class CountingStorage:
    """Files of ten bytes; notes those that are read."""

    reads: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        del size, ahead

        def read() -> bytes:
            self.reads.append(f"{uri}@{version}")
            return b"0123456789"

        yield Reading(read)  # type: ignore[misc]  # all that is called


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is read as a whole."""

    read: object


def opened(storage: KeepingFiles, uri: str, version: str = "1", size: int | None = 10) -> bytes:
    """Return the bytes of an opened file."""
    with storage.open(uri, version, size) as file:
        data: bytes = file.read()
        return data


def test_a_kept_file_is_read_once_in_each_version() -> None:
    counting = CountingStorage()
    storage = KeepingFiles(counting)

    found = [opened(storage, "a"), opened(storage, "a"), opened(storage, "a", "2"), opened(storage, "b")]

    assert found == [b"0123456789"] * 4
    assert counting.reads == ["a@1", "a@2", "b@1"]


def test_what_is_kept_has_a_limit() -> None:
    counting = CountingStorage()
    storage = KeepingFiles(counting, max_kept=25)

    for uri in ("a", "b", "c", "c"):
        opened(storage, uri)

    units = [Unit(uri, uri, "1", 10) for uri in ("a", "b", "c")]
    assert [storage.content_of(unit) for unit in units] == [b"0123456789", b"0123456789", None]
    assert counting.reads == ["a@1", "b@1", "c@1", "c@1"]


@pytest.mark.parametrize(("size", "kept"), [(None, 0), (0, 0), (SMALL_FILE, 1), (SMALL_FILE + 1, 0)])
def test_only_small_files_of_which_the_size_is_known_are_kept(size: int | None, kept: int) -> None:
    storage = KeepingFiles(CountingStorage())

    opened(storage, "a", size=size)

    assert len(storage.kept) == kept


def test_a_piece_of_a_file_has_no_content_of_its_own() -> None:
    storage = KeepingFiles(CountingStorage())
    opened(storage, "a")

    assert storage.content_of(Unit("a#bytes=0-5", "a", "1", 5, (0, 5))) is None


@pytest.mark.parametrize(
    ("seconds", "worked", "threads"),
    [(0.010, 0.009, 1), (0.010, 0.006, 1), (0.030, 0.010, 3), (0.5, 0.01, MAX_THREADS), (0.0, 0.0, 1), (0.1, 0, 8)],
)
def test_so_many_threads_take_samples_that_one_works_while_the_others_wait(
    seconds: float, worked: float, threads: int
) -> None:
    assert threads_for(seconds, worked) == threads
