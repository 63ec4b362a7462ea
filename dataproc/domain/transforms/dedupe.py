"""The `dedupe` step, as users write it."""

from typing import Annotated, Literal

from pydantic import Field

from dataproc.domain.fields import ColumnName, Spec


class KeepLatest(Spec):
    """Of rows with the same keys, the one with the greatest value stays; null is the least."""

    latest: ColumnName


class KeepEarliest(Spec):
    """Of rows with the same keys, the one with the least value stays; null is the greatest."""

    earliest: ColumnName


class DedupeTransform(Spec):
    """Leaves one row for each combination of keys, of all rows of the run; nulls are equal to each other here."""

    kind: Literal["dedupe"]
    keys: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=32)]
    keep: Literal["first", "last"] | KeepLatest | KeepEarliest = Field(
        default="first",
        description="Which row stays: the `first` or `last` in the order of the source, or `{latest: column}` or "
        "`{earliest: column}`, in which the order of the source decides between equals.",
    )
