"""Records of JSON as rows of a schema, and what is set aside of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from typing import TypeVar

import pyarrow as pa

from dataproc.domain.chunk import POSITION_FIELD, Piece, no_rejects, with_positions
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import LateColumnError
from dataproc.domain.source_columns import Kind
from dataproc.sources.drift import RULE, Drift, unknown_column_message
from dataproc.sources.files.json_blocks import BlockDecoder, are_utf8
from dataproc.sources.inference import NULL, joined
from dataproc.sources.json_values import BadLineError, Raw, converter, kind_of
from dataproc.sources.rejects import Reject, reject_table
from dataproc.sources.schemas import checked_names

Given = TypeVar("Given")

MISSING: Raw = b"null"
GROUPS, FEW = 16, 256
"""Into how many groups a block is cut of which some record is refused, and how many records are read one by one."""


@dataclass(slots=True)
class JsonRows:
    """Turns the records of one unit into rows, and counts them; `where` tells where the record of a number stands."""

    uri: str
    schema: pa.Schema
    where: Callable[[int], str]
    count: int = 0
    contract: Contract = NO_CONTRACT
    drift: Drift = field(init=False)
    makers: dict[str, Callable[[Raw], object]] = field(init=False)

    def __post_init__(self) -> None:
        """Find what makes the values of each column."""
        self.drift = Drift(self.uri, self.contract)
        self.makers = {column.name: converter(column) for column in self.schema}

    def piece(
        self, records: Iterable[Given], object_of: Callable[[Given], Mapping[str, Raw]], text_of: Callable[[Given], str]
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
        return Piece(rows, reject_table(rejects), discarded=self.drift.taken())

    def add(self, found: Mapping[str, Raw], values: dict[str, list[object]]) -> None:
        """Add the values of one record to their columns, all or none."""
        left_out = [name for name, value in found.items() if name not in values and self.is_stranger(name, value)]
        row = [self.made(name, found.get(name, MISSING), left_out) for name in self.makers]
        for column, value in zip(values.values(), row, strict=True):
            column.append(value)
        self.drift.counts.update(left_out)

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
            msg = unknown_column_message("key", f"{self.uri}: {self.where(self.count)}", name)
            raise LateColumnError(msg, uri=self.uri, column=name)
        if value != MISSING and self.contract.of(name) == "discard_row":
            raise BadLineError(RULE, f"the key {name!r} is not among the columns of the source", name)
        return value != MISSING


@dataclass(slots=True)
class RecordReader:
    """Reads the records of one unit block by block, and counts them."""

    uri: str
    schema: pa.Schema
    where: Callable[[int], str]
    contract: Contract = NO_CONTRACT
    count: int = field(default=0, init=False)
    decoder: BlockDecoder | None = field(init=False)

    def __post_init__(self) -> None:
        """Make the decoder of blocks; without columns, every record has to be looked at alone."""
        self.decoder = BlockDecoder(self.schema) if self.schema.names else None

    def piece(
        self,
        decoded: pa.Table | None,
        records: Iterable[bytes],
        object_of: Callable[[bytes], Mapping[str, Raw]],
        text_of: Callable[[bytes], str],
    ) -> Piece:
        """Return the rows of a block as the decoder gave them; `None`: as its records give them, and rejects."""
        if decoded is not None:
            first, self.count = self.count, self.count + decoded.num_rows
            return Piece(with_positions(decoded, first), no_rejects())
        found = list(self.pieces(list(records), object_of, text_of))
        rows = pa.concat_tables([self.schema.append(POSITION_FIELD).empty_table(), *(each.rows for each in found)])
        rejects = pa.concat_tables([no_rejects(), *(each.rejects for each in found)])
        discarded = Counter[str]()
        for column, count in chain.from_iterable(each.discarded for each in found):
            discarded[column] += count
        return Piece(rows, rejects, discarded=tuple(discarded.items()))

    def pieces(
        self, records: list[bytes], object_of: Callable[[bytes], Mapping[str, Raw]], text_of: Callable[[bytes], str]
    ) -> Iterator[Piece]:
        """Yield the rows of records that the decoder refused, of ever smaller groups until only a few are left."""
        if len(records) > FEW and self.decoder is not None:
            size = max(FEW, -(-len(records) // GROUPS))
            for at in range(0, len(records), size):
                group = records[at : at + size]
                decoded = self.decoder.rows_of(group) if are_utf8(group) else None
                if decoded is None:
                    yield from self.pieces(group, object_of, text_of)
                else:
                    yield self.piece(decoded, (), object_of, text_of)
            return
        rows = JsonRows(self.uri, self.schema, self.where, self.count, self.contract)
        try:
            yield rows.piece(records, object_of, text_of)
        except LateColumnError as exc:
            exc.context["late"] = self.late_kinds(records, object_of)
            raise
        self.count = rows.count

    def late_kinds(self, records: list[bytes], object_of: Callable[[bytes], Mapping[str, Raw]]) -> dict[str, Kind]:
        """Return the kinds of the keys of records that are not columns."""
        found: list[Mapping[str, Raw]] = []
        for record in records:
            with suppress(BadLineError):
                found.append(object_of(record))
        late = {name: kind for name, kind in kinds_in(found).items() if name not in self.schema.names}
        checked_names(late, self.uri)
        return late


def kinds_in(records: Iterable[Mapping[str, Raw]]) -> dict[str, Kind]:
    """Return the kinds of the values of records; keys in the order in which they appear."""
    seen: dict[str, set[Kind]] = {}
    for record in records:
        for name, value in record.items():
            seen.setdefault(name, set()).add(kind_of(value))
    return {name: reduce(joined, kinds, NULL) for name, kinds in seen.items()}
