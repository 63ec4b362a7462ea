"""What a file source needs from the place where its files are."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from dataproc.domain.unit import Unit


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it was when the source was planned; a changed file has another version."""

    uri: str
    version: str
    size: int

    def unit(
        self, schema: pa.Schema, *, kind: str = "", span: tuple[int, int] | None = None, size: int, rows: int | None
    ) -> Unit:
        """Return the unit of this file, or of the piece `span` of it."""
        piece = "" if span is None else f"#{kind}={span[0]}-{span[1]}"
        return Unit(f"{self.uri}@{self.version}{piece}", self.uri, self.version, size, span, rows, schema)


class Files(Protocol):
    """Files that can be opened. They travel to workers, so they pickle and hold nothing open."""

    def open(
        self, uri: str, version: str, size: int | None = None, *, ahead: bool = False
    ) -> AbstractContextManager[pa.NativeFile]:
        """Open this version of a file for random access, else raise `SourceChangedError`.

        `size` saves a request where it is known; `ahead` says that all of it will be read.
        """


class Storage(Files, Protocol):
    """A place with files."""

    def find(self) -> Iterator[FoundFile]:
        """Yield the files that the source names, each once; the same place gives the same order."""

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        """Yield the files as they are now, without those that are gone, where `find` may tell of the past."""
