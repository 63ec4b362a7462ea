"""Data keys: where they are, and what is said when they cannot be had."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from dataproc.domain.errors import DataprocError, SecretNotFoundError, SecretsUnavailableError, SetupError
from dataproc.security.data_keys import decrypted, new_data_key, resolved
from tests.fakes.secrets import FakeSecrets

PLAIN, BLOB = b"k" * 32, b"encrypted by a key of KMS"


@dataclass(frozen=True, slots=True)
class FakeKms:
    """KMS with one key, or with nothing but an error."""

    error: Exception | None = None

    def decrypt(self, *, CiphertextBlob: bytes) -> Mapping[str, Any]:  # noqa: N803 - its names
        if self.error is not None:
            raise self.error
        assert CiphertextBlob == BLOB
        return {"Plaintext": PLAIN}

    def generate_data_key(self, *, KeyId: str, NumberOfBytes: int) -> Mapping[str, Any]:  # noqa: N803 - its names
        if self.error is not None:
            raise self.error
        assert (KeyId, NumberOfBytes) == ("alias/dataproc", 32)
        return {"Plaintext": PLAIN, "CiphertextBlob": BLOB}


def answering(code: str) -> FakeKms:
    return FakeKms(ClientError({"Error": {"Code": code}}, "Decrypt"))


def test_a_new_key_is_a_reference_that_only_kms_can_read() -> None:
    reference = new_data_key("alias/dataproc", FakeKms())

    assert reference == f"kms://{b64encode(BLOB).decode()}"
    assert decrypted(reference, FakeKms()) == PLAIN


@pytest.mark.parametrize(
    ("kms", "error", "message"),
    [
        (answering("AccessDeniedException"), SecretNotFoundError, "AWS KMS answers AccessDeniedException"),
        (answering("DisabledException"), SecretNotFoundError, "check the key, its policy, and the region"),
        (answering("ThrottlingException"), SecretsUnavailableError, "ThrottlingException"),
        (FakeKms(EndpointConnectionError(endpoint_url="x")), SecretsUnavailableError, "EndpointConnectionError"),
    ],
)
def test_what_kms_refuses_is_told_and_what_may_pass_is_tried_again(
    kms: FakeKms, error: type[DataprocError], message: str
) -> None:
    with pytest.raises(error, match=message):
        decrypted(f"kms://{b64encode(BLOB).decode()}", kms)
    with pytest.raises(error, match=message):
        new_data_key("alias/dataproc", kms)


def test_a_reference_that_is_no_base64_is_refused() -> None:
    with pytest.raises(SetupError, match="after it comes the encrypted data key in base64"):
        decrypted("kms://alias/dataproc!", FakeKms())


@pytest.mark.parametrize("secret", [b64encode(PLAIN[:31]).decode(), "no base64!", "", b64encode(PLAIN + b"k").decode()])
def test_a_secret_that_is_no_key_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SetupError, match="a key is 32 bytes in base64") as caught:
        resolved("secret://a#key", FakeSecrets({"secret://a#key": secret}))
    assert not secret or secret not in f"{caught.value!r} {caught.value.__cause__!r}"
