"""The source of a replay: what a job says of the rows that another one has set aside."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from dataproc.domain.fields import ColumnName, Spec
from dataproc.domain.sources.personal import Personal


class RejectsSource(Spec):
    """Rows that a job has set aside; each is loaded once, however often they are replayed."""

    kind: Literal["rejects"]
    job: UUID = Field(description="The job whose rejects are meant.")
    rule: str | None = Field(default=None, min_length=1, max_length=200, description="Only rows that broke this rule.")
    column: ColumnName | None = Field(default=None, description="Only rows in which this column broke a rule.")
    personal: Personal = False
