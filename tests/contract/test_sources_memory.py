"""A file of any size is read in the same memory."""

import gzip
import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.file_kinds import MARKER, PACK, avro_bytes, avro_header, deflate
from tests.mutations import IS_LONG

READER = """
import re, sys
from pathlib import Path
from tests.places import Folder

source = Folder(Path(sys.argv[1])).source(sys.argv[2])
rows = sum(chunk.rows.num_rows for unit in source.plan().units for chunk in source.read(unit))
# `ru_maxrss` would tell of the process that started this one as well.
print(rows, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
ROOT = Path(__file__).parents[2]
RECORDS = "".join(f'{n},2026-01-{n % 28 + 1:02},"a ""note"" of\ntwo lines, {n}",{n / 100}\n' for n in range(10_000))


def rows_and_peak(folder: Path, name: str) -> tuple[int, int]:
    """Return the rows of a file, and the peak in MiB of the memory of a process that reads them."""
    words = [sys.executable, "-c", READER, str(folder), name]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    return int(told[0]), int(told[1])


@pytest.mark.parametrize("kind", ["csv", "csv.zst"])
def test_four_times_the_file_takes_no_more_memory(tmp_path: Path, kind: str) -> None:
    pack = PACK[kind.removeprefix("csv").removeprefix(".")]
    for name, copies in (("small", 40), ("large", 160)):
        data = pack(b"id,day,note,price\n" + RECORDS.encode() * copies)
        (tmp_path / f"{name}.{kind}").write_bytes(data)

    small, large = (rows_and_peak(tmp_path, f"{name}.{kind}") for name in ("small", "large"))

    assert (small[0], large[0]) == (400_000, 1_600_000)
    assert large[1] < small[1] + 150
    assert large[1] < 1024


BOMB = """
import re, sys
from pathlib import Path
import pyarrow as pa
from dataproc.domain.errors import BadDataError
from tests.contract.conformance import read_all
from tests.places import Folder

def memory(kind):
    return int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

name, before = sys.argv[2], memory("VmRSS")
records = {"records": "/rows"} if ".json" in name else {}
try:
    read_all(Folder(Path(sys.argv[1])).source(name, max_unpacked=2**40, **records))
except BadDataError as exc:
    assert name in str(exc)
    print(memory("VmHWM") - before)
"""
MIB = 2**20
FILLING = gzip.compress(b"x" * 16 * MIB)


def one_value(before: bytes, after: bytes) -> bytes:
    """Return a packed text with one value of 2 GiB between its start and its end."""
    return gzip.compress(before) + FILLING * 128 + gzip.compress(after)


def large_page() -> bytes:
    """Return a Parquet file with one page, of one value of 1 GiB."""
    sink, value = io.BytesIO(), pa.array([bytes(1024 * MIB)], pa.binary())
    pq.write_table(pa.table({"a": value}), sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def avro_of(kind: object, count: int, data: bytes) -> bytes:
    """Return an Avro file with one packed block."""
    schema = {"type": "record", "name": "row", "fields": [{"name": "a", "type": kind}]}
    packed = deflate(data)
    return (
        avro_header(schema, "deflate") + avro_bytes("long", count) + avro_bytes("long", len(packed)) + packed + MARKER
    )


LISTS = {"type": "array", "items": {"type": "array", "items": "int"}}
MANY = 64 * MIB - 9
BOMBS: Mapping[str, Callable[[], bytes]] = {
    "quoted.csv.gz": lambda: one_value(b'id,t\n1,"', b'"\n'),
    "header.csv.gz": lambda: one_value(b"id,", b"\n1,2\n"),
    "text.jsonl.gz": lambda: one_value(b'{"a":"', b'"}\n'),
    "inside.json.gz": lambda: one_value(b'{"rows":[{"a":"', b'"}]}'),
    "before.json.gz": lambda: one_value(b'{"pad":"', b'","rows":[{"a":1}]}'),
    "after.json.gz": lambda: one_value(b'{"rows":[{"a":1}],"pad":"', b'"}'),
    "page.parquet": large_page,
    "records.avro": lambda: avro_of("boolean", 64 * MIB, bytes(64 * MIB)),
    "lists.avro": lambda: avro_of(LISTS, 1, avro_bytes("long", MANY) + bytes(MANY) + b"\0"),
    "length.avro": lambda: avro_of("string", 1, avro_bytes("long", 2**40) + b"x"),
    "header.avro": lambda: b"Obj\x01" + avro_bytes("long", 1) + avro_bytes("long", 2**40) + b"x",
}


SHORT = ("quoted.csv.gz", "inside.json.gz", "length.avro", "header.avro")
"""Those of which the suite has one for each reader; `DATAPROC_FUZZ=long` has all."""


@pytest.mark.parametrize("name", BOMBS if IS_LONG else SHORT)
def test_a_small_file_that_holds_gigabytes_is_bad_data_within_a_gigabyte(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name]())

    words = [sys.executable, "-c", BOMB, str(tmp_path), name]
    peak = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout

    assert int(peak) < 1024
