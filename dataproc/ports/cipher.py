"""Ciphers: what hides values from those who do not hold the keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from dataproc.domain.errors import SetupError


class Cipher(Protocol):
    """Keys of this installation. It travels to Ray workers, so it pickles, and holds only references to keys."""

    def demand(self, what: str) -> None:
        """Raise `SetupError` if no key is set, saying `what` needs one; whether it can be had is not looked at."""

    def encrypt(self, values: Sequence[str | bytes], context: str = "") -> list[str]:
        """Return each value encrypted, as text such as `dp1:KEYID:BASE64`.

        With a context, which says where the values stand, the same values give the same texts again, so that a chunk
        that is encoded twice is the same; without one, no two texts are alike.
        """

    def decrypt(self, text: str) -> bytes:
        """Return the value behind a text, whichever of the keys it was encrypted by, or raise `DecryptionError`."""

    def blind_index(self, values: Sequence[str | bytes], name: str) -> list[str]:
        """Return a text for each value by which it can be looked up, and nothing else; equal values have equal ones."""

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes for keyed hashes of one purpose; they stay as they are when keys are added in front."""


@dataclass(frozen=True, slots=True)
class NoKeys:
    """The cipher of an installation without keys: it refuses everything."""

    def demand(self, what: str) -> NoReturn:
        """Say which setting is missing."""
        msg = f"{what} needs a key; set DATAPROC_ENCRYPTION_KEYS to a reference such as secret://dataproc#key"
        raise SetupError(msg, setting="DATAPROC_ENCRYPTION_KEYS")

    def encrypt(self, values: Sequence[str | bytes], context: str = "") -> NoReturn:  # noqa: ARG002 - the protocol's
        """Refuse."""
        self.demand("to encrypt")

    def decrypt(self, text: str) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Refuse."""
        self.demand("to decrypt")

    def blind_index(self, values: Sequence[str | bytes], name: str) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Refuse."""
        self.demand("a blind index")

    def derived(self, purpose: str) -> NoReturn:
        """Refuse."""
        self.demand(purpose)


NO_KEYS: Cipher = NoKeys()
