"""The `validate` step: rows that break a rule are set aside, with every rule they broke."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import failing
from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import BadDataError
from dataproc.domain.keys import KeyRule, key_schema, keys_of
from dataproc.domain.transforms.validate import Rule, ValidateTransform
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.columns import cells_of, demand, demand_comparable, with_column, with_type
from dataproc.transforms.complaints import Complaints
from dataproc.transforms.expressions import Expression, in_one_piece
from dataproc.transforms.validate_columns import checked
from dataproc.transforms.validate_model import broken_by_model, demand_model
from dataproc.transforms.validate_schema import broken_by_schema, demand_schema


@dataclass(frozen=True, slots=True)
class Validate:
    """Checks each row against its rules; good rows come out with the declared types."""

    spec: ValidateTransform
    python_modules: tuple[str, ...] = ()

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the declared types, or name every column that is missing or can never fit."""
        complaints, after = Complaints(), before
        with complaints.heard():
            demand(before, self.spec.columns, "validate.columns")
        for name, rule in self.spec.columns.items():
            with complaints.heard():
                after = with_type(after, name, rule.type, "validate.columns") if name in before.names else after
        for each in self.spec.rules if not complaints.found else ():
            with complaints.heard():
                expression(each).demand_truth(after)
        for columns in self.spec.keys:
            with complaints.heard():
                demand_comparable(after, columns, "validate.unique")
        with complaints.heard():
            self.demand_others(after)
        complaints.tell()
        return after

    def demand_others(self, schema: pa.Schema) -> None:
        """Raise for a JSON Schema or a model that no row can be held against."""
        if self.spec.json_schema is not None:
            demand_schema(self.spec.json_schema, schema)
        if self.spec.model is not None:
            demand_model(self.spec.model, self.python_modules, schema)

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        """Return the rules over all rows of the run."""
        after = self.schema(before)
        return tuple(KeyRule(key, key_schema(after, key), self.spec.on_error) for key in self.spec.keys)

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the rows that hold all rules, and with the keys of these."""
        rows, breaks = chunk.rows, list[Break]()
        for name, rule in self.spec.columns.items():
            cells, found = checked(cells_of(chunk.rows, name), name, rule)
            breaks += found
            rows = with_column(rows, name, cells)
        breaks += self.others(rows)
        after = self.without(chunk, rows, breaks) if breaks else chunk.keep(rows)
        for key in self.spec.keys:
            after = after.with_keys(keys_of(after.rows, key))
        return after

    def others(self, rows: pa.Table) -> Iterator[Break]:
        """Yield the rules beyond those of single columns that rows break."""
        for rule in self.spec.rules:
            yield from broken_rule(rule, rows)
        if self.spec.json_schema is not None:
            yield from broken_by_schema(self.spec.json_schema, rows)
        if self.spec.model is not None:
            yield from broken_by_model(self.spec.model, self.python_modules, rows)

    def without(self, chunk: Chunk, rows: pa.Table, breaks: Sequence[Break]) -> Chunk:
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


def expression(rule: Rule) -> Expression:
    """Return what a rule expects."""
    return Expression(rule.expect, f"validate.rules: {rule.name!r}")


def broken_rule(rule: Rule, rows: pa.Table) -> Iterator[Break]:
    """Yield where a rule does not hold, and where it cannot be computed; null holds."""
    expected = expression(rule)
    values, failed = expected.attempt(rows)
    columns = ", ".join(expected.columns(rows.schema))
    if not pc.all(values, min_count=0).as_py():  # null holds
        yield Break(rule.name, columns, f"{rule.expect} does not hold", failing(in_one_piece(values)))
    if failed is not None and failed.any():
        yield Break(rule.name, columns, f"{rule.expect} cannot be computed", failed)


def failure(chunk: Chunk, at: int, breaks: Sequence[Break]) -> BadDataError:
    """Return the error for the first bad row; it names the row, but shows none of its values."""
    first = next(each for each in breaks if each.mask[at])
    position = chunk.rows[POSITION][at].as_py()
    msg = f"{chunk.unit}, row {position}: {first.reason}; correct the row, or set on_error to quarantine"
    return BadDataError(msg, unit=chunk.unit, position=position, column=first.column, rule=first.rule)
