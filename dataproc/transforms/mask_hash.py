"""HMAC-SHA256 of many values in hexadecimal: what PostgreSQL's `encode(hmac(value, key, 'sha256'), 'hex')` gives."""

import hashlib
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Cells

BLOCK = 64
HEX = 64
MOST_KNOWN = 2**18
"""Hashes that a process remembers, in some tens of megabytes. To look one up takes a third of computing it."""
LOOKED_AT = 4096
"""Values by which we tell whether it pays to remember."""
Hash: TypeAlias = Any
"""An object of hashlib; its modules in C have no type that could be named."""


def keyed_hashes(values: Cells, key: bytes) -> Cells:
    """Return the hashes of texts or bytes, none of which is null."""
    known = remembered(key)
    if known and not met_again(values, known):
        return hashes_of(values, key, {}, 0)
    found = values.dictionary_encode()
    return hashes_of(found.dictionary, key, known, MOST_KNOWN).take(found.indices)


def met_again(values: Cells, known: Mapping[bytes, bytes]) -> bool:
    """Whether some of the first values are known: only then it pays to remember."""
    some: list[Any] = values[:LOOKED_AT].cast(pa.binary()).to_pylist()
    return sum(value in known for value in some) * 10 > len(some)


def hashes_of(values: Cells, key: bytes, known: dict[bytes, bytes], most: int) -> Cells:
    """Return the hashes of values; those that are not known yet are remembered, up to `most`."""
    # One at a time, `hmac.digest` takes twice as long: it goes through the key for each value.
    padded = (key if len(key) <= BLOCK else hashlib.sha256(key).digest()).ljust(BLOCK, b"\0")
    inner, outer = plain_sha256()(bytes(b ^ 0x36 for b in padded)), plain_sha256()(bytes(b ^ 0x5C for b in padded))
    found: list[Any] = values.cast(pa.binary()).to_pylist()
    body = hexlify(b"".join(recalled(found, known, most, digest_by(inner.copy, outer.copy))))
    offsets: Any = np.arange(0, HEX * (len(values) + 1), HEX, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(body)])


def digest_by(inner: Callable[[], Hash], outer: Callable[[], Hash]) -> Callable[[bytes], bytes]:
    """Return what computes the HMAC of a value; the key is in both hashes already."""

    def digest(value: bytes) -> bytes:
        within, around = inner(), outer()
        within.update(value)
        around.update(within.digest())
        found: bytes = around.digest()
        return found

    return digest


def recalled(
    values: Iterable[bytes], known: dict[bytes, bytes], most: int, digest: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """Yield the digest of each value, computed or known."""
    for value in values:
        if (found := known.get(value)) is None:
            found = digest(value)
            if len(known) < most:
                known[value] = found
        yield found


@lru_cache(maxsize=1)
def remembered(_: bytes) -> dict[bytes, bytes]:
    """Return what this process has hashed with a key: what is hashed is often met again, such as who ordered."""
    return {}


@cache
def plain_sha256() -> Callable[[bytes], Hash]:
    """Return SHA-256 without OpenSSL, whose set-up takes longer than the hash of a short text; with it, if need be."""
    for module in ("_sha2", "_sha256"):
        with suppress(ImportError):
            found: Callable[[bytes], Hash] = import_module(module).sha256
            return found
    return hashlib.sha256
