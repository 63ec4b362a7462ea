"""One schema for many files: types made plain, differences unified or refused by name."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.types as t

from dataproc.arrow.python_values import python_values
from dataproc.arrow.timestamps import nested_microseconds, to_microseconds
from dataproc.domain.chunk import POSITION
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.joined_types import are_fractions, joined_type
from dataproc.sources.origins import Origins, misfit

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
    origins = Origins()
    for uri, schema in schemas:
        if schema in seen:
            continue
        seen.add(schema)
        named = schema if whole is None else respelled(schema, whole, contract)
        origins.add(named, uri)
        whole = named if whole is None else joined(whole, named, uri, origins, contract)
    return origins.noted(without_nulls(pa.schema([]) if whole is None else whole))


def joined(
    whole: pa.Schema, schema: pa.Schema, uri: str, origins: Origins, contract: Contract = NO_CONTRACT
) -> pa.Schema:
    """Return `whole` widened by the schema of one more file."""
    refuse_frozen(whole, schema, uri, contract)
    fields = {field.name: field for field in whole}
    for field in schema:
        before = fields.get(field.name, field)
        dtype = joined_type(before.type, field.type)
        if dtype is None and are_fractions(before.type, field.type):
            dtype = pa.float64()
        if dtype is None:
            if not contract.discards(field.name):
                msg = (
                    f"{uri}: column {field.name!r} is {field.type}, but {before.type} in the files before "
                    f"({origins.first(field.name, before.type)}); give it one type in all files"
                )
                raise ContractViolationError(msg, uri=uri, column=field.name)
            dtype = pa.string()
        fields[field.name] = pa.field(field.name, dtype)
    return pa.schema(list(fields.values()))


def respelled(schema: pa.Schema, whole: pa.Schema, contract: Contract) -> pa.Schema:
    """Return the schema of a file with columns named as in the files before, where only the case of a name differs.

    Only columns under `evolve` become one, and never two columns of one file.
    """
    known = {name.casefold(): name for name in whole.names if contract.of(name) == "evolve"}
    names = [
        name
        if name in whole.names or contract.of(name) != "evolve" or known.get(name.casefold(), name) in schema.names
        else known.get(name.casefold(), name)
        for name in schema.names
    ]
    if len(set(names)) < len(names):
        return schema
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def note_on_case(schemas: Iterable[tuple[str, pa.Schema]], schema: pa.Schema) -> tuple[str, ...]:
    """Return the sentence that names the columns of files whose names differ in case only."""
    spellings: dict[str, dict[str, None]] = {}
    for _, each in schemas:
        for name in each.names:
            spellings.setdefault(name.casefold(), {})[name] = None
    found = [list(names) for names in spellings.values() if len(names) > 1]
    if not found:
        return ()
    told = "; ".join(
        f"{', '.join(names)} ({'one column' if sum(n in schema.names for n in names) == 1 else 'columns of their own'})"
        for names in found
    )
    return (f"names of columns differ only in case: {told}; under `contract: evolve` they are one column",)


def refuse_frozen(whole: pa.Schema, schema: pa.Schema, uri: str, contract: Contract) -> None:
    """Raise for a column that is frozen, and that only some files have, or that has another type in one of them."""
    names = dict.fromkeys((*whole.names, *schema.names))
    for name in (name for name in names if contract.of(name) == "freeze"):
        here, before = (str(each.field(name).type) if name in each.names else "missing" for each in (schema, whole))
        if here != before:
            msg = f"{uri}: column {name!r} is {here}, but {before} in the files before, and the contract has frozen it"
            raise ContractViolationError(f"{msg}; give all files the same columns", uri=uri, column=name)


def without_nulls(schema: pa.Schema) -> pa.Schema:
    """Return `schema` with text where nothing but null was seen."""
    return pa.schema([pa.field(f.name, pa.string() if t.is_null(f.type) else f.type) for f in schema])


def conformed(rows: pa.Table, schema: pa.Schema, uri: str = "") -> pa.Table:
    """Return `rows` of a file in the columns and types of `schema`; a missing column is null."""
    if rows.schema.equals(schema, check_metadata=False):
        return rows.replace_schema_metadata(None)
    columns = [column(rows, field, schema.names, uri) for field in schema]
    return pa.Table.from_arrays(columns, names=schema.names)


def text_of(value: object) -> str | None:
    """Return as text a value that Arrow may not cast: nested ones as JSON, bytes as rejects show them."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, ensure_ascii=False, default=str)


def spelling_of(name: str, rows: pa.Table, others: Sequence[str]) -> str | None:
    """Return what `rows` call a column that they spell in another case; not a column that is wanted as well."""
    found = [n for n in rows.schema.names if n.casefold() == name.casefold() and n not in others]
    return found[0] if len(found) == 1 else None


def exact_fractions(found: "pa.ChunkedArray[Any]", field: "pa.Field[Any]") -> "pa.ChunkedArray[Any]":
    """Return decimals as the nearest binary fractions; Arrow's own cast does not give the nearest.

    Raises:
        pa.ArrowInvalid: the shortest text of a binary fraction is another number than the decimal.
    """
    fractions = found.cast(pa.string()).cast(field.type)
    if not fractions.cast(pa.string()).cast(found.type).equals(found):
        msg = "a decimal has more digits than a binary fraction"
        raise pa.ArrowInvalid(msg)
    return fractions


def column(rows: pa.Table, field: "pa.Field[Any]", others: Sequence[str] = (), uri: str = "") -> "pa.ChunkedArray[Any]":
    """Return one column of `rows` as `field` wants it; `others` are the names of all columns that are wanted.

    Raises:
        ContractViolationError: a value is not one of the type that holds those of all files.
    """
    name = field.name if field.name in rows.schema.names else spelling_of(field.name, rows, others)
    if name is None:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
    found = rows[name]
    if found.type == field.type:
        return found
    try:
        return as_type(found, field)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as exc:
        # The message of Arrow holds the value.
        raise misfit(found.type, field, uri) from exc


def as_type(found: "pa.ChunkedArray[Any]", field: "pa.Field[Any]") -> "pa.ChunkedArray[Any]":
    """Return values of one file in the type that holds those of all files; raises errors of Arrow."""
    if t.is_string(field.type) and (t.is_nested(found.type) or t.is_binary(found.type)):
        return pa.chunked_array([pa.array(map(text_of, python_values(found)), pa.string())])
    if t.is_decimal(found.type) and t.is_floating(field.type):
        return exact_fractions(found, field)
    if t.is_temporal(field.type):
        # Files may join times of several units; those that are finer than microseconds are rounded.
        chunks: list[Any] = [to_microseconds(chunk).cast(field.type) for chunk in found.chunks]
        return pa.chunked_array(chunks or [pa.array([], field.type)])
    if t.is_nested(found.type):
        with suppress(pa.ArrowInvalid):
            return found.cast(field.type)
        return pa.chunked_array([nested_microseconds(chunk).cast(field.type) for chunk in found.chunks])
    return found.cast(field.type)
