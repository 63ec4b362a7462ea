"""A memory that holds one watermark."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dataproc.domain.memory import SourceObject


@dataclass(frozen=True, slots=True)
class Remembering:
    """What a job remembers after a run that was published."""

    value: str | None

    def watermark(self, cursor: str) -> str | None:
        assert cursor
        return self.value

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        return iter(objects)

    def has_objects(self) -> bool:
        return False
