"""Laws of places that keep secrets: the environment, mounted files, and AWS Secrets Manager over HTTP."""

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from dataproc.domain.errors import SecretNotFoundError, SecretsUnavailableError
from dataproc.ports.secrets import Secrets
from dataproc.security.secrets import AwsSecrets, EnvironmentSecrets, FileSecrets, cached
from tests.fakes.secrets import FakeSecrets
from tests.s3 import REGION, S3Server, s3_server

TOKEN, OBJECT = "t0p-s3cret", json.dumps({"token": "t0p-s3cret", "user": "ann"})
Keep = Callable[[str, str], Secrets]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=["fake", "environment", "files", "aws"])
def keep(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Keep a secret in a place, and give the place."""

    def in_memory(name: str, text: str) -> Secrets:
        keys = json.loads(text) if text.startswith("{") else {}
        return FakeSecrets({f"secret://{name}": text} | {f"secret://{name}#{key}": keys[key] for key in keys})

    def in_environment(name: str, text: str) -> Secrets:
        monkeypatch.setenv(f"DATAPROC_SECRET_{name.upper().replace('/', '_')}", text)
        return EnvironmentSecrets()

    def in_files(name: str, text: str) -> Secrets:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
        return FileSecrets(tmp_path)

    def in_aws(name: str, text: str) -> Secrets:
        use_aws(request.getfixturevalue("server"), monkeypatch)
        boto3.session.Session().client("secretsmanager", REGION).create_secret(Name=name, SecretString=text)
        return AwsSecrets(REGION)

    places: dict[str, Keep] = {"fake": in_memory, "environment": in_environment, "files": in_files, "aws": in_aws}
    return places[request.param]


def use_aws(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the standard credential chain find a server, and nothing of earlier tests."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
    cached.cache_clear()


def test_a_secret_is_found_by_its_reference(keep: Keep) -> None:
    assert keep("plain/one", TOKEN).get("secret://plain/one") == TOKEN


def test_a_key_of_a_secret_that_is_an_object_is_found(keep: Keep) -> None:
    secrets = keep("object/one", OBJECT)

    assert secrets.get("secret://object/one#token") == TOKEN
    assert secrets.get("secret://object/one#user") == "ann"


def test_a_secret_or_a_key_that_is_not_there_is_told_without_showing_the_secret(keep: Keep) -> None:
    secrets = keep("object/two", OBJECT)

    for reference in ("secret://object/none", "secret://object/two#none", "secret://object/none#token"):
        with pytest.raises(SecretNotFoundError) as caught:
            secrets.get(reference)
        assert reference in str(caught.value)
        assert TOKEN not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"


def test_a_key_of_a_secret_that_is_no_object_is_told_without_showing_the_secret(keep: Keep) -> None:
    with pytest.raises(SecretNotFoundError) as caught:
        keep("plain/two", TOKEN).get("secret://plain/two#token")

    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_no_place_travels_with_its_secrets(keep: Keep) -> None:
    secrets = keep("plain/three", TOKEN)
    assert secrets.get("secret://plain/three") == TOKEN

    if not isinstance(secrets, FakeSecrets):
        assert TOKEN.encode() not in pickle.dumps(secrets)
        assert TOKEN not in repr(secrets)


def test_a_folder_of_files_is_a_secret_with_keys(tmp_path: Path) -> None:
    (tmp_path / "crm").mkdir()
    (tmp_path / "crm" / "token").write_text(TOKEN)

    assert FileSecrets(tmp_path).get("secret://crm#token") == TOKEN


def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    (tmp_path / "inside").mkdir()

    for reference in ("secret://../secret", "secret://a/../../secret", "secret://..#secret"):
        with pytest.raises(SecretNotFoundError):
            FileSecrets(tmp_path / "inside").get(reference)


def test_a_service_that_does_not_answer_is_asked_again_later(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use_aws(server, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")

    with pytest.raises(SecretsUnavailableError):
        AwsSecrets(REGION).get("secret://any")
