"""Records of an API as rows, and those that cannot be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from dataproc.domain.chunk import POSITION_FIELD, Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.memory import joined_digests
from dataproc.sources.boundary import Known
from dataproc.sources.files.json_blocks import BlockDecoder
from dataproc.sources.json_values import BadLineError, Casting, Raw, misfit, object_of, text_of_object
from dataproc.sources.rejects import Reject, reject_table
from dataproc.sources.rest.cursor import Window, digest_of
from dataproc.sources.rest.paging import Spot


@dataclass(frozen=True, slots=True)
class Shape:
    """How records become rows: the types, and what a field that is no column means."""

    types: pa.Schema
    is_declared: bool
    refuses_unknown: bool
    window: Window | None
    path: str
    names: frozenset[str] = field(init=False)
    decoder: BlockDecoder = field(init=False)

    def __post_init__(self) -> None:
        """Make the decoder, which takes values from their text where columns are declared."""
        casting = Casting.DECLARED if self.is_declared else Casting.NATIVE
        decoder = BlockDecoder(self.types, casting, ignores_unknown=not self.refuses_unknown)
        object.__setattr__(self, "names", frozenset(self.types.names))
        object.__setattr__(self, "decoder", decoder)

    def read(self, records: Sequence[Raw], positions: Sequence[int]) -> tuple[pa.Table, list[Reject]]:
        """Return the rows of records, and what is set aside."""
        # A table without columns does not know how many rows it has.
        rows = self.decoder.rows_of(records) if self.types.names else None
        if rows is not None:
            return rows.append_column(POSITION_FIELD, pa.array(positions, pa.int64())), []
        sifted = self.decoder.sifted(records, positions)
        wrong = [(place, self.problem_of(records[place])) for place in sifted.broken]
        wrong += [(place, misfit(column)) for place, column in sifted.misfits]
        return sifted.rows, [reject(positions[place], exc, records[place]) for place, exc in wrong]

    def problem_of(self, record: Raw) -> BadLineError:
        """Return why a record cannot be decoded; refuse one with a field that is not a column."""
        try:
            raise unknown(object_of(record, "record"), self)
        except BadLineError as exc:
            return exc


@dataclass(slots=True)
class Gathered:
    """Records of some pages, on their way to become a piece; positions are those in the unit.

    `known` holds the records at the old watermark that the unit has not met yet.
    """

    shape: Shape
    known: Known = field(default_factory=Known)
    records: list[Raw] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    filtered: int = 0
    high: str | None = None
    edge: list[bytes] = field(default_factory=list)
    count: int = 0
    pages: int = 0
    size: int = 0

    def add(self, records: Sequence[Raw], carried: Mapping[str, Raw], first: int, size: int = 0) -> None:
        """Add the records of a page, with the values of their parent; `size` is that of the answer in bytes."""
        self.count, self.pages, self.size = self.count + len(records), self.pages + 1, self.size + size
        found = [with_members(record, carried) for record in records] if carried else records
        if self.shape.window is None:
            self.records += found
            self.positions += range(first, first + len(found))
        else:
            self.sift(self.shape.window, found, first)

    def sift(self, window: Window, records: Sequence[Raw], first: int) -> None:
        """Add those records that are within a window."""
        sifted = window.sift(records, self.known)
        self.filtered += sifted.filtered
        self.rejects += [reject(first + at, exc, records[at]) for at, exc in sifted.bad.items()]
        if sifted.high is not None:
            if self.high is None or window.is_after(sifted.high, self.high):
                self.high, self.edge = sifted.high, []
            if not window.is_after(self.high, sifted.high) and not window.by_key:
                self.edge += [digest_of(records[at]) for at in sifted.edge]
        self.records += [records[at] for at in sifted.taken]
        self.positions += [first + at for at in sifted.taken]

    def piece(self, there: Spot) -> Piece:
        """Return what was gathered, with the mark of where the next page is."""
        rows, rejects = self.shape.read(self.records, self.positions)
        aside = reject_table([*self.rejects, *rejects])
        return Piece(rows, aside, there.mark, self.high, self.filtered, edge=joined_digests(self.edge))


def place_of(position: int) -> str:
    """Return the place of a record, for reasons."""
    return f"record {position + 1}"


def text_of(record: Raw) -> str:
    """Return a record as text."""
    return record.decode(errors="replace")


def reject(position: int, exc: BadLineError, record: Raw) -> Reject:
    """Return the reject of a record."""
    return Reject(position, exc.rule, exc.column, f"{place_of(position)}: {exc.reason}", text_of(record))


def with_members(record: Raw, members: Mapping[str, Raw]) -> Raw:
    """Return an object with further members at its end, which count over those of the same name; others as they are."""
    if not record.startswith(b"{"):
        return record
    inner = record[1:-1].strip()
    added = text_of_object(members)[1:-1]
    return b"{%b, %b}" % (inner, added) if inner else b"{%b}" % added


def unknown(names: Iterable[str], shape: Shape) -> ContractViolationError:
    """Return the error for a field that is no column."""
    name = next(name for name in names if name not in shape.names)
    where = "`columns` lack" if shape.is_declared else "the first pages lack"
    msg = f"{shape.path}: a record has the field {name[:60]!r}, which {where}; name all in `columns`, or say"
    return ContractViolationError(f"{msg} `unknown: ignore`", column=name)
