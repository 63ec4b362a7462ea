"""Sources of databases: what a job says of a table or a query."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dataproc.domain.fields import ColumnName, Name, Spec
from dataproc.domain.sources.incremental import Incremental
from dataproc.domain.sources.personal import Personal


class Split(Spec):
    """How many pieces a table is read in, and by which column."""

    column: ColumnName | Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        description="The column, or the columns of a composite key, whose values divide the rows; none: the places of "
        "the rows on disk.",
    )
    units: int = Field(default=8, ge=1, le=1000, description="Pieces to read in parallel.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values divide the rows; none: their places."""
        return (self.column,) if isinstance(self.column, str) else self.column or ()


class DatabaseSource(Spec):
    """Rows of a table, a view or a query; the connection says which database, and holds no secret."""

    kind: Literal["database"]
    connection: Name = Field(description="A registered source of a kind of database.")
    table: str | None = Field(
        default=None,
        pattern=r'^[^."`\x00]{1,128}(\.[^."`\x00]{1,128})?$',
        description="A table or view, with its schema where it has one; names are taken exactly.",
        examples=["public.orders"],
    )
    query: str | None = Field(
        default=None, min_length=1, max_length=100_000, description="One SELECT, in place of `table`."
    )
    columns: tuple[ColumnName, ...] = Field(
        default=(), max_length=1600, description="Columns to read, in this order; none: all."
    )
    as_text: tuple[ColumnName, ...] = Field(
        default=(),
        max_length=1600,
        description="Columns to read as the text that the database writes, such as those with infinite moments.",
    )
    where: str | None = Field(
        default=None, min_length=1, max_length=10_000, description="A condition in the database's SQL: only such rows."
    )
    incremental: Incremental | None = Field(default=None, description="Read only what is new since the last run.")
    split: Split | Literal["auto", "none"] = Field(
        default="auto", description="In how many pieces to read; `auto` divides large tables, `none` nothing."
    )
    verify_counts: bool | None = Field(
        default=None,
        description="Count the rows before they are read, and refuse a read that differs; none: of tables, where it is "
        "cheap, and not of views and queries.",
    )
    row_security: Literal["refuse", "apply"] = Field(
        default="refuse",
        description="PostgreSQL: what to do with a table whose row security policies hide rows from the user of the "
        "connection: refuse it, or read the rows that they show.",
    )
    personal: Personal = False

    @model_validator(mode="after")
    def names_one_thing(self) -> "DatabaseSource":
        """Refuse both a table and a query, or neither."""
        if (self.table is None) == (self.query is None):
            msg = "write either table or query, and not both"
            raise ValueError(msg)
        return self
