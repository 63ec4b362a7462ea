"""What a query is made of: only what turns one row into one, or none, is let through; the row's place is added."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import ContractViolationError
from dataproc.transforms.sandbox import sandbox
from dataproc.transforms.syntax import Node, demand_allowed

TABLE = "batch"
WHERE = "sql.query"
REFUSED_PARTS = {
    "modifiers": "ORDER BY, LIMIT and DISTINCT look at other rows",
    "group_expressions": "GROUP BY looks at other rows",
    "group_sets": "GROUP BY looks at other rows",
    "having": "HAVING looks at other rows",
    "qualify": "QUALIFY looks at other rows",
    "sample": "a sample throws dice",
}


@lru_cache(maxsize=256)
def rewritten(query: str) -> str:
    """Return a query that gives `POSITION` along with each row, last, or say what of it is not allowed."""
    told = sandbox().cursor().execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    found: Node = json.loads(told[0]) if told else {"error": True}
    if found["error"]:
        raise refused(f"it cannot be read: {found.get('error_message', 'there is no statement')}")
    if len(found["statements"]) != 1:
        raise refused("there is more than one statement")
    carry(found["statements"][0]["node"], frozenset({TABLE}))
    text = sandbox().cursor().execute("SELECT json_deserialize_sql(?)", [json.dumps(found)]).fetchone()
    return str(text[0]) if text else ""


def carry(select: Node, tables: frozenset[str]) -> None:
    """Let a SELECT give `POSITION` as well, and those within it; `tables` are the names that it may read."""
    if select["type"] != "SELECT_NODE":
        raise refused("it is no plain SELECT; UNION and others of this kind are not allowed")
    for part, why in REFUSED_PARTS.items():
        if select.get(part):
            raise refused(why)
    if select["aggregate_handling"] != "STANDARD_HANDLING":
        raise refused(REFUSED_PARTS["group_sets"])
    for entry in select["cte_map"]["map"]:
        carry(query_of(entry["value"]), tables)
        tables |= {entry["key"].lower()}
    demand_one_table(select["from_table"], tables)
    for each in (select["select_list"], select.get("where_clause")):
        demand_of_one_row(each)
    select["select_list"].append(column(POSITION))


def query_of(entry: Node) -> Node:
    """Return the SELECT behind a name of WITH."""
    if entry.get("key_targets") or entry.get("payload_aggregates"):
        raise refused("a recursive query looks at other rows")
    found: Node = entry["query_node"] if "query_node" in entry else entry["query"]["node"]
    return found


def demand_one_table(table: Node, tables: frozenset[str]) -> None:
    """Refuse to read from anything but one table, which is known."""
    if table.get("sample"):
        raise refused(REFUSED_PARTS["sample"])
    match table["type"]:
        case "SUBQUERY":
            carry(table["subquery"]["node"], tables)
        case "BASE_TABLE" if is_known(table, tables):
            return
        case "BASE_TABLE":
            raise refused(f"there is no table {'.'.join(table['qualified_name']['path'])!r}, only {TABLE!r}")
        case "JOIN":
            raise refused("a join may give a row more than once; use an enrich step")
        case _:
            raise refused(f"it does not read from {TABLE!r} alone")


def is_known(table: Node, tables: frozenset[str]) -> bool:
    """Whether a table is one of `tables`, and no other one of this name."""
    elsewhere = table.get("schema_name") or table.get("catalog_name")
    return not elsewhere and str(table["table_name"]).lower() in tables


def demand_of_one_row(node: object) -> None:
    """Refuse an expression that looks at more than one row, or at `POSITION`; `*` leaves the latter out."""
    for each in nodes(node):
        if each.get("class") == "STAR":
            if each.get("expr") is not None:
                raise refused("COLUMNS with a pattern is not allowed; name the columns")
            each["exclude_list"].append(POSITION)
            continue
        demand_allowed(each, "the query", WHERE)
        if each.get("class") == "COLUMN_REF" and each["column_names"][-1].lower() == POSITION:
            raise refused(f"{POSITION} is carried along by itself; leave it out")


def nodes(node: object) -> Iterator[dict[str, Any]]:
    """Yield all nodes below one."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(each)


def column(name: str) -> Node:
    """Return the node of a column."""
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": [name]}


def refused(why: str) -> ContractViolationError:
    """Return the error for a query."""
    return ContractViolationError(f"{WHERE}: {why}; write one SELECT from {TABLE!r} that turns each row by itself")
