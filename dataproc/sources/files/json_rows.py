"""Records of JSON as rows of a schema, and what is set aside of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from dataproc.domain.chunk import POSITION_FIELD
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.json_values import JSON, BadLineError, converter, kind_of, widened
from dataproc.sources.rejects import Reject, reject_table

Piece = tuple[pa.Table, pa.Table]
Raw = TypeVar("Raw")


@dataclass(slots=True)
class JsonRows:
    """Turns the records of one unit into rows, and counts them; `where` tells where the record of a number stands."""

    uri: str
    types: pa.Schema
    schema: pa.Schema
    where: Callable[[int], str]
    count: int = 0
    makers: dict[str, Callable[[object], object]] = field(init=False)

    def __post_init__(self) -> None:
        """Find what makes the values of each column."""
        self.makers = {f.name: converter(self.types.field(f.name).type, f) for f in self.schema}

    def piece(
        self, records: Iterable[Raw], object_of: Callable[[Raw], Mapping[str, object]], text_of: Callable[[Raw], str]
    ) -> Piece:
        """Return the rows and rejects of the next records."""
        values: dict[str, list[object]] = {name: [] for name in self.schema.names}
        positions: list[int] = []
        rejects: list[Reject] = []
        for record in records:
            try:
                self.add(object_of(record), values)
                positions.append(self.count)
            except BadLineError as exc:
                reason = f"{self.where(self.count)}: {exc.reason}"
                rejects.append(Reject(self.count, exc.rule, exc.column, reason, text_of(record)))
            self.count += 1
        columns = [pa.array(values[f.name], f.type) for f in self.schema]
        rows = pa.table([*columns, pa.array(positions, pa.int64())], schema=self.schema.append(POSITION_FIELD))
        return rows, reject_table(rejects)

    def add(self, found: Mapping[str, object], values: dict[str, list[object]]) -> None:
        """Add the values of one record to their columns, all or none."""
        for name in found:
            if name not in values:
                place = f"{self.uri}: {self.where(self.count)}"
                msg = f"{place} has the key {name!r}, which the first records of the source lack; put it into the first"
                raise ContractViolationError(msg, uri=self.uri, column=name)
        row = [None if (value := found.get(name)) is None else make(value) for name, make in self.makers.items()]
        for column, value in zip(values.values(), row, strict=True):
            column.append(value)


def schema_of(records: Iterable[Mapping[str, object]]) -> pa.Schema:
    """Return the schema of records; keys in the order in which they appear."""
    kinds: dict[str, pa.DataType] = {}
    for record in records:
        for name, value in record.items():
            kinds[name] = widened(kinds.get(name, pa.null()), kind_of(value))
    return pa.schema([(name, pa.string() if kind == pa.null() else kind) for name, kind in kinds.items()])


def shown(schema: pa.Schema, text: frozenset[str]) -> pa.Schema:
    """Return the types of the rows: JSON text is text, and so are the columns named in `text`."""
    return pa.schema([pa.field(f.name, pa.string() if f.type == JSON or f.name in text else f.type) for f in schema])
