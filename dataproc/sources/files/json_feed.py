"""The text of a JSON file on its way to the parser: nothing too deep, no record too long."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from dataproc.domain.errors import BadDataError
from dataproc.sources.files.lines import BOM, LONGEST_LINE

DEEPEST = 200
OPENING, CLOSING = (np.frombuffer(signs, np.uint8) for signs in (b"[{", b"]}"))


@dataclass(slots=True)
class Feed:
    """A file for the parser, made of parts; counts what was read since the last record."""

    uri: str
    parts: Iterator[bytes]
    held: bytes = field(default=b"", init=False)
    total: int = field(default=0, init=False)
    since: int = field(default=0, init=False)
    depth: int = field(default=0, init=False)
    in_text: bool = field(default=False, init=False)
    escaped: bool = field(default=False, init=False)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        while not self.held and size:
            part = next(self.parts, None)
            if part is None:
                return b""
            self.held = part if self.total else part.removeprefix(BOM)
        found, self.held = self.held[:size], self.held[size:]
        self.total += len(found)
        self.since += len(found)
        if self.since > LONGEST_LINE:
            self.refuse(f"a record is longer than {LONGEST_LINE >> 20} MiB")
        self.measure(found)
        return found

    def measure(self, found: bytes) -> None:
        """Follow how deep objects and arrays are nested; brackets within text do not count."""
        data = np.frombuffer(found, np.uint8)
        signs = np.flatnonzero((data == ord('"')) & ~self.escapes(data))
        inside = np.searchsorted(signs, np.arange(len(data))) % 2 == int(not self.in_text)
        steps = np.isin(data, OPENING).astype(np.int8) - np.isin(data, CLOSING).astype(np.int8)
        depths = self.depth + np.cumsum(np.where(inside, 0, steps), dtype=np.int64)
        self.in_text ^= bool(len(signs) % 2)
        if len(depths):
            self.depth = int(depths[-1])
            if depths.max() > DEEPEST:
                self.refuse(f"objects and arrays are nested deeper than {DEEPEST}")

    def escapes(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which bytes have lost their meaning to a backslash before them."""
        found = np.zeros(len(data) + 1, np.bool_)
        found[0] = self.escaped
        for at in np.flatnonzero(data == ord("\\")):
            found[at + 1] = not found[at]
        self.escaped = bool(found[-1])
        return found[:-1]

    def refuse(self, problem: str) -> NoReturn:
        """Raise for a file that would take too much memory."""
        raise BadDataError(f"{self.uri}: {problem}; is it the right file?", uri=self.uri)
