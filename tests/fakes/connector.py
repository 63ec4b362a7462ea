"""A source that answers, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataproc.ports.connector import Discovered


@dataclass(frozen=True, slots=True)
class FakeConnector:
    """A source that can be asked."""

    told: str = "in memory 1.0"
    found: tuple[Discovered, ...] = ()

    def test(self) -> str:
        return self.told

    def discover(self) -> Sequence[Discovered]:
        return self.found
