"""Snappy files: the framed format with its checksums, and the blocks that Hadoop writes."""

from collections.abc import Iterator

import cramjam
import pyarrow as pa

BEGIN = b"\xff\x06\x00\x00sNaPpY"
DAMAGED = "a block of snappy is damaged"
LARGEST = 64 * 1024 * 1024
"""Bytes of one block; writers use 64 to 256 KiB."""


def unpacked(file: pa.NativeFile, ahead: int) -> Iterator[bytes]:
    """Yield what a file holds; the framed format is known by its first bytes."""
    is_framed = file.read(len(BEGIN)) == BEGIN
    file.seek(len(BEGIN) if is_framed else 0)
    source = pa.BufferedInputStream(file, ahead)
    try:
        yield from framed(source) if is_framed else blocks(source)
    except cramjam.DecompressionError as exc:
        raise OSError(DAMAGED) from exc


def framed(file: pa.NativeFile) -> Iterator[bytes]:
    """Yield the chunks of the framed format; kinds from 0x80 on are padding and the like."""
    while head := file.read(4):
        if len(head) != 4 or 1 < head[0] < 0x80:
            raise OSError(DAMAGED)
        body = exactly(file, int.from_bytes(head[1:], "little"))
        if head[0] <= 1:
            yield bytes(cramjam.snappy.decompress(BEGIN + head + body))


def blocks(file: pa.NativeFile) -> Iterator[bytes]:
    """Yield the blocks that Hadoop writes: each says its size, and is made of parts that say theirs."""
    while head := file.read(4):
        left = number(head)
        while left > 0:
            part = exactly(file, number(file.read(4)))
            if cramjam.snappy.decompress_raw_len(part) > left:
                raise OSError(DAMAGED)
            found = bytes(cramjam.snappy.decompress_raw(part))
            if not found:
                raise OSError(DAMAGED)
            left -= len(found)
            yield found


def number(four: bytes) -> int:
    """Return the size that four bytes tell."""
    size = int.from_bytes(four, "big")
    if len(four) != 4 or size > LARGEST:
        raise OSError(DAMAGED)
    return size


def exactly(file: pa.NativeFile, size: int) -> bytes:
    """Return so many bytes."""
    found = file.read(size) if size else b""
    if len(found) != size:
        raise EOFError
    return found
