"""What a job remembers of its source from run to run, and how one run moves it on.

A memory belongs to a job's name and a target. It changes only in the publish transaction, by compare and set: rows and
memory are committed together or not at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

DIGEST_SIZE = 16
"""Bytes of the digest of a row."""
MOST_AT_BOUNDARY = 100_000
"""Rows at a watermark of which a memory keeps the digests; of more, none."""
TOO_MANY = b"*"
"""Stands for the digests of a chunk whose unit has more of them than a memory keeps."""

CursorKind = Literal["number", "timestamp", "text"]
"""How values of a cursor are ordered: numbers, ISO 8601 timestamps, or text by its code points."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The rows at the watermark that earlier runs have read; more rows may appear later with the same value.

    For a target that is filled `by_key`, all rows at the watermark are read again. For others, `known` holds the sorted
    digests of the rows that were read, and only rows with other digests are loaded. With `None` the digests are not
    available, and no row at the watermark is read again. The digests are those of rows with these `columns`.
    """

    by_key: bool = False
    known: bytes | None = None
    columns: str = ""


NOTHING_KNOWN = Boundary()


@dataclass(frozen=True, slots=True)
class CursorMove:
    """How far an incremental source has been read: up to and with `before`, and by this run up to and with `after`.

    Values are text. Where `after` is `None` the plan cannot tell, and the greatest `high` of the chunks is taken.
    `columns` identifies the columns of a source that computes the digests of the rows at the edge of its chunks.
    `found` is the boundary that the memory held at `before`.
    """

    cursor: str
    kind: CursorKind
    before: str | None
    after: str | None = None
    columns: str | None = None
    found: Boundary = NOTHING_KNOWN

    @property
    def known(self) -> bytes | None:
        """The digests of the rows at `before` that were read; `None`: unknown, or those of other columns."""
        return self.found.known if self.columns == self.found.columns else None

    def moved(self, highs: Iterable[str]) -> str | None:
        """Return where the watermark stands after this run; it never moves back."""
        values = [value for value in (self.before, self.after) if value is not None]
        if self.after is None:
            values += highs
        return max(values, key=lambda value: order_of(value, self.kind), default=None)

    def window(self, edges: "Sequence[Edge]") -> "Window":
        """Return the window that this run has read, by the edges of its chunks."""
        up_to = self.moved(edge.high for edge in edges)
        return Window(
            self.cursor, self.before, up_to, self.boundary(edges, up_to), self.columns or "", self.found.known
        )

    def boundary(self, edges: "Iterable[Edge]", up_to: str | None) -> bytes | None:
        """Return the digests of the rows at the watermark `up_to`; `None`: they are not known, or too many."""
        if self.columns is None or up_to is None:
            return None
        at = order_of(up_to, self.kind)
        found = [edge.digests for edge in edges if order_of(edge.high, self.kind) == at]
        if TOO_MANY in found:
            return None
        if self.before is not None and order_of(self.before, self.kind) == at:
            if self.known is None:
                return None
            found.append(self.known)
        digests = joined_digests(digests_in(b"".join(found)))
        return None if digests == TOO_MANY else digests


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows a run has read: those whose cursor is beyond `after`, up to and with `up_to`; `None`: no bound.

    `boundary` holds the digests of the rows at `up_to`, and replaces the digests that were `found` in the memory.
    """

    cursor: str
    after: str | None
    up_to: str | None
    boundary: bytes | None = field(default=None, repr=False)
    columns: str = ""
    found: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """The greatest cursor of a chunk, and the digests of the rows that have it."""

    high: str
    digests: bytes = field(default=b"", repr=False)


def joined_digests(digests: Sequence[bytes]) -> bytes:
    """Return sorted digests one after the other; of more than a memory keeps, `TOO_MANY`."""
    return b"".join(sorted(digests)) if len(digests) <= MOST_AT_BOUNDARY else TOO_MANY


def digests_in(text: bytes) -> list[bytes]:
    """Return the digests that are written one after the other."""
    return [text[at : at + DIGEST_SIZE] for at in range(0, len(text), DIGEST_SIZE)]


@dataclass(frozen=True, slots=True)
class SourceObject:
    """A file or object in one version, as a source found it."""

    uri: str
    version: str
    size: int


def order_of(value: str, kind: CursorKind) -> Decimal | datetime | str:
    """Return what orders the values of a cursor."""
    match kind:
        case "number":
            return Decimal(value)
        case "timestamp":
            return datetime.fromisoformat(value)
        case "text":
            return value


def is_later(value: str, than: str, kind: CursorKind) -> bool:
    """Whether a value of a cursor comes after another."""
    return order_of(value, kind) > order_of(than, kind)  # type: ignore[operator]  # both are of one kind
