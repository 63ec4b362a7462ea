"""Dialects of CSV files: the sign that separates the cells, found from how it divides the first records.

The rule is that of DuckDB's reader, the sign that gives the same number of cells in all records, with these limits: a
sign that cuts quoted cells is not considered, records with another number of cells may be up to half, and the comma is
left only for a sign that divides the first record in a more natural way.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.compression import without_packing_name
from dataproc.sources.files.lines import BOM, Head
from dataproc.sources.files.quoting import is_comment, reader_of

COMMA, TAB = ",", "\t"
SIGNS = (COMMA, ";", TAB, "|")
RECORDS = 1000
"""Records of a sample that are looked at."""
HALF = 0.5
NEVER = "\x1f\x1e\x1d\x1c\x01\x02"
"""Signs that text does not have; with one of them as delimiter, a record is one cell."""
TAB_NAMES = (".tsv", ".tab")
NUMBER_WITH_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Division:
    """How a sign divides records.

    It has the cells of the first record, the number of cells of each record with values, the number that they should
    have, and how many records there are.
    """

    sign: str
    first: Sequence[str]
    counts: Sequence[int]
    expected: int
    records: int
    has_header: bool = False

    @property
    def share(self) -> float:
        """The share of the records that have the expected number of cells."""
        return sum(count == self.expected for count in self.counts) / len(self.counts)

    @property
    def parts(self) -> int:
        """The cells into which the sign divides the header, or more than half of the records."""
        cells = usual(self.counts)
        in_records = cells if self.counts.count(cells) > HALF * len(self.counts) else 1
        return max(len(self.first), in_records) if self.has_header else in_records

    @property
    def is_plausible(self) -> bool:
        """Whether the sign divides the records, and at least half of them alike."""
        return self.expected > 1 and self.share >= HALF

    @property
    def is_natural(self) -> bool:
        """Whether no cell of the first record has another sign, but before a space or, as a comma, in a number."""
        text = [NUMBER_WITH_COMMA.sub("", cell) for cell in self.first]
        others = "".join(sign for sign in SIGNS if sign != self.sign)
        return not any(cell[:1] == " " or re.search(rf"[{re.escape(others)}](?! )", cell) for cell in text)

    @property
    def rank(self) -> tuple[bool, bool, float, int]:
        """The greater, the better."""
        return self.is_natural, self.sign == COMMA, self.share, self.expected


@dataclass(frozen=True, slots=True)
class Found:
    """The sign that separates cells; without `has_records`, only a header shows it."""

    sign: str
    has_records: bool
    is_one_column: bool = False


def delimiter_of(head: Head, options: CsvOptions, name: str) -> Found | None:
    """Return the sign between the cells of a file; `None` if its head has no record, nor a header.

    Where no sign divides the records, one that divides most of them, or the header, is taken, for rows with too many or
    too few cells are set aside with their line. Where none does that either, a record is one cell.
    """
    lines = sample_lines(head, options)
    signs = [sign for sign in SIGNS if sign not in {options.quote, options.escape, options.comment}]
    strict = [each for sign in signs if (each := division(lines, sign, options, is_strict=True)) is not None]
    found = strict or [each for sign in signs if (each := division(lines, sign, options)) is not None]
    if not found:
        return None
    has_records = found[0].records > int(options.header)
    plausible = [each for each in found if each.is_plausible]
    tabs = [each for each in plausible if each.sign == TAB and without_packing_name(name).endswith(TAB_NAMES)]
    # Rows with too many cells must not make another sign of the text the delimiter.
    ragged = [each for each in found if each.sign == COMMA and each.parts > 1 and each.share > 0]
    if ragged and not any(each.is_natural for each in plausible):
        plausible = ragged
    if tabs or plausible:
        return Found(max(tabs or plausible, key=lambda each: each.rank).sign, has_records)
    divides = max(found, key=lambda each: each.parts)
    if divides.parts > 1:
        return Found(divides.sign, has_records)
    if not any(sign.encode() in line for sign in signs for line in lines):
        return Found(COMMA, has_records, is_one_column=True)
    return Found(next(sign for sign in NEVER if sign.encode() not in head.text), has_records, is_one_column=True)


def usual(counts: Sequence[int]) -> int:
    """Return the number of cells that most records have; of those that are as frequent, the one that came first."""
    return Counter(counts).most_common(1)[0][0]


def sample_lines(head: Head, options: CsvOptions) -> list[bytes]:
    """Return the lines of a head after those to skip, without comments and blank ones, and without a part of one."""
    found = head.text.removeprefix(BOM).splitlines(keepends=True)[options.skip :]
    whole = found if head.is_whole else found[:-1]
    return [line for line in whole if line.strip() and not is_comment(line, options)]


def division(lines: Sequence[bytes], sign: str, options: CsvOptions, *, is_strict: bool = False) -> Division | None:
    """Return how a sign divides the first records; `None`: there are none, or, `is_strict`, it cuts quoted cells."""
    dialect = options.model_copy(update={"delimiter": sign})
    try:
        records = list(islice(cells_of(lines, dialect, is_strict=is_strict), RECORDS))
    except csv.Error:
        return None
    if not records or (is_strict and options.quote is not None and has_stray_quotes(lines, records, options.quote)):
        return None
    first, counts = records[0], [len(record) for record in records]
    if options.columns is not None:
        return Division(sign, first, counts[int(options.header) :] or counts, len(options.columns), len(records))
    if not options.header:
        return Division(sign, first, counts, usual(counts), len(records))
    has_empty_end = len(first) > 1 and not first[-1] and usual(counts[1:] or counts) == len(first) - 1
    return Division(sign, first, counts[1:] or counts, len(first) - int(has_empty_end), len(records), has_header=True)


def cells_of(lines: Sequence[bytes], options: CsvOptions, *, is_strict: bool) -> Iterator[list[str]]:
    """Yield the cells of each record."""
    yield from reader_of((line.decode(errors="replace") for line in lines), options, is_strict=is_strict)


def has_stray_quotes(lines: Sequence[bytes], records: Sequence[Sequence[str]], quote: str) -> bool:
    """Return whether a quote stands in a cell that does not begin with one: within quotes, each is written twice."""
    if len(records) == RECORDS:
        lines = lines[:RECORDS]  # records with newlines in them take more lines, which have more quotes
    written = sum(line.count(quote.encode()) for line in lines)
    return written < 2 * sum(cell.count(quote) for record in records for cell in record)
