"""Text files in pieces: byte ranges that own whole lines, and blocks of whole records."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.domain.unit import Unit
from dataproc.sources.formats import compression_of
from dataproc.sources.storage import FoundFile, Storage

BLOCK = 16 * 1024 * 1024
SAMPLE = 1024 * 1024
LONGEST_LINE = 64 * 1024 * 1024
LOOK = 64 * 1024
BOM = b"\xef\xbb\xbf"


def spans(file: FoundFile, unit_size: int) -> list[tuple[int, int]]:
    """Return byte ranges of about equal size that cover a large file; none for one that stays whole."""
    if file.size <= unit_size or compression_of(file.uri) is not None:
        return []
    count = -(-file.size // unit_size)
    edges = [file.size * index // count for index in range(count + 1)]
    return list(pairwise(edges))


def pieces(file: pa.NativeFile, unit: Unit) -> Iterator[bytes]:
    """Yield the bytes of a unit: all of a file, unpacked, or the lines that start in its byte range."""
    if unit.span is None:
        yield from stream(file, unit.uri)
        return
    offset, stop = (line_start(file, edge) for edge in unit.span)
    while offset < stop:
        piece = bytes_at(file, offset, min(BLOCK, stop - offset))
        if not piece:
            raise EOFError
        yield piece
        offset += len(piece)


def stream(file: pa.NativeFile, uri: str) -> Iterator[bytes]:
    """Yield the bytes of a whole file, unpacked."""
    source = unpacked(file, uri, BLOCK // 2)
    while piece := source.read(BLOCK):
        yield piece


def unpacked(file: pa.NativeFile, uri: str, ahead: int) -> pa.NativeFile:
    """Return the bytes of a file as they were before it was compressed; reads `ahead` bytes of it at a time."""
    packed = compression_of(uri)
    if packed is None:
        return file
    return pa.CompressedInputStream(pa.BufferedInputStream(file, ahead), packed)


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


def blocks(parts: Iterable[bytes], uri: str, last_end: Callable[[bytes], int]) -> Iterator[bytes]:
    """Yield the same bytes in blocks of whole records; `last_end` tells where the last one of a block ends."""
    held = b""
    for part in parts:
        block = held + part
        end = last_end(block)
        if end == 0 and len(block) > LONGEST_LINE:
            raise BadDataError(f"{uri}: a line is longer than {LONGEST_LINE >> 20} MiB; is it a text file?", uri=uri)
        held = block[end:]
        if end:
            yield block[:end]
    if held:
        yield held


def last_line_end(block: bytes) -> int:
    """Return where the last whole line of a block ends."""
    return block.rfind(b"\n") + 1


def last_record_end(block: bytes, quote: bytes) -> int:
    """Return where the last line ends that is outside quotes; of any line, where stray quotes hide it."""
    if quote not in block:
        return last_line_end(block)
    data = np.frombuffer(block, np.uint8)
    newlines = np.flatnonzero(data == ord("\n"))
    quotes = np.flatnonzero(data == ord(quote))
    outside = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    end = int(outside[-1]) + 1 if outside.size else 0
    return end if len(block) - end <= SAMPLE else last_line_end(block)


def head(storage: Storage, file: FoundFile) -> bytes:
    """Return the first MiB of a file, unpacked."""
    with storage.open(file.uri, file.version, file.size) as source:
        stream = unpacked(source, file.uri, SAMPLE // 4)
        found = b""
        while len(found) < SAMPLE and (piece := stream.read(SAMPLE - len(found))):
            found += piece
        return found


def peeked(parts: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first part, and all parts."""
    first = next(parts, b"")
    return first, chain([first] if first else [], parts)


def skipped(parts: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield the parts without the first `length` bytes, which are all in the first part."""
    for part in parts:
        yield part[length:]
        length = 0
