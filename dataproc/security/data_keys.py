"""Data keys: 32 bytes, kept as a secret, or encrypted by a key of AWS KMS that never leaves it."""

import binascii
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Protocol, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dataproc.domain.errors import SecretNotFoundError, SecretsUnavailableError, SetupError
from dataproc.ports.secrets import Secrets

LENGTH = 32
KMS = "kms://"
REFUSED = frozenset(
    {
        "NotFoundException", "AccessDeniedException", "DisabledException", "InvalidCiphertextException",
        "IncorrectKeyException", "KMSInvalidStateException", "InvalidKeyUsageException", "ValidationException",
    }
)  # fmt: skip


class Kms(Protocol):
    """What we ask of AWS KMS."""

    def decrypt(self, *, CiphertextBlob: bytes) -> Mapping[str, Any]:  # noqa: N803 - its names
        """Return the plain text of what a key of KMS encrypted."""

    def generate_data_key(self, *, KeyId: str, NumberOfBytes: int) -> Mapping[str, Any]:  # noqa: N803 - its names
        """Return a new key, plain and encrypted by a key of KMS."""


def resolved(reference: str, secrets: Secrets) -> bytes:
    """Return the key at `secret://name#key`, which is 32 bytes in base64, or the one that KMS decrypts."""
    if reference.startswith(KMS):
        return decrypted(reference)
    try:
        found = b64decode(secrets.get(reference), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != LENGTH:
        # The parser's error would show the secret.
        msg = f"{reference}: a key is {LENGTH} bytes in base64; make one by `openssl rand -base64 {LENGTH}`"
        raise SetupError(msg, setting="DATAPROC_ENCRYPTION_KEYS") from None
    return found


def decrypted(reference: str, kms: Kms | None = None) -> bytes:
    """Return the key that `kms://BASE64` holds, decrypted by AWS KMS."""
    try:
        blob = b64decode(reference.removeprefix(KMS), validate=True)
    except ValueError as exc:
        msg = "kms://: after it comes the encrypted data key in base64"
        raise SetupError(msg, setting="DATAPROC_ENCRYPTION_KEYS") from exc
    try:
        return bytes((kms or client()).decrypt(CiphertextBlob=blob)["Plaintext"])
    except (ClientError, BotoCoreError) as exc:
        raise ours(exc) from exc


def new_data_key(kms_key: str, kms: Kms | None = None) -> str:
    """Return a new data key that only the key `kms_key` of AWS KMS can decrypt, as a reference for the settings."""
    try:
        made = (kms or client()).generate_data_key(KeyId=kms_key, NumberOfBytes=LENGTH)
    except (ClientError, BotoCoreError) as exc:
        raise ours(exc) from exc
    return KMS + b64encode(made["CiphertextBlob"]).decode()


def client() -> Kms:
    """Return a client of AWS KMS, in the region of the environment; boto3 itself knows only one of its two names."""
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    make: Any = boto3.session.Session().client
    return cast("Kms", make("kms", os.environ.get("AWS_REGION"), config=config))


def ours(exc: ClientError | BotoCoreError) -> SecretNotFoundError | SecretsUnavailableError:
    """Return our error for one of AWS KMS."""
    if isinstance(exc, ClientError):
        code = exc.response.get("Error", {}).get("Code", "")
        kind = SecretNotFoundError if code in REFUSED else SecretsUnavailableError
        return kind(f"kms://: AWS KMS answers {code}; check the key, its policy, and the region")
    return SecretsUnavailableError(f"kms://: AWS KMS: {type(exc).__name__}")
