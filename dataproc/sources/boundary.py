"""Rows at a watermark: digests identify those that were read, so that others with the same value are not missed.

Any number of rows may have the value that a watermark stands at, and more of them may come after the run that has read
it: rows written in one transaction, or within one tick of a clock. So a run reads the rows at the watermark again, and
leaves out those that it knows. Digests count: of three rows that are alike and two that are known, one is new.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import POSITION, Piece, python_rows
from dataproc.domain.memory import DIGEST_SIZE, MOST_AT_BOUNDARY, TOO_MANY, CursorMove, digests_in, joined_digests
from dataproc.domain.row_text import written

NOT_KNOWN = (
    "rows whose cursor is the last watermark are not read again, so that rows which came later with the same value are "
    "missed: more than {most:,} rows had it, the columns were changed, or an earlier version has read them; set `lag`, "
    "or use mode merge"
)


def notes_on(move: CursorMove | None) -> tuple[str, ...]:
    """Return the warning of a run for which the rows at the watermark that were read are unknown."""
    if move is None or move.before is None or move.found.by_key or move.known is not None:
        return ()
    return (NOT_KNOWN.format(most=MOST_AT_BOUNDARY),)


def digest(text: str | bytes) -> bytes:
    """Return the digest of a row's text."""
    return hashlib.blake2b(text if isinstance(text, bytes) else text.encode(), digest_size=DIGEST_SIZE).digest()


def columns_of(schema: pa.Schema) -> str:
    """Return a digest of the names and types of columns, in any order."""
    return digest("\n".join(sorted(f"{field.name} {field.type}" for field in schema))).hex()


@dataclass(slots=True)
class Known:
    """The rows at the watermark that were read, each of which is left out once."""

    left: Counter[bytes] = field(default_factory=Counter)

    @classmethod
    def of(cls, digests: bytes | None) -> "Known":
        """Return the rows of these digests."""
        return cls(Counter(digests_in(digests or b"")))

    def takes(self, one: bytes) -> bool:
        """Whether a row is one that was read; the next one alike may not be."""
        if not self.left[one]:
            return False
        self.left[one] -= 1
        return True


@dataclass(slots=True)
class EdgeOfUnit:
    """The rows of a unit whose cursor has the value `high`; those that are `known` are left out."""

    high: str
    known: Known = field(default_factory=Known)
    seen: int = 0

    def piece(self, piece: Piece, at_edge: Mask, first: int) -> Piece:
        """Return a piece without the rows that are known, and with the digests of the others that are at the edge.

        `at_edge` marks the rows at the edge; its first element is the row at position `first`.
        """
        self.seen += int(at_edge.sum())
        if not at_edge.any():
            return piece
        if self.seen > MOST_AT_BOUNDARY and not self.known.left:
            return piece._replace(high=self.high, edge=TOO_MANY)
        positions = np.flatnonzero(at_edge) + first
        rows = piece.rows.filter(pa.array(np.isin(np.asarray(piece.rows[POSITION]), positions)))
        digests = {**digests_of_rejects(piece, frozenset(positions.tolist())), **digests_of(rows)}
        old = {position for position, one in digests.items() if self.known.takes(one)}
        new = [one for position, one in digests.items() if position not in old]
        left = without(piece, sorted(old)) if old else piece
        return left._replace(high=self.high, edge=joined_digests(new))


def digests_of(rows: pa.Table) -> dict[int, bytes]:
    """Return the digests of rows by their positions."""
    found = {}
    for row in python_rows(rows):
        position = int(str(row.pop(POSITION)))
        found[position] = digest(written(dict(sorted(row.items()))))
    return found


def digests_of_rejects(piece: Piece, positions: frozenset[int]) -> dict[int, bytes]:
    """Return the digests of the rows at some positions that were set aside."""
    rejects = zip(piece.rejects["position"].to_pylist(), piece.rejects["row"].to_pylist(), strict=True)
    return {position: digest(text or "") for position, text in rejects if position in positions}


def without(piece: Piece, positions: Sequence[int]) -> Piece:
    """Return a piece without the rows and the rejects at some positions, which count as filtered."""
    rows = piece.rows.filter(pa.array(~np.isin(np.asarray(piece.rows[POSITION]), positions)))
    rejects = piece.rejects.filter(pa.array(~np.isin(np.asarray(piece.rejects["position"]), positions)))
    return piece._replace(rows=rows, rejects=rejects, filtered=piece.filtered + len(positions))
