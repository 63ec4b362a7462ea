"""Records of an API as rows, and those that cannot be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from dataproc.domain.chunk import POSITION_FIELD, Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.json_values import BadLineError
from dataproc.sources.rejects import Reject, reject_table
from dataproc.sources.rest.columns import Bad, column_of, json_text
from dataproc.sources.rest.cursor import Window
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

    def __post_init__(self) -> None:
        """Put the names of the columns where they are found fast."""
        object.__setattr__(self, "names", frozenset(self.types.names))


@dataclass(slots=True)
class Gathered:
    """Records of some pages, on their way to become a piece; positions are those in the unit."""

    shape: Shape
    records: list[Any] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    filtered: int = 0
    high: str | None = None
    count: int = 0
    pages: int = 0
    size: int = 0

    def add(self, records: Sequence[Any], carried: Mapping[str, object], first: int, size: int = 0) -> None:
        """Add the records of a page, with the values of their parent; `size` is that of the answer in bytes."""
        self.count, self.pages, self.size = self.count + len(records), self.pages + 1, self.size + size
        found = [{**one, **carried} if isinstance(one, dict) else one for one in records] if carried else records
        window = self.shape.window
        taken: Sequence[int] = range(len(found))
        if window is not None:
            sifted = window.sift(found)
            taken, self.filtered = sifted.taken, self.filtered + sifted.filtered
            self.reject({first + at: exc for at, exc in sifted.bad.items()}, found, first)
            highs = [high for high in (self.high, sifted.high) if high is not None]
            self.high = max(highs, key=lambda high: Order(window, high), default=None)
        if window is None and all(type(one) is dict for one in found):
            self.demand_known(found)
            self.records += found
            self.positions += range(first, first + len(found))
            return
        for at in taken:
            self.take(found[at], first + at)

    def demand_known(self, records: Sequence[dict[str, Any]]) -> None:
        """Refuse a field that is no column, where the job says so."""
        if self.shape.refuses_unknown and not self.shape.names.issuperset(chain.from_iterable(records)):
            raise unknown(chain.from_iterable(records), self.shape)

    def take(self, record: object, position: int) -> None:
        """Add one record, if it is one."""
        if not isinstance(record, dict):
            self.reject({position: BadLineError("parse", "the record is no JSON object")}, [record], position)
            return
        self.demand_known([record])
        self.records.append(record)
        self.positions.append(position)

    def reject(self, bad: Bad, records: Sequence[object], first: int) -> None:
        """Set records aside."""
        for position, exc in bad.items():
            reason = f"record {position + 1}: {exc.reason}"
            text = json_text(records[position - first]).encode(errors="replace").decode()
            self.rejects.append(Reject(position, exc.rule, exc.column, reason, text))

    def piece(self, there: Spot) -> Piece:
        """Return what was gathered, with the mark of where the next page is."""
        fits = np.ones(len(self.records), np.bool_)
        columns = []
        for one in self.shape.types:
            values = [record.get(one.name) for record in self.records]
            cells, bad = column_of(values, one, is_declared=self.shape.is_declared)
            columns.append(cells)
            fits[list(bad)] = False
            for at, exc in bad.items():
                self.reject({self.positions[at]: exc}, [self.records[at]], self.positions[at])
        columns.append(pa.array(self.positions, pa.int64()))
        rows = pa.table(columns, schema=self.shape.types.append(POSITION_FIELD))
        kept = rows if fits.all() else rows.filter(pa.array(fits))
        return Piece(kept, reject_table(self.rejects), there.mark, self.high, self.filtered)


@dataclass(frozen=True, slots=True)
class Order:
    """A cursor that compares as its kind does."""

    window: Window
    value: str

    def __lt__(self, other: "Order") -> bool:
        """Whether this comes before."""
        return self.window.is_after(other.value, self.value)


def unknown(names: Iterable[str], shape: Shape) -> ContractViolationError:
    """Return the error for a field that is no column."""
    name = next(name for name in names if name not in shape.names)
    where = "`columns` lack" if shape.is_declared else "the first page lacks"
    msg = f"{shape.path}: a record has the field {name[:60]!r}, which {where}; name all in `columns`, or say"
    return ContractViolationError(f"{msg} `unknown: ignore`", column=name)
