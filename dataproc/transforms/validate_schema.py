"""Rows against a JSON Schema.

A null counts as missing, unless the property allows null: tables cannot tell the two apart.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.breaks import Break
from dataproc.transforms.records import Found, Record, breaks_of, nested_properties, records

if TYPE_CHECKING:
    import jsonschema_rs

Document = Mapping[str, Any]
HIDDEN = "the value"
"""What stands for a value in a reason."""


def demand_schema(document: Document, schema: pa.Schema) -> None:
    """Raise `ContractViolationError` for a JSON Schema that is none, or that requires a column that is missing."""
    try:
        compiled(as_text(document), mask=None)
    except ValueError as exc:
        place = "/".join(map(str, getattr(exc, "instance_path", ())))
        told = str(exc).partition("\n")[0]
        msg = f"validate.json_schema: {place}: {told}; correct it, and let it refer to nothing outside"
        raise ContractViolationError(msg) from exc
    required = document.get("required", ())
    missing = [str(name) for name in required if name not in schema.names] if isinstance(required, list) else []
    if missing:
        msg = f"validate.json_schema: the rows have no column {', '.join(map(repr, missing))}, which is required"
        raise ContractViolationError(msg, column=missing[0])


def broken_by_schema(document: Document, rows: pa.Table) -> Iterator[Break]:
    """Yield the rules of a JSON Schema that rows break."""
    return breaks_of(found(as_text(document), records(rows, nested_properties(document), as_json=True)), rows.num_rows)


def found(text: str, rows: list[Record]) -> Iterator[Found]:
    """Yield what is wrong, row by row."""
    schema, may_be_null = validator(text), nullable(text)
    for at, row in enumerate(rows):
        seen = {name: value for name, value in row.items() if value is not None or name in may_be_null}
        if schema.is_valid(seen):
            continue
        for error in schema.iter_errors(seen):
            column = column_of(error)
            yield at, error.kind.name, column, f"{f'column {column!r}: ' if column else ''}{error.message}"


def column_of(error: "jsonschema_rs.ValidationError") -> str:
    """Return the column that an error is about; none: it is about the row."""
    if error.instance_path:
        return str(error.instance_path[0])
    return str(getattr(error.kind, "property", ""))


def as_text(document: Document) -> str:
    """Return a JSON Schema as text, by which its validator is kept."""
    return json.dumps(document, sort_keys=True)


@lru_cache(maxsize=32)
def validator(text: str) -> "jsonschema_rs.Validator":
    """Return the validator of a JSON Schema, whose messages show no values."""
    return compiled(text, HIDDEN)


def compiled(text: str, mask: str | None) -> "jsonschema_rs.Validator":
    """Return the validator of a JSON Schema: it opens no address, and its patterns take linear time."""
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        json.loads(text),
        mask=mask,
        validate_formats=True,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
    )


@lru_cache(maxsize=32)
def nullable(text: str) -> frozenset[str]:
    """Return the properties that may be null."""
    document = json.loads(text)
    properties = document.get("properties", {})
    shared = {name: document[name] for name in ("$schema", "$defs", "definitions") if name in document}
    return frozenset(
        name for name, each in properties.items() if validator(as_text({**shared, "allOf": [each]})).is_valid(None)
    )
