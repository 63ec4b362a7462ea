"""Small files that a plan has read: they travel with their units, so that workers need not fetch them again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from dataproc.domain.unit import Unit
from dataproc.sources.files.storage import Files

SMALL_FILE = 256 * 1024
"""Bytes of a file that takes less time to read than a task to begin, or a request to be answered."""
FEW_FILES = 32
"""Files up to which nothing is kept: workers then read what is there, which costs them little."""
MAX_KEPT = 64 * 1024 * 1024
"""Bytes of files that travel with the units of one plan."""


@dataclass(frozen=True, slots=True)
class KeepingStorage:
    """Files of a storage; each small one is read as a whole when it is first opened, and kept in its version."""

    storage: Files
    max_kept: int = MAX_KEPT
    kept: dict[tuple[str, str], bytes] = field(default_factory=dict, repr=False)
    size: Counter[None] = field(default_factory=Counter)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        is_small = size is not None and 0 < size <= SMALL_FILE
        with self.storage.open(uri, version, size, ahead=ahead and not is_small) as file:
            yield pa.BufferReader(self.whole(uri, version, file)) if is_small else file

    def whole(self, uri: str, version: str, file: pa.NativeFile) -> bytes:
        """Return all bytes of a small file; nothing is asked of the storage for one that is kept."""
        found = self.kept.get((uri, version))
        if found is None:
            found = file.read()
            # Threads may exceed the limit by a small file each.
            if self.size[None] + len(found) <= self.max_kept:
                self.size[None] += len(found)
                self.kept[uri, version] = found
        return found

    def content_of(self, unit: Unit) -> bytes | None:
        """Return the bytes of a unit that is a whole file; `None`: it was not kept."""
        return self.kept.get((unit.uri, unit.version)) if unit.span is None else None


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A storage of which one file need not be asked for, because its bytes travelled with its unit."""

    storage: Files
    uri: str
    content: bytes = field(repr=False)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        if uri == self.uri:
            yield pa.BufferReader(self.content)
        else:
            with self.storage.open(uri, version, size, ahead=ahead) as file:
                yield file
