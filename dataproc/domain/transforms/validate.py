"""The `validate` step, as users write it."""

from typing import Annotated, Literal

from pydantic import Field

from dataproc.domain.fields import ColumnName, Spec
from dataproc.domain.rules import ColumnRule


class ValidateTransform(Spec):
    """Sets aside the rows that break a rule, with every rule they break."""

    kind: Literal["validate"]
    columns: dict[ColumnName, ColumnRule] = Field(min_length=1)
    on_error: Literal["quarantine", "drop", "fail"] = Field(
        default="quarantine",
        description="Keep bad rows in the reject table, only count them, or fail the run at the first.",
    )
    max_rejects: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^\d{1,3}(\.\d+)?%$")] | None = Field(
        default=None, description="A count or a share such as `1%`: above it nothing is published. None: no limit."
    )
