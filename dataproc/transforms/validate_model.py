"""Rows against a model of pydantic, all rows of a batch at once."""

import importlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dataproc.domain.errors import BadDataError, ContractViolationError, InvalidSpecError
from dataproc.domain.foreign_code import is_error_of_code
from dataproc.transforms.breaks import Break
from dataproc.transforms.records import Found, Record, breaks_of, nested_properties, records

OWN = ("value_error", "assertion_error")
"""Errors of a model's own functions, whose messages may hold values."""


def demand_model(path: str, modules: tuple[str, ...], schema: pa.Schema) -> None:
    """Raise for a model that cannot be had, or that requires a column that is missing."""
    fields = model_of(path, modules).model_fields
    wanted = [key_of(name, field) for name, field in fields.items() if field.is_required()]
    missing = [name for name in wanted if name is not None and name not in schema.names]
    if missing:
        msg = f"validate.model: the rows have no column {', '.join(map(repr, missing))}, which {path} requires"
        raise ContractViolationError(msg, column=missing[0])


def key_of(name: str, field: FieldInfo) -> str | None:
    """Return the column of a field; `None`: there may be several, of which the model takes one."""
    if field.validation_alias is None:
        return name
    return field.validation_alias if isinstance(field.validation_alias, str) else None


def broken_by_model(path: str, modules: tuple[str, ...], rows: pa.Table) -> Iterator[Break]:
    """Yield the rules of a model that rows break."""
    model = model_of(path, modules)
    return breaks_of(found(model, path, records(rows, nested_fields(model))), rows.num_rows)


def found(model: type[BaseModel], path: str, rows: list[Record]) -> Iterator[Found]:
    """Yield what is wrong, row by row."""
    may_be_left_out = {key_of(name, field) for name, field in model.model_fields.items() if not field.is_required()}
    seen = [
        {name: value for name, value in row.items() if value is not None or name not in may_be_left_out} for row in rows
    ]
    try:
        adapter(model).validate_python(seen)
    except ValidationError as exc:
        yield from map(told, exc.errors(include_url=False, include_input=False, include_context=False))
    except BaseException as exc:
        if not is_error_of_code(exc):
            raise
        msg = f"validate.model: {path} failed with {type(exc).__name__}; run it by itself to see more"
        raise BadDataError(msg) from exc


def told(error: ErrorDetails) -> Found:
    """Return what an error says: the number of the row, the rule, the column and the reason, without the value."""
    at, *place = error["loc"]
    column, kind = str(place[0]) if place else "", error["type"]
    reason = error["msg"] if kind not in OWN and "tag" not in kind else "the model's own check does not hold"
    return int(at), kind, column, f"column {column!r}: {reason}" if column else reason


@lru_cache(maxsize=32)
def nested_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the columns that the model takes as objects or lists."""
    try:
        return nested_properties(model.model_json_schema())
    except PydanticInvalidForJsonSchema:
        return frozenset()


@lru_cache(maxsize=32)
def adapter(model: type[BaseModel]) -> "TypeAdapter[list[Any]]":
    """Return what holds many rows against a model at once."""
    return TypeAdapter(list[model])  # type: ignore[valid-type] # the model is only known now


@lru_cache(maxsize=32)
def model_of(path: str, modules: tuple[str, ...]) -> type[BaseModel]:
    """Return the model at `package.module:Order`, if its package is allowed."""
    module, _, name = path.partition(":")
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules):
        raise InvalidSpecError(
            f"validate.model: the module {module!r} is not allowed; add its package to DATAPROC_PYTHON_MODULES"
        )
    try:
        model = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        msg = f"validate.model: the module {exc.name!r} is not installed where runners and workers are"
        raise InvalidSpecError(msg) from exc
    except AttributeError as exc:
        raise InvalidSpecError(f"validate.model: the module {module!r} has nothing that is called {name!r}") from exc
    except BaseException as exc:
        if not is_error_of_code(exc):
            raise
        msg = f"validate.model: the module {module!r} fails with {type(exc).__name__} when it is imported"
        raise InvalidSpecError(f"{msg}; import it by itself") from exc
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise InvalidSpecError(f"validate.model: {path} is no model of pydantic; name a class below BaseModel")
    return model
