"""What was set aside of published loads, as callers look at it and as a replay reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from dataproc.domain.replay import Selection


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A rule that a row broke; `row` is the row as the rule met it, encrypted where the source is personal.

    `is_row`: the row is whole, so that it can be replayed; `replayed_by` is the job that has taken it since.
    """

    id: int
    run: UUID
    attempt: int | None
    unit: str
    position: int
    rule: str
    column: str | None
    code: str | None
    reason: str
    row: str | None = field(repr=False)
    is_row: bool
    is_encrypted: bool
    replayed_by: UUID | None
    rejected_at: datetime


@dataclass(frozen=True, slots=True)
class RejectPage:
    """Some rejects, and the id after which the next page begins; `None`: this is the last."""

    rejects: Sequence[StoredReject]
    after: int | None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """How often a rule was broken in a column, and how many of these rejects were replayed."""

    rule: str
    column: str | None
    rejects: int
    replayed: int


class Rejects(Protocol):
    """The rejects of published loads."""

    def page(self, selection: Selection, *, after: int, limit: int) -> RejectPage:
        """Return rejects whose ids come after `after`, in their order: up to `limit`, or fewer where rows are large."""

    def counts(self, job: UUID) -> Sequence[RejectCount]:
        """Return how often each rule was broken, the most frequent first."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row that was set aside, decrypted; `id` is that of its first reject."""

    id: int
    text: str = field(repr=False)
    was_encrypted: bool = False


class RejectedRows(Protocol):
    """Rows that wait for a replay. It travels to Ray workers, so it pickles, and holds no open connection."""

    def is_published(self, job: UUID) -> bool:
        """Return whether a job has published, and so has set aside what it ever will."""

    def rows(self, selection: Selection, span: tuple[int, int] | None = None) -> Iterator[RawRow]:
        """Yield each row that can be replayed and was not yet, once, in the order of ids; `span` is half-open."""

    def stuck(self, selection: Selection) -> int:
        """Return how many rejects can never be replayed, because their rows are not whole."""
