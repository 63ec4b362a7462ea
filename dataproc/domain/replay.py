"""Replays: rows that a job has set aside, loaded by another one."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rejects of a job are meant: those of a rule, of a column, or (`None`) of any."""

    job: UUID
    rule: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """How many rows of a selection a plan takes: all that hold a whole row, and that no other job has taken."""

    selection: Selection
    rows: int
