"""Which PostgreSQL type holds the values of two others, and what it costs a column to become it."""

from __future__ import annotations

import re
from typing import Literal

Cost = Literal["catalog", "rewrite"]
"""What PostgreSQL has to do: change its catalog, or write the whole table anew."""

INTEGERS = {"smallint": 5, "integer": 10, "bigint": 19}
"""With the digits that their values may have."""
FLOATS = ("real", "double precision")
MOST_DIGITS = 1000
NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
LIMITED = re.compile(r"(character varying|character)\((\d+)\)")
SPELLINGS = {"timestamp": "timestamp without time zone", "time": "time without time zone"}
BASES = {
    "smallint": "int2", "integer": "int4", "bigint": "int8", "real": "float4", "double precision": "float8",
    "text": "text", "character varying": "varchar", "character": "bpchar", "numeric": "numeric",
    "timestamp without time zone": "timestamp",
}  # fmt: skip
"""The internal names of the types that a column may become."""


def widened(one: str, other: str) -> str | None:
    """Return the least type that holds all values of both, without loss; `None`: there is none of their kind."""
    one, other = spelled(one), spelled(other)
    if one == other:
        return one
    if {one, other} == {"date", SPELLINGS["timestamp"]}:
        return SPELLINGS["timestamp"]
    if is_text(one) and is_text(other):
        return longer(one, other)
    return number_for(one, other) if is_number(one) and is_number(other) else None


def cost_of(before: str, after: str) -> Cost | None:
    """Return what it costs a column to become the wider type `after`; `None`: its values would change."""
    before, after = spelled(before), spelled(after)
    if before in FLOATS and after not in FLOATS:
        return None  # PostgreSQL keeps 15 of their digits
    if before.startswith("character varying") and is_text(after):
        return "catalog"
    old, new = NUMERIC.fullmatch(before), NUMERIC.fullmatch(after)
    keeps_scale = old is not None and (after == "numeric" or (new is not None and new[2] == old[2]))
    return "catalog" if keeps_scale else "rewrite"


def base_of(sql_type: str) -> str:
    """Return the internal name of a type that is the result of widening."""
    return BASES[spelled(sql_type).partition("(")[0]]


def spelled(sql_type: str) -> str:
    """Return a type as the catalog spells it."""
    return SPELLINGS.get(sql_type, sql_type)


def is_text(sql_type: str) -> bool:
    """Whether values are characters."""
    return sql_type in ("text", "character varying") or LIMITED.fullmatch(sql_type) is not None


def is_number(sql_type: str) -> bool:
    """Whether values are numbers."""
    return sql_type in (*INTEGERS, *FLOATS, "numeric") or NUMERIC.fullmatch(sql_type) is not None


def longer(one: str, other: str) -> str:
    """Return the type of characters for both."""
    first, second = LIMITED.fullmatch(one), LIMITED.fullmatch(other)
    if first is not None and second is not None and first[1] == second[1]:
        return f"{first[1]}({max(int(first[2]), int(second[2]))})"
    kinds = {one.partition("(")[0], other.partition("(")[0]}
    return "character varying" if kinds == {"character varying"} else "text"


def number_for(one: str, other: str) -> str:
    """Return the type of numbers for both."""
    floats = [each for each in (one, other) if each in FLOATS]
    if len(floats) == 2:
        return "double precision"
    if floats:
        whole = other if floats[0] == one else one
        return {"smallint": floats[0], "integer": "double precision"}.get(whole, "numeric")
    if one in INTEGERS and other in INTEGERS:
        return max(one, other, key=lambda name: INTEGERS[name])
    return decimal_for(one, other)


def decimal_for(one: str, other: str) -> str:
    """Return the decimal type for two exact ones, of which one is a decimal."""
    if "numeric" in (one, other):
        return "numeric"
    (whole, fraction), (others_whole, others_fraction) = digits_of(one), digits_of(other)
    whole, fraction = max(whole, others_whole), max(fraction, others_fraction)
    return f"numeric({whole + fraction},{fraction})" if whole + fraction <= MOST_DIGITS else "numeric"


def digits_of(sql_type: str) -> tuple[int, int]:
    """Return how many digits an exact number has before and after its point."""
    if (found := NUMERIC.fullmatch(sql_type)) is None:
        return INTEGERS[sql_type], 0
    precision, scale = int(found[1]), int(found[2])
    return max(precision - scale, 0), max(scale, 0)
