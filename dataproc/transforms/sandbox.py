"""DuckDB, locked up: it sees the rows it is handed, and no file, no network, no extension, and no other rows."""

from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

MEMORY = "1GB"
ALLOWED_MACROS = frozenset(
    {
        "nullif", "if", "split_part", "date_add", "days_in_month", "fdiv", "fmod", "list_append", "list_prepend",
        "list_reverse", "list_count", "list_sum", "list_avg", "list_min", "list_max", "array_to_string",
    }
)  # fmt: skip
"""Functions that DuckDB defines by others, and that tell the same for the same values."""
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
        found: pa.Table = cursor.from_arrow(rows).project(f"{expression} AS value").to_arrow_table()
    return found["value"]


@cache
def allowed_functions() -> frozenset[str]:
    """Return the functions that give one value for each row, and always the same one for the same values."""
    told = sandbox().cursor().execute("SELECT lower(function_name), function_type, stability FROM duckdb_functions()")
    rows = [(str(name), kind == "scalar" and stability == "CONSISTENT") for name, kind, stability in told.fetchall()]
    others = {name for name, is_pure in rows if not is_pure}
    pure = {name for name, is_pure in rows if is_pure and not name.startswith(REFUSED_BEGINNINGS)}
    return frozenset(pure - others | ALLOWED_MACROS)
