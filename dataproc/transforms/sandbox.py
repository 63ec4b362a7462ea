"""DuckDB, locked up: it sees the rows it is handed, and no file, no network, no extension, and no other rows."""

from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t
from duckdb.sqltypes import DuckDBPyType

from dataproc.domain.cells import Mask

MEMORY = "1GB"
ALLOWED_MACROS = frozenset(
    {
        "nullif", "if", "split_part", "date_add", "days_in_month", "fdiv", "fmod", "list_append", "list_prepend",
        "list_reverse", "list_count", "list_sum", "list_avg", "list_min", "list_max", "array_to_string",
    }
)  # fmt: skip
"""Functions that DuckDB defines by others, and that tell the same for the same values."""
NOT_IN_ARROW = frozenset({"uhugeint", "time with time zone", "bit", "bignum", "varint"})
"""Types of DuckDB whose values Arrow does not hold, by the names that DuckDB's Python gives them."""
NESTED = frozenset({"list", "array", "struct", "map", "union"})
LAST = 2**63 - 1
"""The ticks of DuckDB's infinite moments."""
REFUSED_BEGINNINGS = ("current_", "__", "json_serialize_", "json_deserialize_")
"""Functions that look at the clock although DuckDB calls them constant, or that are the tools of its own planner."""


@cache
def sandbox() -> duckdb.DuckDBPyConnection:
    """Return the connection of this process; each use takes a cursor of its own, for threads must not share one."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,  # Ray decides how many tasks a machine runs
            "memory_limit": MEMORY,
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


def computed(rows: pa.Table, expression: str) -> "pa.ChunkedArray[Any]":
    """Return the value of an expression, which was checked or is ours, for each row."""
    with sandbox().cursor() as cursor:
        found = exported(cursor.from_arrow(rows).project(f"{expression} AS value"))
    return found["value"]


def exported(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Return the rows of a relation.

    Raises:
        pa.ArrowNotImplementedError: a column has a type whose values Arrow would take for others: the greatest of
            `uhugeint` become negative, `timetz` loses its zone, and bits become bytes of DuckDB's own.
    """
    for name, dtype in zip(relation.columns, relation.types, strict=True):
        if (wrong := without_arrow(dtype)) is not None:
            msg = f"{name} is {wrong}, which has no type to be handed on in; cast it, such as {name}::varchar"
            raise pa.ArrowNotImplementedError(msg)
    rows: pa.Table = relation.to_arrow_table()
    return rows


def without_arrow(dtype: DuckDBPyType, *, nested: bool = False) -> str | None:
    """Return the type, or the one within it, that Arrow does not have; `None`: Arrow has all."""
    if dtype.id in NOT_IN_ARROW or (nested and dtype.id == "interval"):
        return str(dtype)
    within = dtype.children if dtype.id in NESTED else []
    below = [child for _, child in within if isinstance(child, DuckDBPyType)]
    return next((found for each in below if (found := without_arrow(each, nested=True)) is not None), None)


def is_infinite(values: "pa.ChunkedArray[Any]") -> Mask | None:
    """Mark infinite moments, which Arrow would export as finite ones; `None`: all moments are finite."""
    if not t.is_timestamp(values.type):
        return None
    ticks = values.cast(pa.int64())
    ends = pc.min_max(ticks)
    if ends["max"].as_py() != LAST and ends["min"].as_py() != -LAST:
        return None
    return np.asarray(pc.coalesce(pc.is_in(ticks, pa.array([LAST, -LAST])), pa.scalar(value=False)), np.bool_)


@cache
def allowed_functions() -> frozenset[str]:
    """Return the functions that give one value for each row, and always the same one for the same values."""
    told = sandbox().cursor().execute("SELECT lower(function_name), function_type, stability FROM duckdb_functions()")
    rows = [(str(name), kind == "scalar" and stability == "CONSISTENT") for name, kind, stability in told.fetchall()]
    others = {name for name, is_pure in rows if not is_pure}
    pure = {name for name, is_pure in rows if is_pure and not name.startswith(REFUSED_BEGINNINGS)}
    return frozenset(pure - others | ALLOWED_MACROS)
