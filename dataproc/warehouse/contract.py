"""How rows meet the columns of a target that is there, as its contract says: which travel how, and what is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pyarrow as pa
from psycopg import sql

from dataproc.domain.contract import Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.warehouse.attributes import Attribute
from dataproc.warehouse.change import Alteration, Change, named
from dataproc.warehouse.columns import Column, declare, kind_of, meet
from dataproc.warehouse.families import family, plain_type
from dataproc.warehouse.widening import base_of, cost_of, is_text, spelled, widened

Field: TypeAlias = "pa.Field[pa.DataType]"
WITHOUT_CAST = frozenset({"json", "uuid", "interval", "array", "other"})
"""Kinds of columns for which no transform has a type: text is as near as a source can come."""


@dataclass(slots=True)
class Meeting:
    """The fields of a source and the columns of a target, on their way to a match; says all that is wrong at once."""

    table: str
    identifier: sql.Identifier
    attributes: Sequence[Attribute]
    fields: Sequence[Field]
    contract: Contract
    columns: list[Column] = field(default_factory=list)
    left_out: list[Column] = field(default_factory=list)
    alterations: list[Alteration] = field(default_factory=list)

    def match(self) -> Match:
        """Return what becomes of each field, or refuse the columns that cannot be matched by name."""
        known = {attribute.name: attribute for attribute in self.attributes}
        self.refuse_strangers(known)
        for each in self.fields:
            self.meet(each, known.get(each.name))
        return Match(tuple(self.columns), tuple(self.left_out), Change(self.table, tuple(self.alterations)))

    def refuse_strangers(self, known: dict[str, Attribute]) -> None:
        """Refuse columns that only one side has, where that cannot be mended."""
        names = [each.name for each in self.fields]
        kinds = {name: self.contract.of(name) for name in (*names, *known)}
        refused = [n for n in names if n not in known and kinds[n] in (None, "freeze")]
        refuse_some(self.table, "has no column", refused, "change the table, write `contract: evolve`, or rename or")
        refuse_some(self.table, "computes by itself", [n for n in names if n in known and known[n].generated])
        lacking = [a for a in self.attributes if a.name not in names and not a.is_filled_by_table]
        needed = [a.name for a in lacking if a.required]
        refuse_some(self.table, "needs a value that the source lacks for", needed)
        frozen = [a.name for a in lacking if kinds[a.name] == "freeze"]
        refuse_some(self.table, "is frozen, and the source lacks", frozen, "change the contract, or rename or")

    def meet(self, each: Field, attribute: Attribute | None) -> None:
        """Find out how the values of one field travel."""
        kind = self.contract.of(each.name)
        if attribute is None:
            self.add(each)
            return
        if kind == "freeze" and not is_same(each, attribute):
            raise drifted(self.table, each, attribute)
        if kind == "evolve":
            attribute = self.widen(each, attribute)
        try:
            self.columns.append(replace(matched(each, attribute), contract=kind))
        except ContractViolationError:
            if not self.contract.discards(each.name) or (attribute.required and not attribute.has_default):
                raise
            self.leave_out(each, attribute.sql_type)

    def add(self, each: Field) -> None:
        """Add a column to the target, or leave it out."""
        if self.contract.discards(each.name):
            self.leave_out(each, "")
            return
        column = replace(declare(each), contract="evolve")
        self.columns.append(column)
        self.alterations.append(Alteration(self.identifier, each.name, None, column.sql_type))

    def leave_out(self, each: Field, sql_type: str) -> None:
        """Note a column that does not get into the target; without a type, the target has no such column."""
        contract = self.contract.of(each.name)
        self.left_out.append(Column(each.name, sql_type, each.type, contract=contract))

    def widen(self, each: Field, attribute: Attribute) -> Attribute:
        """Return the column as it will be; where nothing wider holds both, it stays, and values must fit it."""
        before = attribute.sql_type
        after = widened(before, declare(each).sql_type)
        holds_all = after in (None, before) or (before == "character varying" and after == "text")
        if holds_all or after is None or cost_of(before, after) is None:
            return attribute
        self.alterations.append(Alteration(self.identifier, each.name, before, after))
        return replace(attribute, sql_type=after, base_sql_type=after, base_type=base_of(after))


@dataclass(frozen=True, slots=True)
class Match:
    """What becomes of the fields of a source: columns that are filled, columns left out, and the change needed."""

    columns: tuple[Column, ...]
    left_out: tuple[Column, ...]
    change: Change


def matched(each: Field, attribute: Attribute) -> Column:
    """Return how values of a field travel into an existing column."""
    column = Column(each.name, attribute.sql_type, pa.string(), "text", attribute.required)
    return meet(each, column, attribute.base_type, attribute.base_sql_type)


def is_same(each: Field, attribute: Attribute) -> bool:
    """Whether a column holds every value of a field as it is, or text where transforms have no such type."""
    wanted = spelled(attribute.base_sql_type)
    if widened(wanted, declare(each).sql_type) == wanted:
        return True
    is_words = family(plain_type(each.type)) in ("text", "nested")
    return is_words and (is_text(wanted) or kind_of(matched(each, attribute), attribute.base_type) in WITHOUT_CAST)


def drifted(table: str, each: Field, attribute: Attribute) -> ContractViolationError:
    """Return the error for a frozen column of another type."""
    return ContractViolationError(
        f"column {each.name} of {table} is frozen as {attribute.sql_type}, and the source has {each.type} "
        f"({declare(each).sql_type}); cast it in a clean transform, or change the contract",
        column=each.name,
    )


def refuse_some(
    table: str, problem: str, columns: Sequence[str], advice: str = "change the table, or rename or"
) -> None:
    """Refuse when there are such columns."""
    if columns:
        told = f"{table} {problem} {named(columns[:10])}; {advice} drop columns in a clean transform"
        raise ContractViolationError(told, columns=list(columns))
