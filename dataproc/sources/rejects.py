"""Rows that a reader sets aside."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

from dataproc.domain.chunk import REJECTS, shortened
from dataproc.domain.row_text import written


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot be read, or one of its values; `row` is its text."""

    position: int
    rule: str
    column: str | None
    reason: str
    row: str


def reject_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return rejects as a table, in the order of their positions."""
    rows = sorted(rejects, key=lambda reject: reject.position)
    return pa.Table.from_pylist([asdict(row) | {"row": shortened(row.row)} for row in rows], schema=REJECTS)


def row_text(row: Mapping[str, object]) -> str:
    """Return a row as JSON text."""
    return written(row)
