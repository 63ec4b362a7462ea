"""Files that end the process that reads them: nothing else ends, and the file is named."""

import os
import pickle
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import BadDataError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.pipeline import Source
from dataproc.sources.files.isolated import IsolatedReaders, ReaderProcesses, reader_processes
from dataproc.sources.files.source import FileSource
from tests.contract.conformance import read_all
from tests.deadly import KILLER, WAITING, DeadlyStorage
from tests.file_kinds import encoded, some_rows
from tests.places import Folder


def isolated(source: Source, readers: IsolatedReaders | None = None) -> FileSource:
    """Return a source of files whose files may end the process that reads them."""
    assert isinstance(source, FileSource)
    return replace(source, storage=DeadlyStorage(source.storage), readers=readers or IsolatedReaders())


def read_isolated(source: FileSource) -> tuple[SourcePlan, list[dict[str, object]], list[dict[str, object]]]:
    """Return the plan of a source, its rows and its rejects, read as by the second attempt at each unit."""
    plan = source.plan()
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own value
    chunks = [chunk for unit in plan.units for chunk in copy.read(replace(unit, isolated=True))]
    rows = [row for chunk in chunks for row in chunk.rows.drop_columns([POSITION]).to_pylist()]
    return plan, rows, [reject for chunk in chunks for reject in chunk.rejects.to_pylist()]


@pytest.mark.parametrize("kind", ["avro", "json"])
def test_a_file_that_ends_its_reader_is_named(tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path)
    folder.put(f"a.{kind}", encoded(some_rows(0, 10), kind))
    folder.put(f"b.{kind}", KILLER + encoded(some_rows(0, 10), kind))

    with pytest.raises(BadDataError, match=rf"b\.{kind} cannot be read: it ends the process that reads it"):
        read_isolated(isolated(folder.source(f"*.{kind}")))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_that_ends_its_reader_is_set_aside_where_damage_is_skipped(tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path)
    for name in ("a", "c", "d"):
        folder.put(f"{name}.{kind}", encoded(some_rows(0, 10), kind))
    folder.put(f"b.{kind}", KILLER + encoded(some_rows(0, 10), kind))
    folder.put(f"e.{kind}", KILLER)

    plan, rows, rejects = read_isolated(isolated(folder.source(f"*.{kind}", on_bad_file="skip")))

    assert len(rows) == 30
    assert [reject["rule"] for reject in rejects] == ["file", "file"]
    assert all("it ends the process that reads it" in str(reject["reason"]) for reject in rejects)
    assert "files are damaged and set aside (2)" in plan.notes[0]


@pytest.mark.parametrize("kind", ["parquet", "avro", "csv", "jsonl", "json"])
def test_a_sound_file_is_planned_and_read_alike_in_another_process(tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path)
    folder.put(f"a.{kind}", encoded(some_rows(), kind))
    here = folder.source(f"a.{kind}")

    plan, rows, rejects = read_isolated(isolated(here))

    assert plan == here.plan()
    assert rows == [row for chunk in read_all(here)[1] for row in chunk.rows.drop_columns([POSITION]).to_pylist()]
    assert rejects == []


def test_an_error_of_a_file_comes_from_the_other_process_as_it_is(tmp_path: Path) -> None:
    Folder(tmp_path).put("a.parquet", b"this is not a Parquet file")

    with pytest.raises(BadDataError, match=r"a\.parquet cannot be read as parquet: .*Parquet magic bytes"):
        isolated(Folder(tmp_path).source("a.parquet")).plan()


def test_a_reader_that_sends_nothing_within_the_timeout_is_ended(tmp_path: Path) -> None:
    Folder(tmp_path).put("a.jsonl", WAITING)
    source = Folder(tmp_path).source("a.jsonl")
    (unit,) = source.plan().units
    impatient = isolated(source, IsolatedReaders(timeout=timedelta(0)))

    with pytest.raises(BadDataError, match=r"a\.jsonl cannot be read: it ends the process that reads it"):
        list(impatient.read(replace(unit, isolated=True)))


def test_a_process_is_kept_for_the_next_task_and_replaced_when_it_has_died(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("a.parquet", encoded(some_rows(0, 3), "parquet"))
    folder.put("b.parquet", KILLER)
    processes = reader_processes()

    def reader_after(path: str) -> int:
        source = isolated(folder.source(path, on_bad_file="skip"))
        source.plan()
        return processes.idle[-1].process.pid

    first = reader_after("a.parquet")

    assert reader_after("a.parquet") == first
    processes.idle[-1].process.kill()
    processes.idle[-1].process.wait()
    assert reader_after("a.parquet") != first
    assert all(reader.process.poll() is None for reader in processes.idle)


def test_a_process_that_was_forked_has_no_readers_of_its_parent() -> None:
    parent = ReaderProcesses(owner=os.getpid() + 1)

    assert parent.take() is None
    assert parent.owner == os.getpid()


def encrypted(folder: Path, *, plaintext_footer: bool) -> bytes:
    """Return a Parquet file with the encrypted columns `secret` and `inner.x`."""

    class Keys(pe.KmsClient):
        def wrap_key(self, key_bytes: bytes, _: str) -> str:
            return key_bytes.hex()

    rows = pa.table({"id": [1, 2], "secret": ["a", "b"], "inner": [{"x": 1}, {"x": 2}]})
    settings = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": ["secret", "inner.x"]}, plaintext_footer=plaintext_footer
    )
    properties = pe.CryptoFactory(lambda _: Keys()).file_encryption_properties(pe.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(folder / "x", rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows)
    data = (folder / "x").read_bytes()
    (folder / "x").unlink()
    return data


@pytest.mark.parametrize(
    ("plaintext_footer", "words"),
    [(True, r"column 'secret', 'inner\.x' is encrypted"), (False, "its footer is encrypted")],
)
def test_encrypted_columns_are_named_before_they_are_decoded(
    tmp_path: Path, plaintext_footer: bool, words: str
) -> None:
    folder = Folder(tmp_path)
    folder.put("a.parquet", encrypted(tmp_path, plaintext_footer=plaintext_footer))
    folder.put("b.parquet", encoded(some_rows(0, 3), "parquet"))

    with pytest.raises(BadDataError, match=rf"a\.parquet: {words}; write the file without encryption"):
        folder.source("*.parquet").plan()
    _, chunks = read_all(folder.source("*.parquet", on_bad_file="skip"))

    assert sum(chunk.rows.num_rows for chunk in chunks) == 3
    assert [reject["rule"] for chunk in chunks for reject in chunk.rejects.to_pylist()] == ["file"]
