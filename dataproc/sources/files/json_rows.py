"""Records of JSON as rows of a schema, and what is set aside of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import TypeVar

import pyarrow as pa

from dataproc.domain.chunk import POSITION_FIELD, Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import Kind
from dataproc.sources.drift import RULE, Drift
from dataproc.sources.inference import NULL, joined
from dataproc.sources.json_values import BadLineError, Casting, Raw, converter, kind_of
from dataproc.sources.rejects import Reject, reject_table

Given = TypeVar("Given")

MISSING: Raw = b"null"


@dataclass(slots=True)
class JsonRows:
    """Turns the records of one unit into rows, and counts them; `where` tells where the record of a number stands."""

    uri: str
    schema: pa.Schema
    where: Callable[[int], str]
    count: int = 0
    contract: Contract = NO_CONTRACT
    casting: Casting = Casting.NATIVE
    drift: Drift = field(init=False)
    makers: dict[str, Callable[[Raw], object]] = field(init=False)

    def __post_init__(self) -> None:
        """Find what makes the values of each column."""
        self.drift = Drift(self.uri, self.contract)
        self.makers = {column.name: converter(column, self.casting) for column in self.schema}

    def piece(
        self, records: Iterable[Given], object_of: Callable[[Given], Mapping[str, Raw]], text_of: Callable[[Given], str]
    ) -> Piece:
        """Return the rows and rejects of the next records."""
        return self.numbered_piece(enumerate(records, self.count), object_of, text_of)

    def numbered_piece(
        self,
        records: Iterable[tuple[int, Given]],
        object_of: Callable[[Given], Mapping[str, Raw]],
        text_of: Callable[[Given], str],
    ) -> Piece:
        """Return the rows and rejects of records, each with its position; a reject for each value that does not fit."""
        values: dict[str, list[object]] = {name: [] for name in self.schema.names}
        positions: list[int] = []
        rejects: list[Reject] = []
        for position, record in records:
            self.count = position
            if misfits := self.add(partial(object_of, record), values):
                text = text_of(record)
                rejects += [self.reject(misfit, text) for misfit in misfits]
            else:
                positions.append(position)
            self.count = position + 1
        columns = [pa.array(values[f.name], f.type) for f in self.schema]
        rows = pa.table([*columns, pa.array(positions, pa.int64())], schema=self.schema.append(POSITION_FIELD))
        return Piece(rows, reject_table(rejects), discarded=self.drift.taken())

    def add(self, read: Callable[[], Mapping[str, Raw]], values: dict[str, list[object]]) -> Sequence[BadLineError]:
        """Add the values of one record to their columns, all or none; return why it is set aside."""
        try:
            found = read()
            left_out = [name for name, value in found.items() if name not in values and self.is_stranger(name, value)]
        except BadLineError as exc:
            return (exc,)
        misfits: list[BadLineError] = []
        row: list[object] = []
        for name in self.makers:
            try:
                row.append(self.made(name, found.get(name, MISSING), left_out))
            except BadLineError as exc:
                misfits.append(exc)
        if not misfits:
            for column, value in zip(values.values(), row, strict=True):
                column.append(value)
            self.drift.counts.update(left_out)
        return misfits

    def reject(self, misfit: BadLineError, text: str) -> Reject:
        """Return the reject of the record that is read."""
        return Reject(self.count, misfit.rule, misfit.column, f"{self.where(self.count)}: {misfit.reason}", text)

    def made(self, name: str, value: Raw, left_out: list[str]) -> object:
        """Return a value as its column holds it, or null where the contract leaves it out."""
        try:
            return None if value == MISSING else self.makers[name](value)
        except BadLineError as exc:
            if self.drift.leaves_out(name, f"{self.where(self.count)}: {exc}"):
                left_out.append(name)
                return None
            raise BadLineError(self.drift.rule(name), exc.reason, name) from exc

    def is_stranger(self, name: str, value: Raw) -> bool:
        """Whether a key that the plan does not know has a value that is left out; else its record is refused."""
        if not self.drift.takes_stranger(name):
            place = f"{self.uri}: {self.where(self.count)}"
            msg = f"{place} has the key {name!r}, which the first records of the source lack; put it into the first"
            raise ContractViolationError(msg, uri=self.uri, column=name)
        if value != MISSING and self.contract.of(name) == "discard_row":
            raise BadLineError(RULE, f"the key {name!r} is not in the first records of the source", name)
        return value != MISSING


def kinds_in(records: Iterable[Mapping[str, Raw]]) -> dict[str, Kind]:
    """Return the kinds of the values of records; keys in the order in which they appear."""
    seen: dict[str, set[Kind]] = {}
    for record in records:
        for name, value in record.items():
            seen.setdefault(name, set()).add(kind_of(value))
    return {name: reduce(joined, kinds, NULL) for name, kinds in seen.items()}
