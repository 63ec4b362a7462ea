"""Hive partitions: folders called `key=value` are columns whose rows are constant in each file."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.schemas import checked_names

NULL = "__HIVE_DEFAULT_PARTITION__"
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Partition:
    """The columns that come from the folders of one file, and their values."""

    schema: pa.Schema
    values: tuple[object, ...]

    def added(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Yield the pieces with these columns after those of the file."""
        for piece in pieces:
            found = piece.rows
            for field, value in zip(self.schema, self.values, strict=True):
                cells = pa.repeat(pa.scalar(value, field.type), found.num_rows)
                found = found.add_column(found.num_columns - 1, field, cells)
            yield piece._replace(rows=found)


def partitions_of(files: Sequence[FoundFile], text: frozenset[str]) -> dict[str, Partition]:
    """Return the partition of each file by its URI; a type is that of the values in all files."""
    found = {file.uri: pairs_of(file.uri) for file in files}
    names = [name for name, _ in found[files[0].uri]]
    for uri, pairs in found.items():
        if sorted(name for name, _ in pairs) != sorted(names) or not names:
            wanted = ", ".join(f"{name}=…" for name in names) or "key=value"
            msg = f"{uri} is not in folders {wanted} as the first file is; narrow the path, or set `partitions: off`"
            raise ContractViolationError(msg, uri=uri)
    columns = {name: [dict(pairs)[name] for pairs in found.values()] for name in checked_names(names, files[0].uri)}
    types = {name: TEXT if name in text else type_of(values) for name, values in columns.items()}
    schema = pa.schema([(name, dtype) for name, (dtype, _) in types.items()])
    return {
        uri: Partition(schema, tuple(valued(dict(pairs)[name], types[name][1]) for name in names))
        for uri, pairs in found.items()
    }


def pairs_of(uri: str) -> list[tuple[str, str | None]]:
    """Return the names and values that the folders of a file tell."""
    folders = [folder.partition("=") for folder in uri.split("/")[:-1] if "=" in folder]
    return [(unquote(name), None if value == NULL else unquote(value)) for name, _, value in folders]


Typed = tuple[pa.DataType, Callable[[str], object]]

TEXT: Typed = (pa.string(), str)


def type_of(values: Sequence[str | None]) -> Typed:
    """Return the type that all values of a column have: whole numbers and days as one writes them, else text."""
    known = {value for value in values if value is not None}
    if known and all(WHOLE.fullmatch(value) for value in known):
        return pa.int64(), int
    if known and all(map(is_day, known)):
        return pa.date32(), date.fromisoformat
    return TEXT


def is_day(value: str) -> bool:
    """Whether a value is a day of the calendar."""
    if DAY.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def valued(text: str | None, convert: Callable[[str], object]) -> object:
    """Return a value of its type."""
    return None if text is None else convert(text)


def with_partition(schema: pa.Schema, partition: Partition) -> pa.Schema:
    """Return the schema of files and their folders; no column may be told by both."""
    for name in partition.schema.names:
        if name in schema.names:
            msg = f"column {name!r} is in the files and in the names of their folders; set `partitions: off`"
            raise ContractViolationError(msg, column=name)
    return pa.schema([*schema, *partition.schema])
