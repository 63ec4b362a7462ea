"""Small files that a plan has read: they travel with their units, so workers do not fetch them again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from dataproc.domain.unit import Unit
from dataproc.sources.files.storage import Files

SMALL_FILE = 256 * 1024
"""Bytes of a file whose reading takes less time than the start of a task or the answer to a request."""
FEW_FILES = 32
"""Up to so many files, a plan keeps none: to fetch them again costs workers little."""
MAX_KEPT = 64 * 1024 * 1024
"""Bytes of files that travel with the units of one plan."""


@dataclass(slots=True)
class KeepingFiles:
    """Files whose small ones are read as a whole at the first opening, and kept by their version."""

    files: Files
    max_kept: int = MAX_KEPT
    kept: dict[tuple[str, str], bytes] = field(default_factory=dict, repr=False)
    size: int = 0

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        is_small = size is not None and 0 < size <= SMALL_FILE
        with self.files.open(uri, version, size, ahead=ahead and not is_small) as file:
            yield pa.BufferReader(self.whole(uri, version, file)) if is_small else file

    def whole(self, uri: str, version: str, file: pa.NativeFile) -> bytes:
        """Return all bytes of a small file; a kept file is not read again."""
        found = self.kept.get((uri, version))
        if found is None:
            found = file.read()
            # Each thread may exceed the limit by a small file.
            if self.size + len(found) <= self.max_kept:
                self.size += len(found)
                self.kept[uri, version] = found
        return found

    def content_of(self, unit: Unit) -> bytes | None:
        """Return the bytes of a unit that is a whole file; `None`: they were not kept."""
        return self.kept.get((unit.uri, unit.version)) if unit.span is None else None


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """The one file of a unit, whose bytes travelled with the unit."""

    content: bytes = field(repr=False)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        del uri, version, size, ahead
        yield pa.BufferReader(self.content)
