"""The destination of a job, as users write it."""

from typing import Literal

from pydantic import Field

from dataproc.domain.fields import Spec


class Destination(Spec):
    """A table of the warehouse."""

    table: str = Field(
        pattern=r'^[^."\x00]{1,63}\.[^."\x00]{1,63}$',
        description="schema.table; made if it is missing.",
        examples=["analytics.orders"],
    )
    mode: Literal["append"] = Field(default="append", description="Add the rows to what is there.")
    load: Literal["auto", "direct", "staged"] = Field(
        default="auto",
        description="`direct`: one COPY in the publish transaction; `staged`: unit by unit; `auto` chooses by size.",
    )

    @property
    def schema_name(self) -> str:
        """The schema's name, without quotes."""
        return self.table.partition(".")[0]

    @property
    def table_name(self) -> str:
        """The table's name within its schema, without quotes."""
        return self.table.partition(".")[2]
