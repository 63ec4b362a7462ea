"""Packed files as the bytes they were before, within a bound: a small file may claim to hold a great many."""

import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Literal, cast

import pyarrow as pa

from dataproc.domain.errors import BadDataError
from dataproc.sources.files import snappy

Compression = Literal["gzip", "zstd", "bz2", "snappy"]

BY_NAME: dict[str, Compression] = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2",
    ".snappy": "snappy", ".sz": "snappy",
}  # fmt: skip
MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (snappy.BEGIN, "snappy"),
    *((b"BZh%d\x31\x41\x59\x26\x53\x59" % level, "bz2") for level in range(1, 10)),
)
"""The first bytes of packed files: RFC 1952 2.3.1, RFC 8878 3.1.1, snappy's framing format 4.1, and bzip2's block."""
MAGIC_SIZE = max(len(magic) for magic, _ in MAGIC)
STEP = 64 * 1024
"""Bytes that are unpacked at once: of a file that is cut off, all but so many are still given."""
RATIO = 200
FREE = 4 * 1024**3


def packing_of(uri: str, start: bytes) -> Compression | None:
    """Return the packing of a file from its first bytes, `start`.

    The first bytes decide. A file without the magic number of a packing is text, whatever its name; only where its
    first bytes are not text, its name decides: Hadoop's snappy has no magic number, and a damaged file not its own.
    """
    found = next((packed for magic, packed in MAGIC if start.startswith(magic)), None)
    if found is not None or is_text(start[:MAGIC_SIZE]):
        return found
    return next((packed for end, packed in BY_NAME.items() if uri.lower().endswith(end)), None)


def without_packing_name(uri: str) -> str:
    """Return the name of a file in lower case, without what packs it."""
    name = uri.lower()
    for end in BY_NAME:
        name = name.removesuffix(end)
    return name


def is_text(start: bytes) -> bool:
    """Return whether bytes may begin a text: no control characters except those of white space."""
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)


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
    done = 0
    try:
        while found := stream.read(STEP):
            done += len(found)
            yield found
    except OSError as exc:
        if packed != "gzip" or exc.errno is not None:
            raise
        # Arrow's reader is the faster one, but takes zeros after the last member, as on a tape, for damage.
        file.seek(0)
        yield from padded_gzip(file, ahead, done)


def padded_gzip(file: pa.NativeFile, ahead: int, done: int) -> Iterator[bytes]:
    """Yield what a file holds after the first `done` bytes; zeros after its last member are left out."""
    stream = gzip.GzipFile(fileobj=cast("IO[bytes]", pa.BufferedInputStream(file, ahead)))
    try:
        while done and (found := stream.read(min(done, STEP))):
            done -= len(found)
        while found := stream.read(STEP):
            yield found
    except zlib.error as exc:
        raise OSError("a block of gzip is damaged") from exc


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
    except Exception:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)
