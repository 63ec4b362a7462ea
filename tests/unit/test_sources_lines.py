"""Byte ranges own each line exactly once; blocks hold whole records."""

import bz2
import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError
from dataproc.domain.unit import Unit
from dataproc.sources.files import lines
from dataproc.sources.files.json_lines import JsonLinesFormat
from dataproc.sources.files.storage import FoundFile

UTF8 = lines.TextForm()

texts = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b"\n\n", b"long line", b""]), max_size=60).map(b"".join)


@dataclass(frozen=True)
class Stored:
    """One file in memory."""

    data: bytes

    def find(self) -> Iterator[FoundFile]:
        yield FoundFile("files://a.csv", "1", len(self.data))

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        yield from files

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        del uri, version, size, ahead
        yield pa.BufferReader(self.data)


def spans_of(data: bytes, unit_size: int, form: lines.TextForm = UTF8) -> list[tuple[int, int]]:
    storage = Stored(data)
    return form.spans(storage, next(storage.find()), unit_size)


def units_of(data: bytes, unit_size: int) -> list[Unit]:
    file = FoundFile("files://a.csv", "1", len(data))
    spans = spans_of(data, unit_size) or [(0, len(data))]
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


PLAIN = b"a,b\n" * 250


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (gzip.compress(PLAIN * 9, mtime=0), UTF8),
        (bz2.compress(PLAIN * 9), UTF8),
        (PLAIN, lines.TextForm("zstd")),
        (PLAIN.decode().encode("utf-16"), UTF8),
        (PLAIN.decode().encode("utf-32"), UTF8),
        (b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"), UTF8),
        *((PLAIN, lines.TextForm(encoding=encoding)) for encoding in ("utf-16", "shift_jis", "cp037", "gb18030")),
    ],
)
def test_a_file_in_which_a_newline_is_not_one_byte_stays_whole(data: bytes, form: lines.TextForm) -> None:
    assert spans_of(data, 10, form) == []


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (PLAIN, UTF8),
        (b"\xef\xbb\xbf" + PLAIN[3:], UTF8),
        (gzip.compress(PLAIN, 0, mtime=0), lines.TextForm("none")),
        (PLAIN, lines.TextForm(encoding="cp1252")),
    ],
)
def test_a_large_file_of_lines_is_cut(data: bytes, form: lines.TextForm) -> None:
    assert len(spans_of(data, 100, form)) == -(-len(data) // 100)
