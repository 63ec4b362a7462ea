"""Values encrypted with the keys of the installation."""

import pickle
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.errors import DecryptionError, SecretNotFoundError, SetupError
from dataproc.ports.cipher import NO_KEYS
from dataproc.security.ciphers import DataKeyCipher
from dataproc.settings import Settings
from tests.fakes.secrets import FakeSecrets

OLD, NEW = (b64encode(bytes([n]) * 32).decode() for n in (1, 2))
SECRETS = FakeSecrets({"secret://old": OLD, "secret://new": NEW, "secret://short": b64encode(b"x" * 16).decode()})
BEFORE, AFTER = DataKeyCipher(("secret://old",), SECRETS), DataKeyCipher(("secret://new", "secret://old"), SECRETS)


@given(st.lists(st.text(max_size=50) | st.binary(max_size=50), max_size=10), st.text(max_size=10))
def test_what_was_encrypted_is_decrypted(values: list[str | bytes], context: str) -> None:
    found = BEFORE.encrypt(values, context)

    assert [BEFORE.decrypt(text) for text in found] == [v.encode() if isinstance(v, str) else v for v in values]


def test_an_encrypted_value_tells_its_version_and_its_key() -> None:
    version, key, _ = BEFORE.encrypt(["x"])[0].split(":")

    assert (version, len(key)) == ("dp1", 8)
    assert AFTER.encrypt(["x"])[0].split(":")[1] != key


def test_with_a_context_the_same_values_are_the_same_texts_and_without_one_never() -> None:
    assert BEFORE.encrypt(["x", "x"], "u/0") == BEFORE.encrypt(["x", "x"], "u/0")
    assert BEFORE.encrypt(["x"], "u/0") != BEFORE.encrypt(["x"], "u/1")
    assert len({*BEFORE.encrypt(["x", "x"], "u/0"), *BEFORE.encrypt(["x", "x"]), *BEFORE.encrypt(["x"])}) == 5


def test_no_nonce_is_used_twice_with_one_key_for_two_values() -> None:
    one, other = (BEFORE.encrypt([value], "u/0")[0].split(":")[2][:32] for value in ("x", "y"))

    assert one[:16] == other[:16]
    assert one != other


def test_keys_are_rotated_by_adding_one_in_front() -> None:
    text = BEFORE.encrypt(["x"])[0]

    assert AFTER.decrypt(text) == b"x"
    assert AFTER.blind_index(["x"], "i") == BEFORE.blind_index(["x"], "i")
    assert AFTER.derived("hash") == BEFORE.derived("hash") != BEFORE.derived("token")
    with pytest.raises(DecryptionError, match=f"encrypted by key {AFTER.encrypt(['x'])[0].split(':')[1]}, and"):
        BEFORE.decrypt(AFTER.encrypt(["x"])[0])


def test_blind_indexes_of_two_names_tell_nothing_of_each_other() -> None:
    assert BEFORE.blind_index(["x"], "a") != BEFORE.blind_index(["x"], "b")


@given(st.integers(13, 60), st.integers(1, 255))
def test_a_value_that_was_changed_is_refused(at: int, by: int) -> None:
    text = BEFORE.encrypt(["some value"], "u")[0]
    changed = text[: at % len(text)] + chr(by) + text[at % len(text) + 1 :]

    if changed == text:
        return
    with pytest.raises(DecryptionError):
        BEFORE.decrypt(changed)


@pytest.mark.parametrize("text", ["", "hello", "dp1:", "dp1:00:!!", "dp2:00000000:" + "A" * 60, "dp1:x:AAAA"])
def test_a_text_that_was_not_encrypted_by_us_is_told(text: str) -> None:
    with pytest.raises(DecryptionError, match="no value that dataproc encrypted"):
        BEFORE.decrypt(text)


def test_a_key_of_the_wrong_length_is_refused_and_not_shown() -> None:
    with pytest.raises(SetupError, match="secret://short: a key is 32 bytes in base64") as caught:
        DataKeyCipher(("secret://short",), SECRETS).encrypt(["x"])
    assert SECRETS.known["secret://short"] not in f"{caught.value!r} {caught.value.__context__!r}"


def test_a_key_that_is_not_there_is_named() -> None:
    with pytest.raises(SecretNotFoundError, match="secret://none"):
        DataKeyCipher(("secret://none",), SECRETS).encrypt(["x"])


def test_without_keys_nothing_is_encrypted() -> None:
    for cipher in (NO_KEYS, DataKeyCipher((), SECRETS)):
        with pytest.raises(SetupError, match="DATAPROC_ENCRYPTION_KEYS"):
            cipher.encrypt(["x"])
        with pytest.raises(SetupError, match="DATAPROC_ENCRYPTION_KEYS"):
            cipher.decrypt("dp1:x:y")
        with pytest.raises(SetupError, match="DATAPROC_ENCRYPTION_KEYS"):
            cipher.blind_index(["x"], "i")
        with pytest.raises(SetupError, match="to do this needs a key"):
            cipher.demand("to do this")


def test_keys_stay_out_of_reprs_and_of_copies() -> None:
    ring = BEFORE.ring()

    assert OLD not in repr(BEFORE)
    assert "01" * 8 not in repr(ring).replace("\\x", "")
    assert pickle.loads(pickle.dumps(BEFORE)).decrypt(BEFORE.encrypt(["x"])[0]) == b"x"  # noqa: S301 - our own value


def test_a_key_in_place_of_its_reference_is_refused_by_the_settings_and_not_shown() -> None:
    with pytest.raises(ValidationError, match="never the key") as caught:
        Settings(encryption_keys=(OLD,))
    assert OLD not in str(caught.value)
