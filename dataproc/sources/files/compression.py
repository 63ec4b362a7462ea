"""Packed files as the bytes they were before, within a bound: a small file may claim to hold a great many."""

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.sources.files import snappy

Compression = Literal["gzip", "zstd", "bz2", "snappy"]

BY_NAME: dict[str, Compression] = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2",
    ".snappy": "snappy", ".sz": "snappy",
}  # fmt: skip
STEP = 64 * 1024
"""Bytes that are unpacked at once: of a file that is cut off, all but so many are still given."""
RATIO = 200
FREE = 4 * 1024**3


def compression_of(uri: str) -> Compression | None:
    """Return how a file is compressed, as its name tells."""
    return next((packed for end, packed in BY_NAME.items() if uri.lower().endswith(end)), None)


def allowed(size: int, bound: int | None) -> int:
    """Return the bytes that a file of `size` may unpack to."""
    return max(RATIO * size, FREE) if bound is None else bound


def unpacked(file: pa.NativeFile, uri: str, packed: Compression | None, piece: int, bound: int) -> Iterator[bytes]:
    """Yield the bytes of a whole file, unpacked, in pieces; what came before some damage is given before it is told."""
    if packed is None:
        while found := file.read(piece):
            yield found
        return
    yield from gathered(bounded(steps(file, packed, piece // 2), uri, bound), piece)


def steps(file: pa.NativeFile, packed: Compression, ahead: int) -> Iterator[bytes]:
    """Yield what is unpacked, a little at a time; so many bytes of the file are read ahead."""
    if packed == "snappy":
        yield from snappy.unpacked(file, ahead)
        return
    stream = pa.CompressedInputStream(pa.BufferedInputStream(file, ahead), packed)
    while found := stream.read(STEP):
        yield found


def bounded(parts: Iterator[bytes], uri: str, bound: int) -> Iterator[bytes]:
    """Yield the parts, or raise when they are more than a file may hold."""
    total = 0
    for part in parts:
        total += len(part)
        if total > bound:
            raise too_large(uri, bound)
        yield part


def too_large(uri: str, bound: int) -> BadDataError:
    """Return the error for a file that unpacks to more than it may."""
    msg = f"{uri} unpacks to more than {bound} bytes; if that is right, raise `max_unpacked`"
    return BadDataError(msg, uri=uri)


def gathered(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the parts joined into pieces of about `size`; those before an error come before it."""
    held: list[bytes] = []
    total = 0
    try:
        for part in parts:
            held.append(part)
            total += len(part)
            if total >= size:
                piece, held, total = b"".join(held), [], 0
                yield piece
    except (BadDataError, pa.ArrowException, OSError, EOFError):
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)
