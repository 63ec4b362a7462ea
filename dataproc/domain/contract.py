"""The contract of a target, as users write it: what happens when rows do not look as it does."""

from typing import Literal

from pydantic import Field

from dataproc.domain.fields import NewColumn, Spec

ContractKind = Literal["evolve", "freeze", "discard_value", "discard_row"]


class Contract(Spec):
    """What each column does about rows that do not look like it.

    `evolve` adds columns and widens types, `freeze` fails before anything is read, `discard_value` leaves null,
    `discard_row` sets rows aside. Without one, new columns are refused, and values must fit the columns that are there.
    """

    default: ContractKind | None = Field(default=None, description="For all columns that `columns` does not name.")
    columns: dict[NewColumn, ContractKind] = Field(default={}, description="By the column's name in the target.")

    def of(self, column: str) -> ContractKind | None:
        """Return what holds for a column."""
        return self.columns.get(column, self.default)

    def discards(self, column: str) -> bool:
        """Whether values that do not fit a column are discarded, or their rows."""
        return self.of(column) in ("discard_value", "discard_row")


NO_CONTRACT = Contract()
