"""Columns of records: their declared types, and those that a sample shows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.rules import DECIMAL
from dataproc.domain.source_columns import Field, Kind, text_field
from dataproc.domain.sources.rest import RestSource
from dataproc.sources.files.json_rows import kinds_in
from dataproc.sources.inference import NULL, TEXT
from dataproc.sources.json_values import BadLineError, Raw, object_of

ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "string": pa.string(), "date": pa.date32(), "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
    "email": pa.string(), "uuid": pa.string(),
}  # fmt: skip


def declared(columns: Mapping[str, str]) -> pa.Schema:
    """Return the types of declared columns."""
    return pa.schema([declared_field(name, kind) for name, kind in columns.items()])


def declared_field(name: str, kind: str) -> Field:
    """Return the field of a column type."""
    if kind == "json":
        return text_field(name, "jsonb")
    decimal = DECIMAL.fullmatch(kind)
    dtype = ARROW[kind] if decimal is None else pa.decimal128(int(decimal["precision"]), int(decimal["scale"]))
    return pa.field(name, dtype)


def sampled(records: Sequence[Raw]) -> dict[str, Kind]:
    """Return the kinds of the values of records, their fields in the order in which they appear."""
    return without_null(kinds_in(readable_objects(records)))


def usable_names(kinds: Mapping[str, Kind], spec: RestSource) -> dict[str, Kind]:
    """Return the fields that can be columns; `unknown` decides whether another one is left out or refused."""
    odd = [name for name in kinds if name in ("", POSITION)]
    if odd and spec.unknown != "ignore":
        problem = "has an empty name" if odd[0] == "" else f"has the reserved name {odd[0]!r}"
        msg = f"{spec.path}: a field of the records {problem}; leave it out by `unknown: ignore`, or name `columns`"
        raise ContractViolationError(msg, column=odd[0])
    return {name: kind for name, kind in kinds.items() if name not in odd}


def without_null(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the kinds of columns; one without values is text."""
    return {name: TEXT if kind == NULL else kind for name, kind in kinds.items()}


def readable_objects(records: Iterable[Raw]) -> Iterator[Mapping[str, Raw]]:
    """Yield the records that can be read; the others will be rejects when they are read."""
    for record in records:
        with suppress(BadLineError):
            yield object_of(record, "record")
