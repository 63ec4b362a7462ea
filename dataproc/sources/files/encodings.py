"""Text in other encodings than UTF-8, turned into it; a byte order mark shows the encoding where none is given."""

import codecs
from collections.abc import Iterator
from functools import lru_cache

from dataproc.domain.errors import BadDataError

WRONG = "dataproc-wrong"
"""Puts a byte that never is UTF-8 where one means nothing, so that the record it is in is set aside."""


def wrong_byte(exc: UnicodeError) -> tuple[str, int]:
    """Return what stands for bytes that mean nothing, and where to go on."""
    if isinstance(exc, UnicodeDecodeError):
        return "\udcff", exc.end
    raise exc


AUTO = "auto"
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks (Unicode 16.0, 23.8) and the codec that reads them; that of UTF-32 begins with that of UTF-16."""
BINARY = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x1f\x8b", "packed by gzip"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
)
"""First bytes of files that are taken for text by mistake."""

codecs.register_error(WRONG, wrong_byte)


@lru_cache(maxsize=64)
def is_single_byte(encoding: str) -> bool:
    """Whether each byte is one character, and those of ASCII are themselves: such text can be cut at any newline."""
    decoder = codecs.getincrementaldecoder(encoding)
    for byte in range(256):
        try:
            found = decoder().decode(bytes([byte]))
        except UnicodeError:
            found = "?"
        if len(found) != 1 or (byte < 128 and found != chr(byte)):
            return False
    return True


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text from its first bytes, `start`: that of its byte order mark, else UTF-8."""
    return next((encoding for mark, encoding in MARKS if start.startswith(mark)), "utf-8")


def refuse_other_encodings(sample: bytes, uri: str) -> None:
    """Raise `BadDataError` for the start of a text that is not UTF-8; a character may be cut off at its end."""
    found = next((name for magic, name in BINARY if sample.startswith(magic)), None)
    if found is not None:
        raise BadDataError(f"{uri} is {found}, not text; unpack it, or give its `format`", uri=uri)
    if any(sample[at::2].count(b"\0") > len(sample) // 4 for at in (0, 1)):
        msg = f"{uri} is UTF-16 or UTF-32 without a byte order mark; write its encoding, such as `encoding: utf-16-le`"
        raise BadDataError(msg, uri=uri)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError as exc:
        msg = (
            f"{uri} is not UTF-8 at byte {exc.start}, and has no byte order mark; write its encoding, such as "
            "`encoding: cp1252` for files of Windows programs, or `encoding: utf-8` to set such rows aside"
        )
        raise BadDataError(msg, uri=uri) from exc


def may_be_cut(encoding: str) -> bool:
    """Whether a newline is one and the same byte, and never part of another character."""
    return encoding == "utf-8" or is_single_byte(encoding)


def as_utf8(parts: Iterator[bytes], encoding: str, uri: str) -> Iterator[bytes]:
    """Yield text as UTF-8. What is UTF-8 already passes as it is; its records are checked one by one."""
    if encoding == "utf-8":
        yield from parts
        return
    yield from filter(None, decoded(parts, encoding, uri))


def decoded(parts: Iterator[bytes], encoding: str, uri: str) -> Iterator[bytes]:
    """Yield text as UTF-8; raise where it cannot be told what comes after a mistake."""
    errors = WRONG if is_single_byte(encoding) else "strict"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    done = 0
    try:
        for part in parts:
            yield decoder.decode(part).encode("utf-8", "surrogateescape")
            done += len(part)
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
    except UnicodeError as exc:
        msg = f"{uri} is not {encoding} near byte {done + getattr(exc, 'start', 0)}; correct `encoding`, or the file"
        raise BadDataError(msg, uri=uri) from exc
