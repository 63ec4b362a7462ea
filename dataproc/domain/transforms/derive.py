"""The `derive` step, as users write it."""

from typing import Annotated, Literal

from pydantic import Field

from dataproc.domain.fields import NewColumn, Spec

ExpressionText = Annotated[str, Field(min_length=1, max_length=10_000, examples=["price * quantity"])]


class DeriveTransform(Spec):
    """Adds columns, or changes them, by expressions over the columns of a row."""

    kind: Literal["derive"]
    columns: dict[NewColumn, ExpressionText] = Field(
        min_length=1,
        description="Column to expression, in DuckDB's SQL; they come one after the other, so that each knows those "
        "before it.",
    )
    on_error: Literal["quarantine", "null", "fail"] = Field(
        default="quarantine",
        description="What becomes of a row for which an expression cannot be computed: it is set aside, the column is "
        "null, or the run fails.",
    )
