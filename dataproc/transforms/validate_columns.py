"""Rules of single columns: type, not null, range, length, pattern, set."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, failing
from dataproc.domain.rules import ColumnRule, parse_value
from dataproc.transforms.breaks import Break
from dataproc.transforms.cast import cast
from dataproc.transforms.emails import is_email
from dataproc.transforms.types import arrow_type

HOLDS: dict[str, tuple[Callable[[Cells, "pa.Scalar[pa.DataType]"], "pa.BooleanArray"], str]] = {
    "ge": (pc.greater_equal, ">="),
    "gt": (pc.greater, ">"),
    "le": (pc.less_equal, "<="),
    "lt": (pc.less, "<"),
}
UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


def checked(before: Cells, name: str, rule: ColumnRule) -> tuple[Cells, list[Break]]:
    """Return the cells in the declared type, and the rules that some of them break."""
    cells, bad = cast(before, arrow_type(rule.type))
    found = [] if bad is None else [Break("type", name, f"column {name!r} is no {rule.type}", bad)]
    if rule.required and before.null_count:
        is_null = before.is_null().to_numpy(zero_copy_only=False)
        found.append(Break("required", name, f"column {name!r} is null", is_null))
    for rule_name, reason, holds in tests(cells, name, rule):
        if not pc.all(holds, min_count=0).as_py():  # null holds every rule but `required`
            found.append(Break(rule_name, name, reason, failing(holds)))
    return cells, found


def tests(cells: Cells, name: str, rule: ColumnRule) -> Iterator[tuple[str, str, "pa.BooleanArray"]]:
    """Yield the rules of a column beyond its type: name, reason, and which cells hold it."""
    for bound, text in rule.bounds.items():
        compare, sign = HOLDS[bound]
        yield bound, f"column {name!r} is not {sign} {text}", compare(cells, scalar(rule, text, bound))
    if rule.one_of is not None:
        members = members_of(rule, rule.one_of).cast(cells.type)
        yield "one_of", f"column {name!r} is none of {', '.join(rule.one_of)}", is_in(cells, members)
    yield from lengths(cells, name, rule)
    if rule.pattern is not None:
        yield "pattern", f"column {name!r} does not match /{rule.pattern}/", matched(cells, rule.pattern)
    if (is_one := OF_TYPE.get(rule.type)) is not None:
        code = "type" if rule.type == "json" else rule.type
        yield code, f"column {name!r} is no {rule.type}", is_one(cells)


def lengths(cells: Cells, name: str, rule: ColumnRule) -> Iterator[tuple[str, str, "pa.BooleanArray"]]:
    """Yield the rules of a column's length."""
    if (rule.min_length, rule.max_length) == (None, None):
        return
    of_bytes = rule.type == "binary"
    length = typed("Cells", pc.call_function("binary_length" if of_bytes else "utf8_length", [cells]))
    unit = "bytes" if of_bytes else "characters"
    if (least := rule.min_length) is not None:
        reason = f"column {name!r} is shorter than {least} {unit}"
        yield "min_length", reason, pc.greater_equal(length, pa.scalar(least))
    if (most := rule.max_length) is not None:
        reason = f"column {name!r} is longer than {most} {unit}"
        yield "max_length", reason, pc.less_equal(length, pa.scalar(most))


def scalar(rule: ColumnRule, text: str, where: str) -> "pa.Scalar[pa.DataType]":
    """Return a bound to compare with; a decimal bound keeps its own digits."""
    value = parse_value(rule.type, text, where)
    return pa.scalar(value) if rule.type.startswith("decimal") else pa.scalar(value, arrow_type(rule.type))


def members_of(rule: ColumnRule, members: Sequence[str]) -> Cells:
    """Return the only values that a rule allows."""
    values: list[Any] = [parse_value(rule.type, each, "one_of") for each in members]
    return typed("Cells", pa.array(values))


def is_in(cells: Cells, members: Cells) -> "pa.BooleanArray":
    """Return which cells are members; null is neither in nor out."""
    return typed("pa.BooleanArray", pc.if_else(cells.is_null(), None, pc.is_in(cells, members)))


def matched(cells: Cells, pattern: str) -> "pa.BooleanArray":
    """Return which cells match a regular expression."""
    return pc.match_substring_regex(cells, pattern)


def is_json(cells: Cells) -> "pa.BooleanArray":
    """Return which cells are JSON; repeated values are parsed once."""
    found = cells.dictionary_encode()
    return pa.array([parses(str(text)) for text in found.dictionary.to_pylist()], pa.bool_()).take(found.indices)


def parses(text: str) -> bool:
    """Whether text is JSON, which knows no NaN and no infinity, unlike Python."""
    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def refuse(constant: str) -> None:
    """Refuse a number that JSON does not know."""
    raise ValueError(constant)


def is_uuid(cells: Cells) -> "pa.BooleanArray":
    """Return which cells are UUIDs."""
    return matched(cells, UUID)


OF_TYPE: dict[str, Callable[[Cells], "pa.BooleanArray"]] = {"email": is_email, "uuid": is_uuid, "json": is_json}
"""What text of a type must be."""
