"""Where the bytes of files are decoded: in this process, or in one that may die (`isolated.py`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.formats import FileFormat, FilePlanning
from dataproc.sources.files.storage import Files, FoundFile


class Readers(Protocol):
    """Decodes files. It travels to workers, so it pickles."""

    def plan(self, form: FilePlanning, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Return units that cover all rows of `files` exactly once."""

    def read(self, form: FileFormat, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield rows and rejects of a unit whose reader has died before."""


@dataclass(frozen=True, slots=True)
class ReadersHere:
    """Decodes files in this process, which ends with a decoder that ends its process."""

    def plan(self, form: FilePlanning, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        return form.plan(storage, files)

    def read(self, form: FileFormat, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        return form.read(storage, unit, schema)
