"""Avro's types as Arrow's, without loss; what has no such type is refused by the name of its column."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from dataproc.domain.errors import ContractViolationError

Schema = Any
"""A schema as fastavro has it: a name, a union as a list, or a type as a dictionary."""

Convert = Callable[[Any], Any]
PRIMITIVE: Mapping[str, pa.DataType] = {
    "null": pa.null(), "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "bytes": pa.binary(), "string": pa.string(), "enum": pa.string(), "fixed": pa.binary(),
}  # fmt: skip
LOGICAL: Mapping[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
REFUSED = frozenset({"duration", "big-decimal"})
WIDER = (
    (frozenset({"int", "long"}), "long"),
    (frozenset({"float", "double"}), "double"),
    (frozenset({"int", "double"}), "double"),
    (frozenset({"int", "float", "double"}), "double"),
)
"""Unions of numbers, and the member that holds the values of all others."""
DIGITS = 76
EXACT = Context(prec=DIGITS)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or a part of one: its type, what makes its values, and the fewest bytes that one takes."""

    dtype: pa.DataType
    convert: Convert | None = None
    least: int = 1


@dataclass(frozen=True, slots=True)
class Types:
    """The types of one file; `named` are those that have a name, `column` is where we are, for messages."""

    uri: str
    named: Mapping[str, Schema]
    column: str = ""
    within: tuple[str, ...] = ()

    def record(self, schema: Schema) -> dict[str, Column]:
        """Return the columns of a record."""
        if not isinstance(schema, dict) or schema.get("type") != "record" or not schema["fields"]:
            raise self.refused("holds no records with fields")
        name = schema["name"]
        if name in self.within:
            raise self.refused(f"has the type {name!r}, which contains itself")
        inner = (*self.within, name)
        return {
            f["name"]: Types(self.uri, self.named, self.column or f["name"], inner).of(f["type"])
            for f in schema["fields"]
        }

    def of(self, schema: Schema) -> Column:
        """Return what a schema means."""
        schema = self.named.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(schema, list):
            return self.union(schema)
        if isinstance(schema, str):
            return self.plain({}, schema)
        kind = schema["type"]
        return self.plain(schema, kind) if isinstance(kind, str) and kind in PRIMITIVE else self.nested(schema, kind)

    def nested(self, schema: Mapping[str, Any], kind: Schema) -> Column:
        """Return what a schema means that is made of others."""
        match kind:
            case "record":
                return struct(self.record(schema))
            case "array":
                return self.array(self.of(schema["items"]))
            case "map":
                return mapping(self.of(schema["values"]))
            case _:
                return self.of(kind)

    def union(self, members: Sequence[Schema]) -> Column:
        """Return what holds the values of all members: of one, and null, or numbers of which one holds the other."""
        left = [member for member in members if member != "null"]
        if len(left) == 1:
            only = self.of(left[0])
            return Column(only.dtype, only.convert)
        names = [
            member if isinstance(member, str) else str(member.get("logicalType", member["type"])) for member in left
        ]
        wide = next((wide for kinds, wide in WIDER if set(names) == kinds), None)
        if wide is None and left:
            raise self.refused(f"may be of several types ({', '.join(names)})")
        return Column(PRIMITIVE[wide or "null"])

    def array(self, item: Column) -> Column:
        """Return a list; its items must take bytes, else a few of them could tell of any number."""
        if item.least == 0:
            raise self.refused("is an array of nothing but null")
        convert = item.convert
        dtype = pa.list_(item.dtype)
        if convert is None:
            return Column(dtype)
        return Column(dtype, lambda found: [None if each is None else convert(each) for each in found])

    def plain(self, schema: Mapping[str, Any], kind: str) -> Column:
        """Return what a logical type means; one that is not known is what it is stored as, as Avro asks for."""
        name = schema.get("logicalType", "")
        if name in REFUSED:
            raise self.refused(f"has the logical type {name!r}, which would lose something here")
        if name == "decimal" and kind in ("bytes", "fixed"):
            return self.decimal(schema["precision"], schema.get("scale", 0))
        if name == "uuid" and kind == "fixed":
            return Column(pa.string(), lambda found: str(UUID(bytes=found)))
        least = 0 if kind == "null" or schema.get("size") == 0 else 1
        return Column(LOGICAL.get((kind, name), PRIMITIVE[kind]), None, least)

    def decimal(self, precision: int, scale: int) -> Column:
        """Return a decimal; its bytes are one whole number."""
        if precision > DIGITS:
            raise self.refused(f"is a decimal of {precision} digits; {DIGITS} is the most")
        dtype = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        return Column(dtype, lambda found: exact(int.from_bytes(found, "big", signed=True), scale))

    def refused(self, problem: str) -> ContractViolationError:
        """Return the error for a type that cannot be carried."""
        where = f"column {self.column!r}" if self.column else "the file"
        return ContractViolationError(f"{self.uri}: {where} {problem}; write it with another type", uri=self.uri)


def exact(number: int, scale: int) -> Decimal:
    """Return a number with so many digits after its point."""
    return Decimal(number).scaleb(-scale, EXACT)


def struct(columns: Mapping[str, Column]) -> Column:
    """Return a record within a record."""
    converts = {name: column.convert for name, column in columns.items() if column.convert is not None}
    dtype = pa.struct([(name, column.dtype) for name, column in columns.items()])
    return Column(dtype, changer(converts), min(sum(column.least for column in columns.values()), 1))


def changer(converts: Mapping[str, Convert]) -> Convert | None:
    """Return what converts the fields of a record that need it."""
    if not converts:
        return None

    def change(found: dict[str, Any]) -> dict[str, Any]:
        changed = {name: convert(found[name]) for name, convert in converts.items() if found[name] is not None}
        return found | changed

    return change


def mapping(value: Column) -> Column:
    """Return a map from text."""
    convert = value.convert
    dtype = pa.map_(pa.string(), value.dtype)
    if convert is None:
        return Column(dtype)
    return Column(dtype, lambda found: {k: None if each is None else convert(each) for k, each in found.items()})


def without_logical(schema: Schema) -> Schema:
    """Return a schema whose values are read as they are stored."""
    if isinstance(schema, list):
        return [without_logical(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: without_logical(schema[key]) for key in ("items", "values", "type") if key in schema}
    fields = [field | {"type": without_logical(field["type"])} for field in schema.get("fields", ())]
    kept = {key: schema[key] for key in schema if key not in ("logicalType", "precision", "scale", "default")}
    return kept | inner | ({"fields": fields} if "fields" in schema else {})
