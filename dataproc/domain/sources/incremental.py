"""Sources that give only what is new."""

from datetime import timedelta

from pydantic import Field

from dataproc.domain.duration import Duration
from dataproc.domain.fields import ColumnName, Spec


class Incremental(Spec):
    """Read only rows whose cursor is beyond what the last published run has read."""

    cursor: ColumnName = Field(description="The column or field that grows: a number, a time, or text that sorts.")
    start: str | int | None = Field(default=None, description="The first run begins after this value; none: all rows.")
    lag: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        description="Leave rows younger than this for the next run, because older ones may still come in late.",
    )
