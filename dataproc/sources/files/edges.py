"""Where a CSV file may be cut: at the beginning of a record, known for certain from the text around it.

Seen from the middle of a file, a newline may end a record or stand within quotes. In a well-formed file an opening
quote comes after a delimiter or a newline, a closing one before; so of the two ways to read a window, one is impossible
as soon as it has quotes around text. Where both are possible, or neither, the next window is looked at; where none can
tell, no cut is made.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.lines import bytes_at
from dataproc.sources.files.quoting import masked
from dataproc.sources.files.storage import Files, FoundFile

Places = npt.NDArray[np.int64]

WINDOW = 256 * 1024
WINDOWS = 8
EDGES_AT_ONCE = 16
NOWHERE: Places = np.empty(0, np.int64)
EVEN = 0.9
"""Share of lines that look like records; a few may be ragged, or comments."""


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts one file whose records begin at `first`, each of `columns` cells; `window` bytes are read on either side."""

    storage: Files
    file: FoundFile
    options: CsvOptions
    first: int
    columns: int
    window: int = WINDOW

    def cut(self, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return spans like these, moved to where records begin; some may have become one."""
        with ThreadPoolExecutor(EDGES_AT_ONCE, thread_name_prefix="edge") as pool:
            found = set(pool.map(self.near, spans[1:]))
        inner = {edge for edge in found if edge is not None and self.first < edge < self.file.size}
        return list(pairwise([0, *sorted(inner), self.file.size]))

    def near(self, span: tuple[int, int]) -> int | None:
        """Return where a record is known to begin in a span, as early as can be told; `None`: nowhere."""
        edge, stop = span
        with self.storage.open(self.file.uri, self.file.version, self.file.size) as file:
            for number in range(WINDOWS):
                start = max(edge - self.window, 0) + number * 2 * self.window
                found = self.begin_in(file, start, edge)
                if found is not None or start >= stop:
                    return found if found is not None and found < stop else None
        return None

    def begin_in(self, file: pa.NativeFile, start: int, edge: int) -> int | None:
        """Return where the first record at `edge` or later begins, as the window from `start` on tells."""
        is_first = start <= self.first
        start = max(start, self.first)
        window = bytes_at(file, start, 2 * self.window)
        line = 0 if is_first else window.find(b"\n") + 1
        plain = masked(window[line:], self.options)
        outside = self.outside(plain, is_first=is_first)
        if outside is None:
            return None
        begins = outside + (1 + start + line)
        return next((int(begin) for begin in begins[begins >= edge]), None)

    def outside(self, plain: bytes, *, is_first: bool) -> Places | None:
        """Return the newlines that end records; `None`: it cannot be told."""
        quotes = places(plain, self.options.quote)
        ways = [opened for opened in (False, True) if self.is_possible(plain, quotes, opened=opened)]
        if is_first:
            ways = [opened for opened in ways if not opened]
        elif quotes.size == 0:
            ways = [False] * self.is_plain(plain)
        elif len(ways) > 1:
            ways = [opened for opened in ways if self.is_even(plain, quotes, opened=opened)]
        return outside_of(quotes, places(plain, "\n"), opened=ways[0]) if len(ways) == 1 else None

    def is_plain(self, plain: bytes) -> bool:
        """Whether text without quotes is no quoted value: long enough, and made of records."""
        if self.options.quote is None:
            return True
        return len(plain) >= self.window and plain.count(b"\n") > 1 and self.is_even(plain, NOWHERE, opened=False)

    def is_possible(self, plain: bytes, quotes: Places, *, opened: bool) -> bool:
        """Whether quotes stand where they may, if one is open at the beginning of a window, or none is."""
        data = np.frombuffer(b"\n" + plain + b"\n", np.uint8)
        signs = np.array([ord(sign) for sign in f"{self.options.delimiter}\r\n{self.options.quote or ''}"], np.uint8)
        opening, closing = quotes[int(opened) :: 2], quotes[1 - int(opened) :: 2]
        return bool(np.isin(data[opening], signs).all() and np.isin(data[closing + 2], signs).all())

    def is_even(self, plain: bytes, quotes: Places, *, opened: bool) -> bool:
        """Whether the records of a window have as many cells as the file has columns; a few may be ragged."""
        newlines = outside_of(quotes, places(plain, "\n"), opened=opened)
        delimiters = outside_of(quotes, places(plain, self.options.delimiter), opened=opened)
        is_blank = np.diff(newlines) <= 2  # with a carriage return, or without
        cells = np.diff(np.searchsorted(delimiters, newlines))[~is_blank] + 1
        return bool(np.count_nonzero(cells == self.columns) >= EVEN * cells.size)


def outside_of(quotes: Places, signs: Places, *, opened: bool) -> Places:
    """Return those of `signs` that are outside quotes, where one is open at the beginning, or none is."""
    return np.compress(np.searchsorted(quotes, signs) % 2 == int(opened), signs)


def places(block: bytes, sign: str | None) -> Places:
    """Return where a character stands."""
    if sign is None or sign.encode() not in block:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.frombuffer(block, np.uint8) == ord(sign))
