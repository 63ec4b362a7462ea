"""A storage whose files end the process that reads them, or keep it waiting; it travels to processes of readers."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from dataproc.sources.files.storage import FoundFile, Storage

KILLER, WAITING = b"KILL", b"WAIT"
"""What files begin with that end their reader, or keep it waiting for ever."""


@dataclass(frozen=True)
class DeadlyStorage:
    """A storage with some files that are not as others."""

    storage: Storage

    def find(self) -> Iterator[FoundFile]:
        return self.storage.find()

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        return self.storage.confirmed(files)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        with self.storage.open(uri, version, size, ahead=ahead) as file:
            begin = file.read(4)
            if begin == KILLER:
                os.abort()
            if begin == WAITING:
                threading.Event().wait()
            file.seek(0)
            yield file
