"""One schema for many files: types made plain, differences unified or refused by name."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.chunk import POSITION
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError

EXTENSION = b"ARROW:extension:name"

PLAIN: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (t.is_time, pa.time64("us")),
    (t.is_date, pa.date32()),
    (t.is_large_string, pa.string()),
    (t.is_string_view, pa.string()),
    (t.is_large_binary, pa.binary()),
    (t.is_binary_view, pa.binary()),
    (t.is_fixed_size_binary, pa.binary()),
    (t.is_float16, pa.float32()),
)


def checked_names(names: Iterable[str], uri: str) -> list[str]:
    """Return the names of columns, or say which is missing, doubled or reserved."""
    seen: list[str] = []
    for number, name in enumerate(names, start=1):
        problem = "has no name" if not name else "stands there twice" if name in seen else ""
        problem = "has a reserved name" if name == POSITION else problem
        if problem:
            msg = f"{uri}: column {number} {name!r} {problem}; rename it in the file"
            raise ContractViolationError(msg, uri=uri, column=name)
        seen.append(name)
    return seen


def plain_schema(schema: pa.Schema, uri: str) -> pa.Schema:
    """Return `schema` with plain types, or refuse an extension type by its name."""
    checked_names(schema.names, uri)
    for field in schema:
        refuse_extensions(field, field.name, uri)
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def refuse_extensions(field: "pa.Field[Any]", column: str, uri: str) -> None:
    """Raise for an extension type, however deep: reading one may run code that the file names."""
    name = (field.metadata or {}).get(EXTENSION, b"").decode(errors="replace")
    if isinstance(field.type, pa.BaseExtensionType):
        name = field.type.extension_name
    if name:
        msg = f"{uri}: column {column!r} has the extension type {name!r}; write it with a plain type"
        raise ContractViolationError(msg, uri=uri, column=column)
    for index in range(field.type.num_fields):
        refuse_extensions(field.type.field(index), column, uri)


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which values of `dtype` travel: no dictionaries, microseconds, one type of text."""
    if isinstance(dtype, pa.DictionaryType):
        return plain_type(dtype.value_type)
    if isinstance(dtype, pa.TimestampType):
        return pa.timestamp("us", dtype.tz)
    return next((plain for is_such, plain in PLAIN if is_such(dtype)), dtype)


def unified(schemas: Iterable[tuple[str, pa.Schema]], contract: Contract = NO_CONTRACT) -> pa.Schema:
    """Return the schema that all files fit, or name the file and the column that do not.

    Where the contract discards what does not fit, a column of several types is carried as text, for the load to judge.
    """
    whole: pa.Schema | None = None
    seen: set[pa.Schema] = set()
    for uri, schema in schemas:
        if schema in seen:
            continue
        seen.add(schema)
        whole = schema if whole is None else joined(whole, schema, uri, contract)
    return without_nulls(pa.schema([]) if whole is None else whole)


def joined(whole: pa.Schema, schema: pa.Schema, uri: str, contract: Contract = NO_CONTRACT) -> pa.Schema:
    """Return `whole` widened by the schema of one more file."""
    refuse_frozen(whole, schema, uri, contract)
    for name in (name for name in schema.names if contract.discards(name) and are_words(whole, schema, name)):
        # Arrow would carry both as bytes, which no number can become.
        whole, schema = with_text(whole, name), with_text(schema, name)
    try:
        return pa.unify_schemas([whole, schema], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        column = next(name for name in schema.names if not can_join(whole, schema.field(name)))
        if contract.discards(column):
            return joined(with_text(whole, column), with_text(schema, column), uri, contract)
        here, there = schema.field(column).type, whole.field(column).type
        msg = f"{uri}: column {column!r} is {here}, but {there} in the files before; give it one type in all files"
        raise ContractViolationError(msg, uri=uri, column=column) from exc


def refuse_frozen(whole: pa.Schema, schema: pa.Schema, uri: str, contract: Contract) -> None:
    """Raise for a column that is frozen, and that only some files have, or that has another type in one of them."""
    names = dict.fromkeys((*whole.names, *schema.names))
    for name in (name for name in names if contract.of(name) == "freeze"):
        here, before = (str(each.field(name).type) if name in each.names else "missing" for each in (schema, whole))
        if here != before:
            msg = f"{uri}: column {name!r} is {here}, but {before} in the files before, and the contract has frozen it"
            raise ContractViolationError(f"{msg}; give all files the same columns", uri=uri, column=name)


def are_words(whole: pa.Schema, schema: pa.Schema, name: str) -> bool:
    """Whether a column is text in one schema, and bytes in the other."""
    types = {str(each.field(name).type) for each in (whole, schema) if name in each.names}
    return types == {"string", "binary"}


def with_text(schema: pa.Schema, column: str) -> pa.Schema:
    """Return a schema with text in one column."""
    return schema.set(schema.get_field_index(column), pa.field(column, pa.string()))


def can_join(whole: pa.Schema, field: "pa.Field[Any]") -> bool:
    """Whether one column can be unified with what `whole` says of it."""
    try:
        pa.unify_schemas([whole, pa.schema([field])], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def first_sampled(samples: Iterable[tuple[pa.Schema, int]]) -> pa.Schema:
    """Return the schema of the first sample that has rows; where none has, the first that names columns."""
    found = pa.schema([])
    for schema, rows in samples:
        if rows:
            return schema
        found = found if found.names else schema
    return found


def without_nulls(schema: pa.Schema) -> pa.Schema:
    """Return `schema` with text where nothing but null was seen."""
    return pa.schema([pa.field(f.name, pa.string() if t.is_null(f.type) else f.type) for f in schema])


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `rows` in the columns and types of `schema`; a missing column is null."""
    if rows.schema.equals(schema, check_metadata=False):
        return rows.replace_schema_metadata(None)
    return pa.table([column(rows, field) for field in schema], schema=schema)


def text_of(value: object) -> str | None:
    """Return as text a value that Arrow may not cast: nested ones as JSON, bytes as rejects show them."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, ensure_ascii=False, default=str)


def column(rows: pa.Table, field: "pa.Field[Any]") -> "pa.ChunkedArray[Any]":
    """Return one column of `rows` as `field` wants it."""
    if field.name not in rows.schema.names:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
    found = rows[field.name]
    if found.type == field.type:
        return found
    if t.is_string(field.type) and (t.is_nested(found.type) or t.is_binary(found.type)):
        return pa.chunked_array([pa.array(map(text_of, found.to_pylist()), pa.string())])
    # PostgreSQL keeps microseconds: what is finer is cut off.
    return found.cast(field.type, safe=not t.is_temporal(field.type))
