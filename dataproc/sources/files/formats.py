"""What a file source needs from a format, and how names tell formats."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.errors import BadDataError, DataprocError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.compression import without_packing_name
from dataproc.sources.files.reasons import origin_of, reason_of
from dataproc.sources.files.storage import Files, FoundFile

FormatName = Literal["parquet", "csv", "jsonl", "json", "avro"]

BY_NAME: dict[str, FormatName] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".avro": "avro",
}  # fmt: skip


class FilePlanning(Protocol):
    """A way to cut files into units. It travels to other processes, so it pickles."""

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Return units that cover all rows of `files` exactly once."""


class FileFormat(FilePlanning, Protocol):
    """A way to cut files into units and to read a unit."""

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema of the rows that come from units which carry `schema`."""

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield rows (with `POSITION`) and rejects of a unit that is not empty."""


def format_of(uri: str) -> FormatName | None:
    """Return the format that a file's name tells, if it does."""
    name = without_packing_name(uri)
    return next((known for end, known in BY_NAME.items() if name.endswith(end)), None)


def common_format(files: Sequence[FoundFile]) -> FormatName:
    """Return the one format of all files, or name a file that is in the way."""
    known: dict[FormatName, str] = {}
    for file in files:
        name = format_of(file.uri)
        if name is None:
            msg = f"{file.uri}: its name does not tell the format; set `format`, or narrow the path"
            raise BadDataError(msg, uri=file.uri)
        known[name] = file.uri
    if len(known) > 1:
        raise BadDataError(f"path: it matches several formats ({', '.join(known.values())}); narrow it")
    return next(iter(known))


def nowhere() -> str:
    """Return no place in a file."""
    return ""


@contextmanager
def readable(uri: str, name: FormatName, place: Callable[[], str] = nowhere) -> Iterator[None]:
    """Raise `BadDataError` that names the file where its bytes cannot be decoded, whatever the decoder raises.

    `place` returns where in the file the decoder is, such as `row group 3`.
    """
    try:
        yield
    except DataprocError:
        raise
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:  # of the system, not of the data
            raise
        raise bad_file(uri, name, exc, place()) from exc


def bad_file(uri: str, name: FormatName, exc: Exception, place: str = "") -> BadDataError:
    """Return the error for a file that is damaged or of another format."""
    where = f" at {place}" if place else ""
    error = BadDataError(
        f"{uri} cannot be read as {name}{where}: {reason_of(exc)}; it is damaged, cut off, or of another format",
        uri=uri,
    )
    if (origin := origin_of(exc)) is not None:
        error.add_note(origin)
    return error


def empty_file(uri: str, name: FormatName) -> BadDataError:
    """Return the error for a file without a byte, of a format that has bytes without rows, too."""
    msg = f"{uri} is empty, so it is not a {name} file: its writer was cut off; write it anew, or exclude it"
    return BadDataError(msg, uri=uri)
