"""Parquet: what a small file may claim to hold."""

import io
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import BadDataError
from dataproc.ports.pipeline import Source
from tests.places import Folder


def put(folder: Path, rows: pa.Table, **options: object) -> Source:
    """Return the source of one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(rows, sink, **options)  # type: ignore[arg-type]  # whatever a test needs
    Folder(folder).put("a.parquet", sink.getvalue())
    return Folder(folder).source("a.parquet")


def test_a_long_value_that_stands_many_times_does_not_fill_the_memory(tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 300_000, pa.int32()), pa.array(["x" * 500_000]))
    put(tmp_path, pa.table({"a": values}), compression="zstd")
    source = Folder(tmp_path).source("a.parquet", max_unpacked=2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (unit,) = source.plan().units

    with pytest.raises(BadDataError, match=r"a\.parquet unpacks to more than 1073741824 bytes"):
        assert max(chunk.rows.nbytes for chunk in source.read(unit)) <= 2 * 64 * 1024 * 1024

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024


def test_values_that_stand_many_times_are_what_they_were(tmp_path: Path) -> None:
    rows = pa.table({"a": [None, "paid", "open", "open"] * 5000, "b": pa.array([b"x", None] * 10_000, pa.binary())})
    source = put(tmp_path, rows, row_group_size=3000)

    found = [chunk.rows.drop_columns([POSITION]) for unit in source.plan().units for chunk in source.read(unit)]

    assert pa.concat_tables(found) == rows


def test_a_footer_that_claims_an_absurd_size_is_refused_while_planning(tmp_path: Path) -> None:
    source = put(tmp_path, pa.table({"a": pa.array(range(100_000))}), compression="zstd", use_dictionary=False)

    with pytest.raises(BadDataError, match=r"a\.parquet unpacks to more than 5000 bytes"):
        Folder(tmp_path).source("a.parquet", max_unpacked=5000).plan()
    assert source.plan().rows == 100_000


TEXTS = pa.table({"a": ["paid", "open", "open", None] * 2000, "s": pa.array([{"b": "x"}] * 8000)})
NUMBERS = pa.table(
    {
        "i": pa.array(range(3000), pa.int32()), "l": range(3000), "f": [1.5, None] * 1500, "b": [True, False] * 1500,
        "x": pa.array([b"abcd"] * 3000, pa.binary(4)),
    }
)  # fmt: skip


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize(
    ("rows", "encodings"),
    [
        (TEXTS, {"a": "DELTA_BYTE_ARRAY", "s.b": "DELTA_BYTE_ARRAY"}),
        (TEXTS, {"a": "DELTA_LENGTH_BYTE_ARRAY", "s.b": "DELTA_LENGTH_BYTE_ARRAY"}),
        (TEXTS, {"a": "PLAIN", "s.b": "PLAIN"}),
        (NUMBERS, {"i": "DELTA_BINARY_PACKED", "l": "BYTE_STREAM_SPLIT", "f": "BYTE_STREAM_SPLIT", "b": "RLE"}),
        (NUMBERS, {"x": "BYTE_STREAM_SPLIT", "l": "DELTA_BINARY_PACKED"}),
    ],
)
def test_a_file_in_any_encoding_is_read(
    tmp_path: Path, rows: pa.Table, encodings: dict[str, str], compression: str, version: str
) -> None:
    options = {"use_dictionary": False, "data_page_version": version, "row_group_size": 1000}
    source = put(tmp_path, rows, column_encoding=encodings, compression=compression, **options)

    found = [chunk.rows.drop_columns([POSITION]) for unit in source.plan().units for chunk in source.read(unit)]

    assert pa.concat_tables(found).to_pylist() == rows.to_pylist()
