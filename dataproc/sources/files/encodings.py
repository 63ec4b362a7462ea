"""Text in other encodings than UTF-8, turned into it."""

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
