"""What can be asked of a registered source before any job reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Discovered:
    """Something in a source that a job can read: its name, its columns (name and type), and about how many rows."""

    name: str
    columns: tuple[tuple[str, str], ...] = ()
    rows: int | None = None


class Connector(Protocol):
    """Reaches a registered source. Raises the same errors as a job that reads it."""

    def test(self) -> str:
        """Log in; return what the source says of itself, such as its version."""

    def discover(self) -> Sequence[Discovered]:
        """Return what there is to read, by name."""
