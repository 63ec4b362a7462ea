"""HMAC-SHA256 of many values in hexadecimal: what PostgreSQL's `encode(hmac(value, key, 'sha256'), 'hex')` gives."""

import hashlib
from binascii import hexlify
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells

BLOCK = 64
HEX = 64
MOST_KNOWN = 2**18
"""Hashes that a process remembers, in some tens of megabytes. To look one up takes a tenth of computing it."""
LOOKED_AT = 4096
"""Values by which we tell whether it pays to look."""
MET_AGAIN = 0.1
"""The share of known ones among them from which on it does."""
WORTH_COPYING = 0.02
"""Of how many known ones the new ones must be this share to be remembered."""
Hash: TypeAlias = Any
"""An object of hashlib; its modules in C have no type that could be named."""


@dataclass(slots=True)
class Known:
    """Values that were hashed with a key, and their hashes: what is hashed is often met again, such as who ordered."""

    key: bytes = field(repr=False)
    values: Cells = field(default_factory=lambda: no_cells(pa.binary()), repr=False)
    hashes: Cells = field(default_factory=lambda: no_cells(pa.string()), repr=False)
    pays: bool = True
    most: int = MOST_KNOWN
    looked_at: int = LOOKED_AT

    def hashes_of(self, values: Cells) -> Cells:
        """Return the hashes of values of bytes; those that are new are computed once, and remembered."""
        places = pc.index_in(values, value_set=self.values)
        self.pays = places.null_count < (1 - MET_AGAIN) * len(values) or not len(self.values)
        if not places.null_count:
            return self.hashes.take(places)
        is_new = places.is_null()
        new = values.filter(is_new).dictionary_encode()
        # The places are exchanged, and not the hashes: of texts that takes ten times as long.
        beyond = pc.add(new.indices, pa.scalar(len(self.hashes), pa.int32()))
        places = pc.replace_with_mask(places, is_new, beyond)
        hashes = computed(new.dictionary, self.key)
        every = pa.concat_arrays([self.hashes, hashes])
        self.remember(new.dictionary, hashes)
        return every.take(places)

    def remember(self, values: Cells, hashes: Cells) -> None:
        """Remember hashes, up to as many as are remembered at most; a few are not worth copying all the others."""
        if len(self.values) < self.most and len(values) >= WORTH_COPYING * len(self.values):
            self.values = pa.concat_arrays([self.values, values])[: self.most]
            self.hashes = pa.concat_arrays([self.hashes, hashes])[: self.most]

    def of_texts(self, values: Cells) -> Cells:
        """Return the hashes of texts or bytes, none of which is null; looked up only where that is faster."""
        plain = values.cast(pa.binary())
        return self.hashes_of(plain) if self.is_worth_it(plain) else computed(plain, self.key)

    def is_worth_it(self, values: Cells) -> bool:
        """Whether enough values are known, as it was the last time or as the first of them tell."""
        if not self.pays:
            # The few are made a table of, and the many looked up in it: that is four times as fast.
            some = values[: self.looked_at].unique()
            self.pays = pc.is_in(self.values, value_set=some).true_count > MET_AGAIN * len(some)
        return self.pays


def keyed_hashes(values: Cells, key: bytes) -> Cells:
    """Return the hashes of texts or bytes, none of which is null."""
    return remembered(key).of_texts(values)


@lru_cache(maxsize=1)
def remembered(key: bytes) -> Known:
    """Return what this process has hashed with a key."""
    return Known(key)


def no_cells(dtype: pa.DataType) -> Cells:
    """Return cells of which there are none."""
    return pa.array([], dtype)


def computed(values: Cells, key: bytes) -> Cells:
    """Return the hashes of values of bytes, each computed."""
    # One at a time, `hmac.digest` takes twice as long: it goes through the key for each value.
    padded = (key if len(key) <= BLOCK else hashlib.sha256(key).digest()).ljust(BLOCK, b"\0")
    inner, outer = plain_sha256()(bytes(b ^ 0x36 for b in padded)), plain_sha256()(bytes(b ^ 0x5C for b in padded))
    body = hexlify(b"".join(digests(values.to_pylist(), inner.copy, outer.copy)))
    offsets: Any = np.arange(0, HEX * (len(values) + 1), HEX, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(body)])


def digests(values: list[Any], inner: Callable[[], Hash], outer: Callable[[], Hash]) -> Iterator[bytes]:
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
