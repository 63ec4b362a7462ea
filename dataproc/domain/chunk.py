"""Chunks: what travels from a source to the warehouse.

A reader cuts each unit into numbered chunks and marks the last one, also when it holds no row. So
a missing, doubled or reordered piece shows, whatever the engine between did: a unit is whole when
its chunks are 0, 1, … up to the one marked last. Each chunk keeps the account
`read = rows + rejected + deduplicated + filtered`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataproc.domain.row_text import written

POSITION = "__position"
"""Name of the column (int64, not null) that numbers the rows of a unit from 0; it never reaches the target."""

POSITION_FIELD = pa.field(POSITION, pa.int64(), nullable=False)

TEXT: pa.DataType = pa.string()
REJECTS = pa.schema([("position", pa.int64()), ("rule", TEXT), ("column", TEXT), ("reason", TEXT), ("row", TEXT)])
"""Rows set aside: where in the unit, which rule, which column, why, and the row as JSON text (or raw text)."""

Broken = tuple[tuple[str, int], ...]
"""Rules with their columns, such as `type of qty`, and how many rows broke each of them."""
NAMED_RULES = 20
"""The most rules that a chunk names, those first that most of its rows broke."""
LONGEST_ROW = 1024 * 1024
"""Bytes of a row's text that a reject keeps; one that is cut cannot be read again."""


def shortened(text: str) -> str:
    """Return `text`, cut to what a reject may hold."""
    if len(text) * 4 <= LONGEST_ROW:
        return text
    return text.encode(errors="replace")[:LONGEST_ROW].decode(errors="ignore")


def texts_of(rows: pa.Table) -> list[str]:
    """Return rows as JSON texts, cut to what a reject may hold; also rows that Python cannot hold.

    A number of single precision keeps its shortest digits: Python would write those of the nearest double.
    """
    for at, column in enumerate(rows.schema):
        if pa.types.is_float32(column.type):
            rows = rows.set_column(at, column.name, rows[at].cast(pa.string()).cast(pa.float64()))
    return [row_text(row) for row in python_rows(rows)]


def python_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dictionaries, also those whose values Python cannot hold."""
    try:
        return rows.to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError, KeyError, TypeError):
        return [{name: python_value(rows[name][i]) for name in rows.column_names} for i in range(rows.num_rows)]


def row_text(row: Mapping[str, object]) -> str:
    """Return a row as JSON text, cut to what a reject may hold."""
    return shortened(written(row))


def python_value(cell: "pa.Scalar[Any]") -> object:
    """Return a value of Python; for a moment beyond its calendar (the years 1 to 9999) the number that tells it."""
    try:
        return cell.as_py()
    except (OverflowError, ValueError):
        return getattr(cell, "value", None)


def broken_by(rejects: pa.Table) -> Broken:
    """Return the rules that rejects broke, each with its number of rows, the most frequent first."""
    if rejects.num_rows == 0:
        return ()
    counted = rejects.select(["rule", "column"]).group_by(["rule", "column"]).aggregate([([], "count_all")])
    found = [(rule_name(each["rule"], each["column"]), each["count_all"]) for each in counted.to_pylist()]
    return most_frequent_first(found)[:NAMED_RULES]


def most_frequent_first(counts: Iterable[tuple[str, int]]) -> Broken:
    """Return rules and their numbers of rows, the most frequent first, and equally frequent ones by name."""
    return tuple(sorted(counts, key=lambda pair: (-pair[1], pair[0])))


def rule_name(rule: str, column: str | None) -> str:
    """Return a rule with its column, if it has one."""
    return f"{rule} of {column}" if column else rule


def no_rejects() -> pa.Table:
    """Return an empty table of rejects."""
    return REJECTS.empty_table()


Discards = tuple[tuple[str, int], ...]
"""Columns, and how many of their values did not fit and were left out (null) while their rows went on."""


class Piece(NamedTuple):
    """What a reader gives for one chunk: rows (with `POSITION`), rejects, and rows that it left out itself.

    A stream says in `mark` where to go on after this piece, and in `high` the greatest value of its cursor so far;
    `edge` holds the digests of the rows that have this value.
    """

    rows: pa.Table
    rejects: pa.Table
    mark: str = ""
    high: str | None = None
    filtered: int = 0
    discarded: Discards = ()
    edge: bytes = b""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a unit on their way, with the account of those that left it; `mark`, `high`, `edge` as in `Piece`.

    `keys` holds a table for each rule over all rows of the run that a transform so far has, in their order. `wire` is
    there instead of rows in a unit that is read as it is: whole rows as COPY has them. What is `read` of such a unit is
    told by its last chunk, for all of them.
    """

    unit: str
    seq: int
    last: bool
    read: int
    rows: pa.Table = field(repr=False)
    rejects: pa.Table = field(default_factory=no_rejects, repr=False)
    filtered: int = 0
    deduplicated: int = 0
    mark: str = ""
    high: str | None = None
    keys: tuple[pa.Table, ...] = field(default=(), repr=False)
    discarded: Discards = ()
    wire: bytes | memoryview | None = field(default=None, repr=False)
    edge: bytes = field(default=b"", repr=False)

    def keep(
        self, rows: pa.Table, *, filtered: int = 0, deduplicated: int = 0, rejects: pa.Table | None = None
    ) -> "Chunk":
        """Return this chunk with `rows` left, adding what was filtered out, found doubled and set aside."""
        aside = self.rejects if rejects is None else pa.concat_tables([self.rejects, rejects])
        filtered, deduplicated = self.filtered + filtered, self.deduplicated + deduplicated
        return replace(self, rows=rows, filtered=filtered, deduplicated=deduplicated, rejects=aside)

    def with_keys(self, keys: pa.Table) -> "Chunk":
        """Return this chunk with the keys of its rows for one more rule over all rows of the run."""
        return replace(self, keys=(*self.keys, keys))

    @property
    def rejected(self) -> int:
        """Rows set aside; a row that broke several rules counts once."""
        if self.rejects.num_rows == 0:
            return 0
        return len(self.rejects["position"].unique())


