"""Byte ranges own each line exactly once; blocks hold whole records."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError
from dataproc.domain.unit import Unit
from dataproc.sources.files import lines
from dataproc.sources.files.json_lines import JsonLinesFormat
from dataproc.sources.files.storage import FoundFile

texts = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b"\n\n", b"long line", b""]), max_size=60).map(b"".join)


def units_of(data: bytes, unit_size: int) -> list[Unit]:
    file = FoundFile("files://a.csv", "1", len(data))
    spans = lines.TextForm().spans(file, unit_size) or [(0, len(data))]
    return [file.unit(pa.schema([]), kind="bytes", span=span, size=span[1] - span[0], rows=None) for span in spans]


@given(data=texts, unit_size=st.integers(1, 40))
def test_byte_ranges_cover_every_line_exactly_once(data: bytes, unit_size: int) -> None:
    found = [b"".join(JsonLinesFormat(1).parts(pa.BufferReader(data), unit)) for unit in units_of(data, unit_size)]

    assert b"".join(found) == data
    assert [line for part in found for line in part.split(b"\n") if line] == [
        line for line in data.split(b"\n") if line
    ]


@given(data=texts, unit_size=st.integers(1, 40))
def test_ranges_are_about_as_large_as_the_unit_size(data: bytes, unit_size: int) -> None:
    units = units_of(data, unit_size)

    assert sum(unit.size for unit in units) == len(data)
    assert all(unit.size <= unit_size for unit in units)
    assert len({unit.id for unit in units}) == len(units)


@given(data=texts, cuts=st.lists(st.integers(1, 9), max_size=40))
def test_blocks_hold_whole_lines_and_lose_nothing(data: bytes, cuts: list[int]) -> None:
    parts, rest = [], data
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]

    found = list(lines.blocks([*parts, rest], "files://a", lines.last_line_end))

    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])


def test_a_line_without_end_is_bad_data() -> None:
    with pytest.raises(BadDataError, match="files://a: a line is longer"):
        list(lines.blocks([b"x" * 60] * 4, "files://a", lines.last_line_end, longest=100))


def test_a_compressed_file_stays_whole() -> None:
    assert lines.TextForm().spans(FoundFile("files://a.csv.gz", "1", 1000), 10) == []
    assert lines.TextForm("zstd").spans(FoundFile("files://a.csv", "1", 1000), 10) == []
    assert len(lines.TextForm("none").spans(FoundFile("files://a.csv.gz", "1", 1000), 100)) == 10


@pytest.mark.parametrize("encoding", ["utf-16", "shift_jis", "cp037", "gb18030"])
def test_a_file_whose_newline_may_be_part_of_a_character_stays_whole(encoding: str) -> None:
    assert lines.TextForm(encoding=encoding).spans(FoundFile("files://a.csv", "1", 1000), 10) == []
    assert len(lines.TextForm(encoding="cp1252").spans(FoundFile("files://a.csv", "1", 1000), 100)) == 10
