"""The bytes of a binary COPY as they arrive, cut between rows.

PostgreSQL sends a message for each row (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY), and
whoever hands the bytes on joins whole messages. So what arrives at once begins with a row, and only the cuts are
looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct, error

from dataproc.domain.errors import SourceRefusedError

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
"""Signature, no flags, no header extension."""
TRAILER = b"\xff\xff"
PIECE = 4 * 1024 * 1024
"""Bytes beyond which a piece ends with the row that reaches them."""
FIELDS, LENGTH = Struct("!h"), Struct("!i")


@dataclass(slots=True)
class RowCutter:
    """Takes the bytes of a COPY of so many columns and gives pieces of whole rows, without header and trailer.

    The cuts depend on the rows alone, not on how the bytes arrive: who reads the same rows again gets the same pieces.
    """

    columns: int
    size: int = PIECE
    parts: list[memoryview] = field(default_factory=list)
    held: int = 0
    has_begun: bool = False
    has_ended: bool = False

    def take(self, data: bytes | bytearray) -> Iterator[bytes]:
        """Take what arrived; yield the pieces that are full."""
        left = self.without_header(data)
        while left:
            if not self.begins_row(left):
                return
            if self.held + len(left) < self.size:
                self.hold(left)
                return
            end = self.row_end(left, self.size - self.held)
            self.hold(left[:end])
            if self.held >= self.size:
                yield self.give()
            left = left[end:]

    def rest(self) -> bytes:
        """Return the last piece, which may be empty; refuse a COPY that did not come to its end."""
        last = self.parts.pop() if self.parts else memoryview(b"")
        if not self.has_ended:
            if bytes(last[-len(TRAILER) :]) != TRAILER:
                raise broken("has no end")
            last = last[: -len(TRAILER)]
        self.hold(last)
        return self.give()

    def without_header(self, data: bytes | bytearray) -> memoryview:
        """Return what follows the header, which comes with the first row."""
        view = memoryview(data)
        if self.has_begun:
            return view
        if bytes(view[: len(HEADER)]) != HEADER:
            raise broken("has no header")
        self.has_begun = True
        return view[len(HEADER) :]

    def begins_row(self, data: memoryview) -> bool:
        """Whether a row begins here; `False` for the trailer."""
        if data == TRAILER:
            self.has_ended = True
            return False
        if self.has_ended or len(data) < FIELDS.size or FIELDS.unpack_from(data)[0] != self.columns:
            raise broken("comes in other pieces than rows")
        return True

    def row_end(self, data: memoryview, least: int) -> int:
        """Return where the first row ends that reaches `least` bytes; the trailer belongs to no row."""
        at = 0
        try:
            while at < least and at < len(data) - len(TRAILER):
                at += FIELDS.size
                for _ in range(self.columns):
                    at += LENGTH.size + max(LENGTH.unpack_from(data, at)[0], 0)
        except error as exc:
            raise broken("ends within a row") from exc
        if at > len(data):
            raise broken("ends within a row")
        return at

    def hold(self, data: memoryview) -> None:
        """Keep bytes for the piece that is being filled."""
        self.parts.append(data)
        self.held += len(data)

    def give(self) -> bytes:
        """Return the piece."""
        piece = b"".join(self.parts)
        self.parts, self.held = [], 0
        return piece


def broken(how: str) -> SourceRefusedError:
    """Return the error for bytes that are no COPY of PostgreSQL, as only another server or a proxy would send."""
    return SourceRefusedError(f"the binary COPY {how}; is it a PostgreSQL that answers, and no proxy that changes it?")
