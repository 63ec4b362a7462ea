"""Text files in pieces: byte ranges that own whole lines, and blocks of whole records."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.files import Packing
from dataproc.sources.files.compression import Compression, allowed, compression_of, unpacked
from dataproc.sources.files.encodings import as_utf8, may_be_cut
from dataproc.sources.files.storage import FoundFile, Storage

BLOCK = 16 * 1024 * 1024
SAMPLE = 1024 * 1024
LONGEST_LINE = 64 * 1024 * 1024
LOOK = 64 * 1024
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextForm:
    """How the characters of text files are stored: what packs them, what encodes them."""

    packing: Packing = "auto"
    encoding: str = "utf-8"
    max_unpacked: int | None = None

    def compression(self, uri: str) -> Compression | None:
        """Return what packs a file."""
        if self.packing == "auto":
            return compression_of(uri)
        return None if self.packing == "none" else self.packing

    def spans(self, file: FoundFile, unit_size: int) -> list[tuple[int, int]]:
        """Return byte ranges of about equal size that cover a large file; none for one that stays whole."""
        if file.size <= unit_size or self.compression(file.uri) is not None or not may_be_cut(self.encoding):
            return []
        count = -(-file.size // unit_size)
        edges = [file.size * index // count for index in range(count + 1)]
        return list(pairwise(edges))

    def whole(self, file: pa.NativeFile, uri: str, piece: int = BLOCK) -> Iterator[bytes]:
        """Yield the text of a whole file, in pieces of about that many bytes."""
        bound = allowed(file.size(), self.max_unpacked)
        return as_utf8(unpacked(file, uri, self.compression(uri), piece, bound), self.encoding, uri)

    def part(self, file: pa.NativeFile, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the text in a byte range of a file that may be cut."""
        return as_utf8(ranged(file, start, stop), self.encoding, uri)

    def head(self, storage: Storage, file: FoundFile, size: int = SAMPLE) -> bytes:
        """Return the first `size` bytes of a file's text."""
        with storage.open(file.uri, file.version, file.size) as source:
            return self.beginning(source, file.uri, size)

    def beginning(self, file: pa.NativeFile, uri: str, size: int = SAMPLE) -> bytes:
        """Return the first `size` bytes of an open file's text; of one that is damaged there, what comes before."""
        found = bytearray()
        try:
            for piece in self.whole(file, uri, size):
                found += piece
                if len(found) >= size:
                    break
        except (pa.ArrowException, OSError, EOFError, BadDataError) as exc:
            if not found or getattr(exc, "errno", None) is not None:
                raise
        return bytes(found[:size])


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
