"""What a job remembers of its source from run to run, and how one run moves it on.

A memory belongs to a job's name and a target. It changes only in the publish transaction, by compare and set: rows and
memory are committed together or not at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

CursorKind = Literal["number", "timestamp", "text"]
"""How values of a cursor are ordered: numbers, ISO 8601 timestamps, or text by its code points."""


@dataclass(frozen=True, slots=True)
class CursorMove:
    """How far an incremental source has been read: up to and with `before`, and by this run up to and with `after`.

    Values are text. Where `after` is `None` the plan cannot tell, and the greatest `high` of the chunks is taken.
    """

    cursor: str
    kind: CursorKind
    before: str | None
    after: str | None = None

    def moved(self, highs: Iterable[str]) -> str | None:
        """Return where the watermark stands after this run; it never moves back."""
        values = [value for value in (self.before, self.after) if value is not None]
        if self.after is None:
            values += highs
        return max(values, key=lambda value: order_of(value, self.kind), default=None)

    def window(self, highs: Iterable[str]) -> "Window":
        """Return what this run has read."""
        return Window(self.cursor, self.before, self.moved(highs))


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows a run has read: those whose cursor is beyond `after`, up to and with `up_to`; `None`: no bound."""

    cursor: str
    after: str | None
    up_to: str | None


@dataclass(frozen=True, slots=True)
class SourceObject:
    """A file or object in one version, as a source found it."""

    uri: str
    version: str
    size: int


def order_of(value: str, kind: CursorKind) -> Decimal | datetime | str:
    """Return what orders the values of a cursor."""
    match kind:
        case "number":
            return Decimal(value)
        case "timestamp":
            return datetime.fromisoformat(value)
        case "text":
            return value


def is_later(value: str, than: str, kind: CursorKind) -> bool:
    """Whether a value of a cursor comes after another."""
    return order_of(value, kind) > order_of(than, kind)  # type: ignore[operator]  # both are of one kind
