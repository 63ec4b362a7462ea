"""`decrypt` and `keys`: what those who hold the keys can do."""

import json
from base64 import b64encode

import boto3
import pytest
from typer.testing import CliRunner, Result

from dataproc.cli.app import app
from dataproc.security.ciphers import DataKeyCipher, ring_of
from dataproc.security.secrets import EnvironmentSecrets
from tests.s3 import REGION, s3_server

CIPHER = DataKeyCipher(("secret://dataproc#key",), EnvironmentSecrets())


@pytest.fixture(autouse=True)
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    ring_of.cache_clear()
    monkeypatch.setenv("DATAPROC_SECRET_DATAPROC", json.dumps({"key": b64encode(b"k" * 32).decode()}))
    monkeypatch.setenv("DATAPROC_ENCRYPTION_KEYS", "secret://dataproc#key")


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def test_each_line_is_decrypted() -> None:
    lines = "\n".join(CIPHER.encrypt(["123-45-6789", "Zoë"]))

    assert run("decrypt", stdin=f"{lines}\n\n").output == "123-45-6789\nZoë\n\n"
    assert json.loads(run("decrypt", "--json", stdin=lines).output) == ["123-45-6789", "Zoë"]


def test_a_line_that_cannot_be_decrypted_is_told_by_its_number() -> None:
    done = run("decrypt", stdin="\n".join([*CIPHER.encrypt(["x"]), "hello"]))

    assert done.exit_code == 1
    assert done.stdout == "x\n"
    assert done.stderr == "line 2: this is no value that dataproc encrypted; those begin with `dp1:`\n"


def test_without_keys_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPROC_ENCRYPTION_KEYS")

    done = run("decrypt", stdin="x\n")

    assert done.exit_code == 2
    assert "set DATAPROC_ENCRYPTION_KEYS" in done.stderr


def test_the_blind_index_of_a_value_is_told() -> None:
    assert run("keys", "index", "ssn_index", stdin="1\n2\n").output.split() == CIPHER.blind_index(
        ["1", "2"], "ssn_index"
    )


def test_a_key_that_kms_made_encrypts_and_decrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", server.endpoint)
        client = boto3.session.Session().client("kms", REGION)
        made = run("keys", "new", "--kms", client.create_key()["KeyMetadata"]["KeyId"])
        monkeypatch.setenv("DATAPROC_ENCRYPTION_KEYS", made.stdout.strip())
        text = DataKeyCipher((made.stdout.strip(),), EnvironmentSecrets()).encrypt(["x"])[0]

        ring_of.cache_clear()
        assert run("decrypt", stdin=text).output == "x\n"

        refused = run("keys", "new", "--kms", "alias/none")
        assert (refused.exit_code, "AWS KMS answers NotFoundException" in refused.stderr) == (1, True)
