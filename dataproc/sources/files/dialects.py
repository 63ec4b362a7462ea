"""Dialects of CSV files: the sign that separates the cells, found from how it divides the first records.

The rule is that of DuckDB's reader: the sign that gives the same number of cells in all records.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.lines import BOM, Head
from dataproc.sources.files.quoting import is_comment, reader_of

SIGNS = (",", ";", "\t", "|")
RECORDS = 1000
"""Records of a sample that are looked at."""
HALF = 0.5
ONE_COLUMN = "\x1f"
"""A delimiter that text does not have: with it, a record is one cell."""
TAB_NAMES = (".tsv", ".tab")


@dataclass(frozen=True, slots=True)
class Division:
    """How a sign divides records: the cells of the first one, the usual number of cells, and the share that has it."""

    sign: str
    first: int
    cells: int
    share: float

    @property
    def is_plausible(self) -> bool:
        """Whether most records have the cells of the first one; that may have an empty one more, at its end."""
        return self.cells > 1 and self.share > HALF and self.first - self.cells in (0, 1)

    @property
    def rank(self) -> tuple[float, int]:
        """The greater, the better: records with the same number of cells first, then more cells."""
        return self.share, self.cells


def delimiter_of(head: Head, options: CsvOptions, name: str) -> str | None:
    """Return the sign between the cells of a file; `None` if its head has no record.

    Where no sign divides the records alike, the one that divides the first record most, for rows with too many or too
    few cells are set aside with their line; where none does that either, a record is one cell.
    """
    lines = sample_lines(head, options)
    taken = {options.quote, options.escape, options.comment}
    found = [each for sign in SIGNS if sign not in taken and (each := division(lines, sign, options)) is not None]
    if not found:
        return None
    plausible = [each for each in found if each.is_plausible]
    tabs = [each for each in plausible if each.sign == "\t" and name.lower().endswith(TAB_NAMES)]
    if tabs or plausible:
        return max(tabs or plausible, key=lambda each: each.rank).sign
    divides = max(found, key=lambda each: each.first)
    if options.header and divides.first > 1:
        return divides.sign
    return "," if all(each.cells == 1 and each.share == 1 for each in found) else ONE_COLUMN


def sample_lines(head: Head, options: CsvOptions) -> list[bytes]:
    """Return the lines of a head after those to skip, without comments and blank ones, and without a part of one."""
    found = list(islice(io.BytesIO(head.text.removeprefix(BOM)), options.skip, None))
    whole = found if head.is_whole else found[:-1]
    return [line for line in whole if line.strip() and not is_comment(line, options)]


def division(lines: Iterable[bytes], sign: str, options: CsvOptions) -> Division | None:
    """Return how a sign divides the first records; `None`: there are none, or they cannot be read with it."""
    counts = list(islice(cell_counts(lines, options.model_copy(update={"delimiter": sign})), RECORDS))
    if not counts:
        return None
    # Of numbers of cells that are as frequent, the one that came first.
    cells, records = Counter(counts).most_common(1)[0]
    return Division(sign, counts[0], cells, records / len(counts))


def cell_counts(lines: Iterable[bytes], options: CsvOptions) -> Iterator[int]:
    """Yield the number of cells of each record."""
    try:
        for record in reader_of((line.decode(errors="replace") for line in lines), options):
            yield len(record)
    except csv.Error:
        return
