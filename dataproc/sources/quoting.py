"""Quotes in CSV: where the header ends, whether values span lines, and which quotes are never closed."""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.lines import BOM, last_line_end

if TYPE_CHECKING:
    import _csv

END = "\x00end\x00"
LONGEST_RECORD = 100
"""Lines that one record may span when a block has to be repaired."""


def header_of(sample: bytes, options: CsvOptions, uri: str) -> tuple[list[str], int]:
    """Return the names of the columns, and how many bytes come before the first record."""
    skip = len(BOM) if sample.startswith(BOM) else 0
    found = first_record(sample[skip:], options, uri)
    if found is None:
        return [], skip
    cells, length = found
    if options.header:
        return cells, skip + length
    return [f"c{index}" for index in range(len(cells))], skip


def first_record(sample: bytes, options: CsvOptions, uri: str) -> tuple[list[str], int] | None:
    """Return the cells and the length of the first record that is not blank."""
    ends = sample.splitlines(keepends=True)
    reader = reader_of((line.decode("utf-8-sig", "replace") for line in ends), options)
    try:
        cells = next((cells for cells in reader if cells), None)
    except csv.Error as exc:
        raise BadDataError(f"{uri}: the first line cannot be read as csv: {exc}", uri=uri) from exc
    return None if cells is None else (cells, sum(len(line) for line in ends[: reader.line_num]))


def spans_lines(sample: bytes, options: CsvOptions) -> bool:
    """Whether a quoted value contains a newline."""
    text = sample[: last_line_end(sample)].decode(errors="replace")
    try:
        return any("\n" in cell for cells in reader_of(io.StringIO(text, newline=""), options) for cell in cells)
    except csv.Error:
        return True  # not to be understood: the safe choice is not to cut it


def repaired(
    block: bytes, columns: int, options: CsvOptions
) -> tuple[bytes, list[tuple[int, str]], npt.NDArray[np.int64]]:
    """Return a block without the lines whose quote is never closed, those lines, and their numbers."""
    quote = options.quote.encode()
    if quote not in block:
        return block, [], np.empty(0, np.int64)
    kept: list[bytes] = []
    broken: list[tuple[int, str]] = []
    for number, (record, is_whole) in enumerate(records(block, columns, options)):
        if is_whole:
            kept.append(record)
        else:
            broken.append((number, record.decode(errors="replace").rstrip("\r\n")))
    return b"".join(kept), broken, np.array([number for number, _ in broken], np.int64)


def records(block: bytes, columns: int, options: CsvOptions) -> Iterator[tuple[bytes, bool]]:
    """Yield the records of a block, blank lines left out, and whether their quotes are closed."""
    quote = options.quote.encode()
    found = [line for line in block.splitlines(keepends=True) if line.strip(b"\r\n")]
    at = 0
    while at < len(found):
        length = 1 if quote not in found[at] else record_length(found[at : at + LONGEST_RECORD], columns, options)
        yield b"".join(found[at : at + max(length, 1)]), length > 0
        at += max(length, 1)


def record_length(found: list[bytes], columns: int, options: CsvOptions) -> int:
    """Return how many lines the record takes that begins with the first of `found`; 0: its quote is not closed."""
    texts = [line.decode(errors="replace") for line in found]
    reader = reader_of(chain(texts, [END]), options)
    try:
        cells = next(reader)
    except csv.Error:
        return 0
    is_open = reader.line_num > len(texts)
    if is_open or (reader.line_num > 1 and len(cells) != columns):
        return 0
    return reader.line_num


def reader_of(text: "Iterator[str] | io.StringIO", options: CsvOptions) -> "_csv.Reader":
    """Return Python's reader, set up as Arrow's is."""
    return csv.reader(text, delimiter=options.delimiter, quotechar=options.quote)
