"""Values encrypted by AES-256-GCM, with the keys of this installation.

A value is the text `dp1:KEYID:BASE64`, where the bytes are a salt, a nonce, and what AES-256-GCM gives. Each salt makes
a key of its own, so that no key sees more values than it should; the nonce comes from the value and its place where a
chunk must be the same twice, else from dice.
"""

import os
import pickle
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hmac import digest
from itertools import count

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dataproc.domain.errors import DecryptionError
from dataproc.ports.cipher import NO_KEYS
from dataproc.ports.secrets import Secrets
from dataproc.security.data_keys import resolved

VERSION = "dp1"
SALT = NONCE = 12
SHORTEST = SALT + NONCE + 16


@dataclass(frozen=True, slots=True)
class DataKeyCipher:
    """The keys at `references`: the first one encrypts, all of them decrypt, hashes come from the last one."""

    references: tuple[str, ...]
    secrets: Secrets = field(repr=False)

    def demand(self, what: str) -> None:
        """Refuse if there is no key."""
        if not self.references:
            NO_KEYS.demand(what)

    def ring(self) -> "tuple[DataKey, ...]":
        """Return the keys, which stay in this process."""
        self.demand("to encrypt and decrypt")
        return ring_of(self.references, pickle.dumps(self.secrets))

    def encrypt(self, values: Sequence[str | bytes], context: str = "") -> list[str]:
        """Return each value encrypted."""
        return self.ring()[0].encrypt([raw(value) for value in values], context.encode())

    def decrypt(self, text: str) -> bytes:
        """Return the value behind a text."""
        ring = self.ring()
        name, packed = parted(text)
        for key in ring:
            if key.id == name:
                return key.decrypt(packed)
        told = ", ".join(key.id for key in ring)
        msg = f"the value was encrypted by key {name}, and DATAPROC_ENCRYPTION_KEYS has only {told}; add that key"
        raise DecryptionError(msg, key=name)

    def blind_index(self, values: Sequence[str | bytes], name: str) -> list[str]:
        """Return a text for each value by which it can be looked up."""
        key = self.derived(f"blind index {name}")
        return [digest(key, raw(value), "sha256").hex() for value in values]

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes of one purpose."""
        return self.ring()[-1].part(purpose.encode())


@dataclass(frozen=True, slots=True)
class DataKey:
    """One key; `id` tells which, and nothing about it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """What values call it."""
        return self.part(b"key id")[:4].hex()

    def part(self, purpose: bytes) -> bytes:
        """Return a key that serves one purpose."""
        return digest(self.secret, b"dataproc " + purpose, "sha256")

    def encrypt(self, values: Sequence[bytes], context: bytes) -> list[str]:
        """Return values encrypted; `context` stands for the place of the first one."""
        head, salt = f"{VERSION}:{self.id}", self.part(b"salt " + context)[:SALT] if context else os.urandom(SALT)
        cipher, aside = AESGCM(self.part(b"values " + salt)), head.encode()
        dice = self.part(b"nonces " + context) if context else os.urandom(32)
        found = []
        for place, value in zip(count(), values, strict=False):
            nonce = digest(dice, place.to_bytes(8, "big") + value, "sha256")[:NONCE]
            sealed = b64encode(salt + nonce + cipher.encrypt(nonce, value, aside)).decode()
            found.append(f"{head}:{sealed}")
        return found

    def decrypt(self, packed: bytes) -> bytes:
        """Return what a value of this key holds."""
        salt, nonce, sealed = packed[:SALT], packed[SALT : SALT + NONCE], packed[SALT + NONCE :]
        try:
            return AESGCM(self.part(b"values " + salt)).decrypt(nonce, sealed, f"{VERSION}:{self.id}".encode())
        except InvalidTag as exc:
            msg = f"the value names key {self.id}, but was cut or changed; take it as it stands in the warehouse"
            raise DecryptionError(msg, key=self.id) from exc


@lru_cache(maxsize=16)
def ring_of(references: tuple[str, ...], secrets: bytes) -> tuple[DataKey, ...]:
    """Return the keys of this process, looked up once."""
    place: Secrets = pickle.loads(secrets)  # noqa: S301 - it was pickled above
    return tuple(DataKey(resolved(reference, place)) for reference in references)


def raw(value: str | bytes) -> bytes:
    """Return the bytes of a value."""
    return value.encode() if isinstance(value, str) else value


def parted(text: str) -> tuple[str, bytes]:
    """Return the id of the key of an encrypted value, and its bytes."""
    version, _, rest = text.strip().partition(":")
    name, _, body = rest.partition(":")
    try:
        packed = b64decode(body, validate=True)
    except ValueError:
        packed = b""
    if version != VERSION or len(packed) < SHORTEST:
        raise DecryptionError("this is no value that dataproc encrypted; those begin with `dp1:`")
    return name, packed
