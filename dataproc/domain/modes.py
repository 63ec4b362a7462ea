"""How rows are brought into a table: the modes and their options, as users write them."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from dataproc.domain.fields import NewColumn, Spec

Mode = Literal["append", "merge", "replace", "replace_partition", "scd2"]

OPTIONS: Mapping[Mode, frozenset[str]] = {
    "append": frozenset(),
    "merge": frozenset({"keys", "merge", "delete_flag"}),
    "replace": frozenset({"replace"}),
    "replace_partition": frozenset({"partition"}),
    "scd2": frozenset({"keys", "versions"}),
}
"""Which options belong to which mode."""


class Partition(Spec):
    """What a partition is: the rows with the same values in some columns, or in the same period of one."""

    by: tuple[NewColumn, ...] = Field(default=(), max_length=32, description="Columns, such as [country].")
    period: Literal["hour", "day", "week", "month", "quarter", "year"] | None = Field(
        default=None, description="Of one column that holds dates or times: all that falls into the same one (UTC)."
    )

    @model_validator(mode="after")
    def makes_sense(self) -> Self:
        """Refuse a period of several columns."""
        if self.period is not None and len(self.by) != 1:
            msg = f"period: a {self.period} is that of one column; name just one in `by`"
            raise ValueError(msg)
        return self


class Versions(Spec):
    """How the versions of a row are told apart."""

    valid_from: NewColumn = Field(default="valid_from", description="The column for when a version begins.")
    valid_to: NewColumn = Field(default="valid_to", description="The column for when it ends; null: not yet.")
    is_current: NewColumn = Field(default="is_current", description="The column for whether it is the latest.")
    effective: NewColumn | None = Field(
        default=None, description="A column of the source that says since when a row is so; none: since the load."
    )
    missing: Literal["keep", "close"] = Field(
        default="keep", description="What becomes of the latest versions of keys that the source has no more."
    )

    @property
    def names(self) -> tuple[str, str, str]:
        """The columns that tell versions apart."""
        return (self.valid_from, self.valid_to, self.is_current)

    @model_validator(mode="after")
    def makes_sense(self) -> Self:
        """Refuse a name that stands for two columns."""
        if len({*self.names, self.effective}) < len(self.names) + 1:
            msg = "valid_from, valid_to, is_current and effective must be different columns; rename one"
            raise ValueError(msg)
        return self


NO_PARTITION = Partition()
NO_VERSIONS = Versions()
