"""The files that the types of a column come from, for messages about files that do not go together."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dataproc.domain.errors import ContractViolationError

FILES = b"dataproc.files"
"""The metadata of a field whose type was joined: a JSON object of the types in files and the first file of each."""


@dataclass(frozen=True, slots=True)
class Origins:
    """The types of columns in files, and the first file of each type."""

    files: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, schema: pa.Schema, uri: str) -> None:
        """Note the types of one more file."""
        for column in schema:
            self.files.setdefault(column.name, {}).setdefault(str(column.type), uri)

    def first(self, name: str, dtype: pa.DataType) -> str:
        """Return the first file with a type of a column; the first of all where none has the type, which is joined."""
        found = self.files[name]
        return found.get(str(dtype), next(iter(found.values())))

    def noted(self, schema: pa.Schema) -> pa.Schema:
        """Return a schema in which the columns of several types name the files."""
        return pa.schema([self.with_files(column) for column in schema])

    def with_files(self, column: pa.Field[Any]) -> pa.Field[Any]:
        """Return a field that names the files if they have several types."""
        found = self.files.get(column.name, {})
        return column if len(found) < 2 else column.with_metadata({FILES: json.dumps(found).encode()})


def misfit(dtype: pa.DataType, column: pa.Field[Any], uri: str) -> ContractViolationError:
    """Return the error for a column of a file with a value that the type of all files does not hold."""
    found = json.loads((column.metadata or {}).get(FILES, b"{}"))
    others = [f"{other} in {place}" for other, place in found.items() if other != str(dtype)]
    where = f"{', '.join(others[:3])}; " if others else ""
    return ContractViolationError(
        f"{uri}: column {column.name!r} is {dtype}, but {where}it is read as {column.type}, which does not hold all "
        "its values; give the column one type in all files, such as text",
        uri=uri,
        column=column.name,
    )
