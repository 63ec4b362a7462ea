"""Encrypted columns of Parquet files, found in the footer before Arrow decodes it: Arrow 26 ends the process on them.

The footer is Thrift in its compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Its structures are in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.sources.files.reasons import DamagedError

TAIL = 8
"""Bytes at the end of a file: the length of the footer, and its magic."""
ENCRYPTED_FOOTER = b"PARE"
MAY_BE_ENCRYPTED = re.compile(rb"[\x1c\x2c\x3c\x4c\x5c\x6c\x7c][\x1c\x2c][\x00\x18\x28\x31\x32]")
"""The field `encryption_algorithm` of the footer: a structure (`FileMetaData`, field 8) of another one."""
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
ROW_GROUPS, COLUMNS, CRYPTO_METADATA, WITH_COLUMN_KEY, PATH = 4, 1, 8, 2, 1
DEEPEST = 64


def refuse_encrypted(file: pa.NativeFile, uri: str) -> None:
    """Raise `BadDataError` for a Parquet file with an encrypted footer, or with encrypted columns, which are named."""
    size = file.size()
    file.seek(max(size - TAIL, 0))
    tail = file.read(TAIL)
    if tail[4:] == ENCRYPTED_FOOTER:
        raise BadDataError(f"{uri}: its footer is encrypted; write the file without encryption", uri=uri)
    length = int.from_bytes(tail[:4], "little")
    if len(tail) == TAIL and length <= size - TAIL:
        file.seek(size - TAIL - length)
        footer = file.read(length)
        names = encrypted_columns(footer) if MAY_BE_ENCRYPTED.search(footer) else []
        if names:
            listed = ", ".join(repr(name) for name in names[:10])
            raise BadDataError(f"{uri}: column {listed} is encrypted; write the file without encryption", uri=uri)
    file.seek(0)


def encrypted_columns(footer: bytes) -> list[str]:
    """Return the columns that a footer calls encrypted; nothing for a footer that Arrow will not understand."""
    try:
        return list(dict.fromkeys(Thrift(footer).encrypted()))
    except (IndexError, DamagedError):
        return []


@dataclass(slots=True)
class Thrift:
    """Reads structures of Thrift; `at` is the place of the next byte."""

    data: bytes
    at: int = 0

    def encrypted(self) -> Iterator[str]:
        """Yield the names of the encrypted columns of a `FileMetaData`."""
        for number, kind in self.fields():
            if number != ROW_GROUPS or kind != LIST:
                self.skip(kind)
                continue
            for _ in range(self.length()):
                yield from self.encrypted_in_group()

    def encrypted_in_group(self) -> Iterator[str]:
        """Yield the names of the encrypted columns of a `RowGroup`."""
        for number, kind in self.fields():
            if number != COLUMNS or kind != LIST:
                self.skip(kind)
                continue
            for place in range(self.length()):
                if (name := self.name_of_encrypted(place)) is not None:
                    yield name

    def name_of_encrypted(self, place: int) -> str | None:
        """Return the name of the next `ColumnChunk` if it is encrypted; its number where the footer's key is used."""
        name = None
        for number, kind in self.fields():
            if number == CRYPTO_METADATA and kind == STRUCT:
                name = self.column_name() or f"number {place + 1}"
            else:
                self.skip(kind)
        return name

    def column_name(self) -> str:
        """Return the path in the next `ColumnCryptoMetaData`; empty where it has none."""
        name = ""
        for number, kind in self.fields():
            if number != WITH_COLUMN_KEY or kind != STRUCT:
                self.skip(kind)
                continue
            for inner, inner_kind in self.fields():
                if inner == PATH and inner_kind == LIST:
                    name = ".".join(self.text() for _ in range(self.length()))
                else:
                    self.skip(inner_kind)
        return name

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield the numbers and types of the fields of a structure; each is passed before the next one."""
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            yield number, head & 0x0F

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass a value."""
        if depth > DEEPEST:
            raise DamagedError("its footer is nested too deep")
        match kind:
            case _ if kind in (TRUE, FALSE):
                return
            case _ if kind == DOUBLE:
                self.at += 8
            case _ if kind == BYTE:
                self.at += 1
            case _ if kind == BINARY:
                self.text()
            case _ if kind in (LIST, SET, MAP, STRUCT):
                self.skip_nested(kind, depth + 1)
            case _:
                self.varint()

    def skip_nested(self, kind: int, depth: int) -> None:
        """Pass a value that holds others."""
        if kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth)
            return
        inner_kinds = [self.data[self.at] & 0x0F]
        count = self.varint() if kind == MAP else self.length()
        if kind == MAP:
            kinds = self.byte() if count else 0
            inner_kinds = [kinds >> 4, kinds & 0x0F]
        for _ in range(count):
            for inner in inner_kinds:
                # A truth value within a list or map takes a byte.
                self.skip(BYTE if inner in (TRUE, FALSE) else inner, depth)

    def length(self) -> int:
        """Return the length of a list, after its head."""
        size = self.byte() >> 4
        count = self.varint() if size == 15 else size
        if count > len(self.data):
            raise DamagedError("its footer claims a list that is longer than the footer")
        return count

    def text(self) -> str:
        """Return a text."""
        size = self.varint()
        self.at += size
        return self.data[self.at - size : self.at].decode(errors="replace")

    def zigzag(self) -> int:
        """Return a number with a sign."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def varint(self) -> int:
        """Return a number without a sign."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def byte(self) -> int:
        """Return the next byte; raises `IndexError` at the end."""
        self.at += 1
        return self.data[self.at - 1]
