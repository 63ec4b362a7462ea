"""The `filter` step, as users write it."""

from typing import Literal

from pydantic import Field

from dataproc.domain.fields import Spec


class FilterTransform(Spec):
    """Leaves the rows for which a condition is true; the others count as filtered."""

    kind: Literal["filter"]
    where: str = Field(
        min_length=1,
        max_length=10_000,
        description="A condition over the columns of a row, in DuckDB's SQL; a row for which it is false or null goes.",
        examples=["amount > 0 and status <> 'test'"],
    )