@dataclass(frozen=True, slots=True)
class LoadedChunk:
    """The account of a chunk that was encoded or staged; with the encoded rows where they travel on.

    Of the `loaded` rows so many are `present` in the target just as they came, and do not travel.
    """

    unit: str
    seq: int
    last: bool
    read: int
    loaded: int
    rejected: int
    filtered: int
    digest: bytes = b""
    payload: bytes | memoryview = field(default=b"", repr=False)
    rejects: bytes = field(default=b"", repr=False)
    deduplicated: int = 0
    mark: str = ""
    high: str | None = None
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    discarded: Discards = ()
    present: int = 0
    broken: Broken = field(default=(), compare=False)
    edge: bytes = field(default=b"", repr=False, compare=False)

    @property
    def is_balanced(self) -> bool:
        """Whether every row read is accounted for."""
        return self.read == self.loaded + self.rejected + self.deduplicated + self.filtered

    def without_payload(self) -> "LoadedChunk":
        """Return only the account of this chunk."""
        return replace(self, payload=b"", rejects=b"", keys=())


@dataclass(frozen=True, slots=True)
class Account:
    """Rows read, loaded, set aside, filtered out and found doubled."""

    read: int = 0
    loaded: int = 0
    rejected: int = 0
    filtered: int = 0
    deduplicated: int = 0

    def __add__(self, other: "Account | LoadedChunk") -> "Account":
        """Return the sum."""
        return Account(
            self.read + other.read,
            self.loaded + other.loaded,
            self.rejected + other.rejected,
            self.filtered + other.filtered,
            self.deduplicated + other.deduplicated,
        )


def number(
    unit: str, schema: pa.Schema, pieces: Iterable[Piece | tuple[pa.Table, pa.Table]], *, first: int = 0
) -> Iterator[Chunk]:
    """Yield the chunks of a unit from `pieces`, numbered from `first`.

    There is always at least one chunk, and the last one is marked; so `pieces` is read one ahead.
    `schema` is that of the rows without `POSITION`, for a unit that holds none.
    """
    seq = first - 1
    held: Piece | tuple[pa.Table, pa.Table] = Piece(schema.append(POSITION_FIELD).empty_table(), no_rejects())
    for seq, piece in enumerate(pieces, first):
        if seq > first:
            yield chunk_of(unit, seq - 1, Piece(*held), last=False)
        held = piece
    yield chunk_of(unit, max(seq, first), Piece(*held), last=True)


def chunk_of(unit: str, seq: int, piece: Piece, *, last: bool) -> Chunk:
    """Return a chunk whose rows were just read."""
    chunk = Chunk(
        unit, seq, last, 0, piece.rows, piece.rejects, piece.filtered,
        mark=piece.mark, high=piece.high, discarded=piece.discarded, edge=piece.edge,
    )  # fmt: skip
    return replace(chunk, read=piece.rows.num_rows + chunk.rejected + piece.filtered)


def with_positions(rows: pa.Table, first: int) -> pa.Table:
    """Return `rows` with `POSITION` counted up from `first`."""
    positions = pa.array(np.arange(first, first + rows.num_rows, dtype=np.int64))
    return rows.append_column(POSITION_FIELD, positions)
