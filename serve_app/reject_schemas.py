"""What the API answers about rejects: as JSON, and as files of all of them."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from dataproc.ports.rejects import RejectCount, RejectPage, StoredReject

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet take a cell for a formula."""


class RejectView(BaseModel):
    """A rule that a row broke."""

    id: int
    run: UUID
    attempt: int | None
    unit: str
    position: int
    rule: str
    column: str | None
    code: str | None = Field(description="What machines tell it by: the rule, or the SQLSTATE of a refused row.")
    reason: str
    row: str | None = Field(description="The row as the rule met it, as JSON; encrypted where the source is personal.")
    encrypted: bool
    whole: bool = Field(description="Whether the row can be replayed; one that is no row, or too long, cannot.")
    replayed_by: UUID | None = Field(description="The job that has taken the row since.")
    rejected_at: datetime

    @classmethod
    def of(cls, reject: StoredReject) -> "RejectView":
        """Return what is told of `reject`."""
        same = {name: getattr(reject, name) for name in cls.model_fields if name not in ("encrypted", "whole")}
        return cls(**same, encrypted=reject.is_encrypted, whole=reject.is_row)


class RejectList(BaseModel):
    """A page of rejects, in the order in which they were set aside; `next` is the cursor of the following page."""

    rejects: list[RejectView]
    next: int | None

    @classmethod
    def of(cls, page: RejectPage) -> "RejectList":
        """Return what is told of `page`."""
        return cls(rejects=[RejectView.of(each) for each in page.rejects], next=page.after)


class RejectCountView(BaseModel):
    """How often a rule was broken in a column."""

    rule: str
    column: str | None
    rejects: int
    replayed: int

    @classmethod
    def of(cls, count: RejectCount) -> "RejectCountView":
        """Return what is told of `count`."""
        return cls(rule=count.rule, column=count.column, rejects=count.rejects, replayed=count.replayed)


Lines = Callable[[Sequence[StoredReject]], str]


def csv_head() -> str:
    """Return the first line of a CSV file."""
    return csv_lines([list(RejectView.model_fields)])


def csv_text(rejects: Sequence[StoredReject]) -> str:
    """Return rejects as lines of CSV."""
    return csv_lines([list(map(cell, RejectView.of(each).model_dump(mode="json").values())) for each in rejects])


def csv_lines(rows: Sequence[Sequence[str]]) -> str:
    """Return lines of CSV (RFC 4180), every cell in quotes."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()


def cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet computes: what looks like a formula begins with an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(DANGEROUS) else value
    return "" if value is None else json.dumps(value)


def ndjson_text(rejects: Sequence[StoredReject]) -> str:
    """Return rejects as lines of JSON."""
    return "".join(RejectView.of(each).model_dump_json() + "\n" for each in rejects)
