"""Quotes in CSV: where records end, where the header ends, and which quotes are never closed."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.lines import BOM, LONGEST_LINE, LOOK, SAMPLE, last_line_end

if TYPE_CHECKING:
    import _csv

END = "\x00end\x00"
# Python's reader takes values of up to 128 KiB, unless the process is told otherwise; Arrow's knows no such limit.
csv.field_size_limit(LONGEST_LINE)
NEXT_RECORDS = 100
"""Records that show whether a column without a name at the end of a header is one."""
LONGEST_RECORD = 100
"""Lines that one record may span when a block has to be repaired."""


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, how many bytes come before the first record, and which names the file does not give."""

    names: tuple[str, ...]
    length: int
    generated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstRecord:
    """The first record that is neither blank nor a comment, its bytes, and how many cells the next ones have.

    They are counted only where the first record ends with an empty cell.
    """

    cells: list[str]
    length: int
    next_counts: tuple[int, ...]


def header_of(sample: bytes, options: CsvOptions, uri: str) -> Header:
    """Return the header of a file that begins with `sample`.

    A column without a name gets that of its place, as all do in a file without a header: `c0`, `c1`, …. An empty cell
    at the end of the header is a column only if most of the first records have a cell for it.
    """
    skip = len(BOM) if sample.startswith(BOM) else 0
    skip += sum(len(line) for line in islice(io.BytesIO(sample[skip:]), options.skip))
    found = first_record(sample[skip : skip + SAMPLE], options, uri)
    if found is None:
        return Header(options.columns or (), skip)
    if options.header:
        skip += found.length
    if options.columns is not None:
        return Header(options.columns, skip)
    if not options.header:
        return Header(tuple(f"c{index}" for index in range(len(found.cells))), skip)
    cells = found.cells
    while (
        len(cells) > 1
        and not cells[-1]
        and sum(count >= len(cells) for count in found.next_counts) * 2 <= len(found.next_counts)
    ):
        cells = cells[:-1]
    names = with_names(cells)
    return Header(names, skip, tuple(name for name, cell in zip(names, cells, strict=True) if not cell))


def has_record(sample: bytes, options: CsvOptions, uri: str) -> bool:
    """Return whether a sample has the header and at least one whole record after it."""
    # Even where no line ends outside of quotes, the last line end of a long text is returned.
    end = last_record_end(sample, options, looked_at=len(sample))
    return end > header_of(sample, options, uri).length


def with_names(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of a header with a name of its place for each that is empty, other than the names of others."""
    names = list(cells)
    for index, cell in enumerate(cells):
        name = cell or f"c{index}"
        while not cell and name in names:
            name += "_"
        names[index] = name
    return tuple(names)


def first_record(sample: bytes, options: CsvOptions, uri: str) -> FirstRecord | None:
    """Return the first record of a text that is neither blank nor a comment."""
    ends = sample.splitlines(keepends=True)
    before = next(
        (at for at, line in enumerate(ends) if line.strip(b"\r\n") and not is_comment(line, options)), len(ends)
    )
    try:
        reader = reader_of((line.decode() for line in ends[before:]), options)
        cells = next(reader, None)
    except (csv.Error, UnicodeDecodeError) as exc:
        msg = f"{uri}: the first line cannot be read as csv: {exc}; is `encoding` right?"
        raise BadDataError(msg, uri=uri) from exc
    if cells is None:
        return None
    length = sum(len(line) for line in ends[: before + reader.line_num])
    return FirstRecord(cells, length, next_counts(sample[length:], options) if not cells[-1:] or not cells[-1] else ())


def next_counts(text: bytes, options: CsvOptions) -> tuple[int, ...]:
    """Return the numbers of cells of the first records of a text; a reader of the file sees so much of it, too."""
    lines = [line for line in text[:LOOK].splitlines(keepends=True) if line.strip() and not is_comment(line, options)]
    reader = reader_of((line.decode(errors="replace") for line in lines[:-1] or lines), options)
    counts: list[int] = []
    with suppress(csv.Error):
        counts.extend(len(record) for record in islice(reader, NEXT_RECORDS))
    return tuple(counts)


def is_comment(line: bytes, options: CsvOptions) -> bool:
    """Whether a line that begins a record is a comment."""
    return options.comment is not None and line.startswith(options.comment.encode())


def masked(block: bytes, options: CsvOptions) -> bytes:
    """Return a block as long, in which no character is escaped."""
    if options.escape is None or options.escape.encode() not in block:
        return block
    return re.sub(re.escape(options.escape.encode()) + b".", b"__", block, flags=re.DOTALL)


def last_record_end(block: bytes, options: CsvOptions, looked_at: int = SAMPLE) -> int:
    """Return where the last line ends that is outside quotes, and 0 where all lines of a short block are within.

    Where none of the last bytes looked at is outside, a quote is stray, and it is where the last of all lines ends.
    """
    plain = masked(block, options)
    quote = (options.quote or "").encode()
    before, stop = plain.count(quote) if quote else 0, len(plain)
    if before == 0:
        return last_line_end(plain)
    while (newline := plain.rfind(b"\n", 0, stop)) >= 0 and len(plain) - newline - 1 <= looked_at:
        before -= plain.count(quote, newline, stop)
        if before % 2 == 0:
            return newline + 1
        stop = newline
    return 0 if newline < 0 and len(plain) <= looked_at else last_line_end(block)


def repaired(
    block: bytes, columns: int, options: CsvOptions
) -> tuple[bytes, list[tuple[int, str]], npt.NDArray[np.int64]]:
    """Return a block without the lines whose quote is never closed, those lines, and their numbers."""
    if options.quote is None or options.quote.encode() not in block:
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
    quote = (options.quote or "").encode()
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


def reader_of(text: Iterator[str], options: CsvOptions, *, is_strict: bool = False) -> "_csv.Reader":
    """Return Python's reader, set up as Arrow's is; with `is_strict`, it refuses text after a closing quote."""
    sign, escape = options.delimiter, options.escape
    if options.quote is None:
        return csv.reader(text, delimiter=sign, escapechar=escape, quoting=csv.QUOTE_NONE)
    return csv.reader(text, delimiter=sign, quotechar=options.quote, escapechar=escape, strict=is_strict)
