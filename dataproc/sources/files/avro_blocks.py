"""The blocks of an Avro object container file: found by the marker between them, checked and unpacked."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import cramjam
import pyarrow as pa

from dataproc.sources.files.reasons import DamagedError

MAGIC = b"Obj\x01"
MARKER = 16
LOOK = 64 * 1024
LARGEST = 64 * 1024 * 1024
"""Bytes of one block, packed or not; writers make blocks of 16 KiB to a few MiB."""
PIECE = 4 * 1024 * 1024
RECORDS_OF_NOTHING = 1_000_000
"""Records of a block that take no byte: a number that costs nothing to claim."""


class DamagedBlockError(DamagedError):
    """A block is not what it says."""


@dataclass(slots=True)
class Window:
    """A file read forward; `at` is where, of which `held` has what comes next, from its byte `begin` on."""

    file: pa.NativeFile
    at: int
    piece: int = PIECE
    held: bytes = field(default=b"", init=False)
    begin: int = field(default=0, init=False)

    def more(self) -> bool:
        """Read on; return whether there was anything."""
        self.held, self.begin = self.held[self.begin :], 0
        self.file.seek(self.at + len(self.held))
        piece = self.file.read(self.piece)
        self.held += piece
        return bool(piece)

    def ahead(self, size: int) -> bytes:
        """Return the next bytes without passing them; all of them must be there."""
        while len(self.held) - self.begin < size:
            if not self.more():
                raise EOFError
        return self.held[self.begin : self.begin + size]

    def take(self, size: int) -> bytes:
        """Return the next bytes, and pass them."""
        found = self.ahead(size)
        self.skip(size)
        return found

    def skip(self, size: int) -> None:
        """Pass bytes that are held."""
        self.at, self.begin = self.at + size, self.begin + size

    def skip_to(self, marker: bytes, stop: int) -> bool:
        """Go to the next marker that begins before `stop`; return whether there is one."""
        while (place := self.held.find(marker, self.begin)) < 0:
            self.skip(max(len(self.held) - self.begin - len(marker) + 1, 0))
            if self.at >= stop or not self.more():
                return False
        self.skip(place - self.begin)
        return self.at < stop

    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.begin == len(self.held) and not self.more()

    def number(self) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            if shift > 63:
                raise DamagedBlockError("a number is too long")

    def text(self) -> bytes:
        """Return the next text, of which its length stands first."""
        size = self.number()
        if not 0 <= size <= LARGEST:
            raise DamagedBlockError("a text has an impossible length")
        return self.take(size)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its first block."""

    schema: str
    codec: str
    marker: bytes


def header_of(file: pa.NativeFile) -> Header:
    """Return the header of a file."""
    window = Window(file, 0, LOOK)
    if window.take(len(MAGIC)) != MAGIC:
        raise DamagedBlockError("it does not begin as Avro files do")
    found: dict[bytes, bytes] = {}
    while count := window.number():
        if count < 0:
            count = -count
            window.number()
        for _ in range(count):
            key = window.text()
            found[key] = window.text()
    codec = found.get(b"avro.codec", b"null").decode()
    if codec not in UNPACK:
        raise DamagedBlockError(f"it is compressed with {codec!r}, which is not known here")
    return Header(found[b"avro.schema"].decode(), codec, window.take(MARKER))


def blocks(window: Window, header: Header, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yield the count of records, and their bytes, of each block whose marker before it begins before `stop`."""
    if not window.skip_to(header.marker, stop):
        return
    while window.at < stop:
        window.take(MARKER)
        if window.is_over():
            return
        yield block(window, header.codec)
        # Always looked at, though it may belong to the next span: there, one that is damaged would be passed over.
        if window.ahead(MARKER) != header.marker:
            raise DamagedBlockError("a block does not end where it says")


def block(window: Window, codec: str) -> tuple[int, bytes]:
    """Return how many records the next block has, and their bytes."""
    count, size = window.number(), window.number()
    if not 0 <= size <= LARGEST or count < 0:
        raise DamagedBlockError("a block has an impossible size")
    data = unpacked(window.take(size), codec)
    if count > max(len(data), RECORDS_OF_NOTHING):
        raise DamagedBlockError("a block claims more records than it has bytes")
    return count, data


def unpacked(data: bytes, codec: str) -> bytes:
    """Return the bytes of a block as they were before it was compressed."""
    found = UNPACK[codec](data)
    if len(found) > LARGEST:
        raise DamagedBlockError("a block is larger than it may be")
    return found


def inflated(data: bytes) -> bytes:
    """Return the bytes of a block packed with deflate, which has no header here."""
    return zlib.decompressobj(-15).decompress(data, LARGEST + 1)


def from_snappy(data: bytes) -> bytes:
    """Return the bytes of a snappy block, which ends with a checksum."""
    if len(data) < 4 or cramjam.snappy.decompress_raw_len(data[:-4]) > LARGEST:
        raise DamagedBlockError("a block is larger than it may be")
    found = bytes(cramjam.snappy.decompress_raw(data[:-4]))
    if zlib.crc32(found) != int.from_bytes(data[-4:], "big"):
        raise DamagedBlockError("the checksum of a block is wrong")
    return found


def from_zstandard(data: bytes) -> bytes:
    """Return the bytes of a block packed with Zstandard."""
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(LARGEST + 1)


UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": inflated,
    "bzip2": lambda data: bz2.BZ2Decompressor().decompress(data, LARGEST + 1),
    "xz": lambda data: lzma.LZMADecompressor().decompress(data, LARGEST + 1),
    "snappy": from_snappy,
    "zstandard": from_zstandard,
}
