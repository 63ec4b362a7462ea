"""Text files in pieces: byte ranges that own whole lines, and blocks of whole records."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.files import Packing
from dataproc.sources.files.compression import MAGIC_SIZE, Compression, allowed, packing_of, unpacked
from dataproc.sources.files.encodings import AUTO, as_utf8, encoding_of, may_be_cut, refuse_other_encodings
from dataproc.sources.files.storage import Files, FoundFile

BLOCK = 16 * 1024 * 1024
SAMPLE = 1024 * 1024
LONGEST_LINE = 64 * 1024 * 1024
LOOK = 64 * 1024
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextForm:
    """How the characters of text files are stored: what packs them, what encodes them.

    With `auto`, the first bytes of each file show it: the magic number of what packs it, and a byte order mark.
    """

    packing: Packing = "auto"
    encoding: str = AUTO
    max_unpacked: int | None = None

    @property
    def expected(self) -> str:
        """The encoding that text without a byte order mark has."""
        return "utf-8" if self.encoding == AUTO else self.encoding

    def compression(self, uri: str, start: bytes) -> Compression | None:
        """Return the packing of a file from its first bytes, `start`."""
        if self.packing == "auto":
            return packing_of(uri, start)
        return None if self.packing == "none" else self.packing

    def spans(self, storage: Files, file: FoundFile, unit_size: int) -> list[tuple[int, int]]:
        """Return byte ranges of about equal size that cover a large file; none for one that stays whole."""
        if file.size <= unit_size or not self.may_be_cut(storage, file):
            return []
        count = -(-file.size // unit_size)
        edges = [file.size * index // count for index in range(count + 1)]
        return list(pairwise(edges))

    def may_be_cut(self, storage: Files, file: FoundFile) -> bool:
        """Return whether a file is not packed, and a newline in it is one byte."""
        if self.packing not in ("auto", "none") or not (self.encoding == AUTO or may_be_cut(self.encoding)):
            return False
        with storage.open(file.uri, file.version, file.size) as source:
            start = source.read(MAGIC_SIZE)
        return self.compression(file.uri, start) is None and may_be_cut(self.encoding_in(start))

    def encoding_in(self, start: bytes) -> str:
        """Return the encoding of a text from its first bytes: the given one, else that of its byte order mark."""
        return encoding_of(start) if self.encoding == AUTO else self.encoding

    def whole(self, file: pa.NativeFile, uri: str, piece: int = BLOCK) -> Iterator[bytes]:
        """Yield the text of a whole file, in pieces of about that many bytes."""
        return self.opened(file, uri, piece)[1]

    def opened(self, file: pa.NativeFile, uri: str, piece: int) -> tuple[str, Iterator[bytes]]:
        """Return the encoding of a file, and its text."""
        first, stored = peeked(self.stored(file, uri, piece))
        encoding = self.encoding_in(first)
        return encoding, as_utf8(stored, encoding, uri)

    def stored(self, file: pa.NativeFile, uri: str, piece: int) -> Iterator[bytes]:
        """Yield the unpacked bytes of a whole file."""
        bound = allowed(file.size(), self.max_unpacked)
        # Each read of an object is a request, so the bytes that show what packs it are not read twice.
        first = file.read(piece)
        packed = self.compression(uri, first)
        if packed is None:
            return chain([first] if first else [], unpacked(file, uri, None, piece, bound))
        return unpacked(pa.PythonFile(Replayed(first, file), mode="r"), uri, packed, piece, bound)

    def part(self, file: pa.NativeFile, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the text in a byte range of a file that may be cut."""
        return as_utf8(ranged(file, start, stop), self.expected, uri)

    def head(
        self, storage: Files, file: FoundFile, size: int = SAMPLE, has_record: Callable[[bytes], bool] = bool
    ) -> "Head":
        """Return the first `size` bytes of a file's text, or as many more as it takes to have a record."""
        with storage.open(file.uri, file.version, file.size) as source:
            while True:
                head = self.beginning(source, file.uri, size)
                if head.is_whole or size >= LONGEST_LINE or has_record(head.text):
                    return head
                size *= 8
                source.seek(0)

    def known_head(
        self, storage: Files, file: FoundFile, size: int = SAMPLE, has_record: Callable[[bytes], bool] = bool
    ) -> "Head":
        """Return the same; raise `BadDataError` if no encoding is given and the text is not UTF-8.

        JSON needs no such check: it is UTF-8 (RFC 8259, 8.1), and another byte is a fault of its record.
        """
        head = self.head(storage, file, size, has_record)
        if self.encoding == AUTO:
            refuse_other_encodings(head.text, file.uri)
        return head

    def beginning(self, file: pa.NativeFile, uri: str, size: int = SAMPLE) -> "Head":
        """Return the first `size` bytes of an open file's text; of one that is damaged there, what comes before."""
        found, encoding = bytearray(), self.expected
        try:
            encoding, text = self.opened(file, uri, size)
            for piece in text:
                found += piece
                if len(found) >= size:
                    break
        except (pa.ArrowException, OSError, EOFError, BadDataError) as exc:
            if not found or getattr(exc, "errno", None) is not None:
                raise
        return Head(bytes(found[:size]), encoding, is_whole=len(found) < size)


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a file's text, the encoding of the file, and whether it is all of the text."""

    text: bytes
    encoding: str
    is_whole: bool


class Replayed(io.RawIOBase):
    """A file whose first bytes were read, from its beginning; it can go back to a place within these bytes."""

    def __init__(self, first: bytes, file: pa.NativeFile) -> None:
        super().__init__()
        self.first, self.file = io.BytesIO(first), file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self.file.seek(len(self.first.getbuffer()))
        return self.first.seek(offset, whence)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; only at the end of the file fewer than `size`."""
        found = self.first.read(size)
        return found + self.file.read(size - len(found)) if len(found) < size else found


def ranged(file: pa.NativeFile, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `stop`."""
    while start < stop:
        piece = bytes_at(file, start, min(BLOCK, stop - start))
        if not piece:
            raise EOFError
        yield piece
        start += len(piece)


def line_start(file: pa.NativeFile, edge: int) -> int:
    """Return where the first line that starts at `edge` or later begins."""
    size = file.size()
    offset = edge - 1
    while 0 <= offset < size:
        found = bytes_at(file, offset, min(LOOK, size - offset))
        newline = found.find(b"\n")
        if newline >= 0:
            return offset + newline + 1
        offset += len(found)
    return 0 if edge == 0 else size


def bytes_at(file: pa.NativeFile, offset: int, size: int) -> bytes:
    """Return up to `size` bytes from `offset`."""
    file.seek(offset)
    return file.read(size)


def blocks(
    parts: Iterable[bytes], uri: str, last_end: Callable[[bytes], int], longest: int = LONGEST_LINE
) -> Iterator[bytes]:
    """Yield the same bytes in blocks of whole records; `last_end` returns where the last one of a block ends."""
    held = b""
    for part in parts:
        block = held + part
        end = last_end(block)
        if end == 0 and len(block) > longest:
            raise BadDataError(f"{uri}: a line is longer than {longest >> 20} MiB; is it a text file?", uri=uri)
        held = block[end:]
        if end:
            yield block[:end]
    if held:
        yield held


def last_line_end(block: bytes) -> int:
    """Return where the last whole line of a block ends."""
    return block.rfind(b"\n") + 1


def peeked(parts: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first part, and all parts."""
    first = next(parts, b"")
    return first, chain([first] if first else [], parts)


def skipped(parts: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield the parts without the first `length` bytes, which are all in the first part."""
    for part in parts:
        yield part[length:]
        length = 0
