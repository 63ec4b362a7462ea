"""The `validate` step: rows that break a rule are set aside, with every rule they broke."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, failing
from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import BadDataError
from dataproc.domain.rules import ColumnRule, parse_value
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand, with_column, with_type
from dataproc.transforms.types import arrow_type

HOLDS: dict[str, tuple[Callable[[Cells, "pa.Scalar[pa.DataType]"], "pa.BooleanArray"], str]] = {
    "ge": (pc.greater_equal, ">="),
    "gt": (pc.greater, ">"),
    "le": (pc.less_equal, "<="),
    "lt": (pc.less, "<"),
}
PATTERNS = {
    "email": r"^[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+$",
    "uuid": r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}


@dataclass(frozen=True, slots=True)
class Validate:
    """Checks each column against its rule; good rows come out with the declared types."""

    spec: ValidateTransform

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the declared types, or name a column that is missing or can never fit."""
        demand(before, self.spec.columns, "validate.columns")
        for name, rule in self.spec.columns.items():
            before = with_type(before, name, rule.type, "validate.columns")
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the rows that hold all rules."""
        rows, breaks = chunk.rows, list[Break]()
        for name, rule in self.spec.columns.items():
            before = cells_of(chunk.rows, name)
            cells, found = checked(before, name, rule)
            breaks += found
            if cells is not before:
                rows = with_column(rows, name, cells)
        if not breaks:
            return chunk.keep(rows)
        return self.without(chunk, rows, breaks)

    def without(self, chunk: Chunk, rows: pa.Table, breaks: list[Break]) -> Chunk:
        """Return the chunk without the rows that broke a rule."""
        bad = broken(breaks, rows.num_rows)
        good = rows.filter(pa.array(~bad))
        match self.spec.on_error:
            case "quarantine":
                return chunk.keep(good, rejects=reject_table(chunk.rows, breaks))
            case "drop":
                return chunk.keep(good, filtered=int(bad.sum()))
            case "fail":
                raise failure(chunk, int(bad.argmax()), breaks)
            case _:
                assert_never(self.spec.on_error)


def failure(chunk: Chunk, at: int, breaks: list[Break]) -> BadDataError:
    """Return the error for the first bad row; it names the row, but shows none of its values."""
    first = next(each for each in breaks if each.mask[at])
    position = chunk.rows[POSITION][at].as_py()
    msg = f"{chunk.unit}, row {position}: {first.reason}; correct the row, or set on_error to quarantine"
    return BadDataError(msg, unit=chunk.unit, position=position, column=first.column, rule=first.rule)


def checked(before: Cells, name: str, rule: ColumnRule) -> tuple[Cells, list[Break]]:
    """Return the cells in the declared type, and the rules that some of them break."""
    cells, bad = cast(before, arrow_type(rule.type))
    found = [] if bad is None else [Break("type", name, f"column {name!r} is no {rule.type}", bad)]
    if rule.required and before.null_count:
        found.append(
            Break("required", name, f"column {name!r} is null", before.is_null().to_numpy(zero_copy_only=False))
        )
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
    if rule.pattern is not None:
        yield "pattern", f"column {name!r} does not match /{rule.pattern}/", matched(cells, rule.pattern)
    if rule.type in PATTERNS:
        yield rule.type, f"column {name!r} is no {rule.type}", matched(cells, PATTERNS[rule.type])
    if rule.type == "json":
        yield "type", f"column {name!r} is no json", is_json(cells)


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
    """Whether text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
