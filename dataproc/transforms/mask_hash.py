"""HMAC-SHA256 of many values in hexadecimal: what PostgreSQL's `encode(hmac(value, key, 'sha256'), 'hex')` gives."""

import hashlib
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Cells

BLOCK = 64
HEX = 64
Hash: TypeAlias = Any
"""An object of hashlib; its modules in C have no type that could be named."""


def keyed_hashes(values: Cells, key: bytes) -> Cells:
    """Return the hashes of texts or bytes, none of which is null."""
    # One at a time, `hmac.digest` takes twice as long: it goes through the key for each value.
    padded = (key if len(key) <= BLOCK else hashlib.sha256(key).digest()).ljust(BLOCK, b"\0")
    inner, outer = plain_sha256()(bytes(b ^ 0x36 for b in padded)), plain_sha256()(bytes(b ^ 0x5C for b in padded))
    found: list[Any] = values.cast(pa.binary()).to_pylist()
    body = hexlify(b"".join(digests(found, inner.copy, outer.copy)))
    offsets: Any = np.arange(0, HEX * (len(values) + 1), HEX, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(body)])


def digests(values: Iterable[bytes], inner: Callable[[], Hash], outer: Callable[[], Hash]) -> Iterator[bytes]:
    """Yield the HMAC of each value; the key is in both hashes already."""
    for value in values:
        within, around = inner(), outer()
        within.update(value)
        around.update(within.digest())
        yield around.digest()


@cache
def plain_sha256() -> Callable[[bytes], Hash]:
    """Return SHA-256 without OpenSSL, whose set-up takes longer than the hash of a short text; with it, if need be."""
    for module in ("_sha2", "_sha256"):
        with suppress(ImportError):
            found: Callable[[bytes], Hash] = import_module(module).sha256
            return found
    return hashlib.sha256
