"""What an expression is made of: DuckDB reads it, and only what gives one value for each row is let through."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.sandbox import allowed_functions, sandbox

Node: TypeAlias = dict[str, Any]

REFUSED = {
    "SUBQUERY": "a query within an expression",
    "WINDOW": "a function over other rows",
    "STAR": "`*`",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column by its number",
    "DEFAULT": "DEFAULT",
}
ALLOWED = frozenset(
    {
        "COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "FUNCTION", "OPERATOR", "CASE", "CAST", "BETWEEN",
        "COLLATE", "LAMBDA", "TYPE",
    }
)  # fmt: skip
AGE_OF_TWO = 2
"""Arguments of `age` for which it does not look at the clock."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """The columns that an expression names, each with the fields below it."""

    references: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=1024)
def syntax_of(text: str, where: str) -> Syntax:
    """Return what `text` is made of, or raise `ContractViolationError` if it is more than an expression."""
    if not text.strip():
        raise refused(text, where, "there is none")
    statement = f"SELECT ({text}\n)"
    told = sandbox().cursor().execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    found: Node = json.loads(told[0]) if told else {"error": True}
    if found["error"]:
        raise refused(text, where, f"it cannot be read: {found.get('error_message', 'no statement')}")
    statements = found["statements"]
    if len(statements) != 1 or not is_plain(statements[0]["node"]):
        raise refused(text, where, "it is more than one expression")
    return Syntax(tuple(dict.fromkeys(references(statements[0]["node"]["select_list"][0], text, where, frozenset()))))


def is_plain(node: Node) -> bool:
    """Whether a statement only selects one expression, from nothing."""
    parts = ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify", "modifiers")
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(part) for part in parts)
        and not node["cte_map"]["map"]
    )


def references(node: object, text: str, where: str, bound: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Yield the columns below a node; `bound` are the names that functions within the expression give to values."""
    if isinstance(node, list):
        for each in node:
            yield from references(each, text, where, bound)
    if not isinstance(node, dict):
        return
    demand_allowed(node, text, where)
    if node.get("class") == "COLUMN_REF":
        names = tuple(map(str, node["column_names"]))
        if names[0].lower() not in bound:
            yield names
        return
    if node.get("class") == "LAMBDA":
        yield from references(node["expr"], text, where, bound | parameters(node["lhs"]))
        return
    for each in node.values():
        yield from references(each, text, where, bound)


def parameters(node: object) -> frozenset[str]:
    """Return the names that stand before the arrow of a function within the expression."""
    if isinstance(node, list):
        return frozenset().union(*map(parameters, node))
    if not isinstance(node, dict):
        return frozenset()
    if node.get("class") == "COLUMN_REF":
        return frozenset(str(name).lower() for name in node["column_names"])
    return frozenset().union(*map(parameters, node.values()))


def demand_allowed(node: Node, text: str, where: str) -> None:
    """Refuse what looks at anything but the row at hand, or does not always tell the same."""
    kind = node.get("class")
    if kind is not None and kind not in ALLOWED:
        raise refused(text, where, f"{REFUSED.get(str(kind), str(kind).lower())} is not allowed")
    if kind != "FUNCTION":
        return
    name = str(node["function_name"]).lower()
    if node.get("schema") or name not in allowed_functions():
        raise refused(text, where, f"there is no function {name!r} that looks at one row and always tells the same")
    if name == "age" and len(node.get("arguments", ())) < AGE_OF_TWO:
        raise refused(text, where, "`age` of one moment looks at the clock; give it two")


def refused(text: str, where: str, why: str) -> ContractViolationError:
    """Return the error for an expression."""
    return ContractViolationError(f"{where}: {text!r}: {why}; write one expression over the columns of a row")
