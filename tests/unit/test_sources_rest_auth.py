"""Credentials of REST APIs, as the server sees them."""

import base64
import hashlib
import hmac
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dataproc.domain.errors import BadDataError, InvalidSpecError, SourceRefusedError
from dataproc.ports.throttle import UNLIMITED
from dataproc.sources.rest import oauth
from dataproc.sources.rest.asks import Ask
from dataproc.sources.rest.auth import signer_for
from dataproc.sources.rest.client import credential_of, open_client
from dataproc.sources.rest.connection import OAuth2Auth, RestConnection, rest_connection
from tests.builders import a_connection
from tests.fakes.secrets import FakeSecrets
from tests.rest_api import Api, Call, Reply, rest_api

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "secret://crm#key"


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        running.routes["/orders"] = lambda _: Reply([])
        yield running


def connection(url: str, auth: dict[str, Any]) -> RestConnection:
    config = {"base_url": url, "allow_private": True, "attempts": 1, "auth": auth}
    return rest_connection(a_connection(name="crm", kind="rest", config=config))


def get(api: Api, auth: dict[str, Any], secret: str) -> Call:
    """Return the last call that the server got."""
    secrets = FakeSecrets({KEY: secret})
    with open_client(connection(api.url, auth), secrets, UNLIMITED) as client:
        client.send(Ask("GET", f"{api.url}/orders?status=open"))
    return api.calls[-1]


def test_a_bearer_token_goes_into_its_header(api: Api) -> None:
    assert get(api, {"kind": "bearer", "token": KEY}, "t0").headers["authorization"] == "Bearer t0"


def test_an_api_key_goes_into_a_header_or_a_parameter(api: Api) -> None:
    in_header = get(api, {"kind": "api_key", "key": KEY, "name": "X-Key"}, "k&=1")
    in_query = get(api, {"kind": "api_key", "key": KEY, "name": "key", "place": "query"}, "k&=1")

    assert in_header.headers["x-key"] == "k&=1"
    assert in_query.query == {"status": "open", "key": "k&=1"}


def test_a_user_and_a_password_go_into_one_header(api: Api) -> None:
    sent = get(api, {"kind": "basic", "user": "ann", "password": KEY}, "pä:ss").headers["authorization"]

    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "ann:pä:ss"


def pems(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
def test_a_token_is_signed_for_each_request(api: Api, algorithm: str) -> None:
    match algorithm:
        case "RS256":
            private, public = pems(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        case "ES256":
            private, public = pems(ec.generate_private_key(ec.SECP256R1()))
        case _:
            private = public = "s" * 40
    auth = {
        "kind": "jwt",
        "key": KEY,
        "algorithm": algorithm,
        "claims": {"iss": "us"},
        "lifetime": "60s",
        "key_id": "7",
    }

    token = get(api, auth, private).headers["authorization"].removeprefix("Bearer ")

    claims = jwt.decode(token, public, algorithms=[algorithm])
    assert claims["iss"] == "us"
    assert claims["exp"] - claims["iat"] == 60
    assert jwt.get_unverified_header(token)["kid"] == "7"


def test_a_key_that_does_not_go_with_the_algorithm_is_told_without_showing_it(api: Api) -> None:
    with pytest.raises(SourceRefusedError, match="RS256") as raised:
        get(api, {"kind": "jwt", "key": KEY}, "not a key")

    assert "not a key" not in str(raised.value)


def test_a_signature_covers_what_the_connection_says(api: Api) -> None:
    auth = {
        "kind": "hmac", "key": KEY, "digest": "sha512", "canonical": "{method}|{target}|{timestamp}|{body_digest}",
        "encoding": "base64", "header": "X-Sign", "prefix": "v1=", "timestamp": "iso", "timestamp_header": "X-At",
    }  # fmt: skip
    told = connection(api.url, auth)

    proof = signer_for(told, FakeSecrets({KEY: "k"}), never, lambda: NOW).prove(
        Ask("POST", f"{api.url}/orders?a=1", body=b"{}")
    )

    text = f"POST|/orders?a=1|2026-01-01T12:00:00Z|{hashlib.sha512(b'{}').hexdigest()}"
    signature = base64.b64encode(hmac.new(b"k", text.encode(), "sha512").digest()).decode()
    assert dict(proof.headers) == {"X-Sign": f"v1={signature}", "X-At": "2026-01-01T12:00:00Z"}


def never(ask: Ask) -> Any:
    raise AssertionError(ask)


@pytest.mark.parametrize("canonical", ["{method.__class__}", "{secret}", "{0}", "{", "{path!r}", "{path:>9}"])
def test_a_signature_over_what_a_request_has_not_is_refused(canonical: str) -> None:
    with pytest.raises(InvalidSpecError, match="canonical"):
        connection("http://127.0.0.1", {"kind": "hmac", "key": KEY, "canonical": canonical})


class TokenServer:
    """Gives tokens, and knows which are good."""

    def __init__(self, api: Api, lives: object = 3600) -> None:
        self.api, self.lives, self.good = api, lives, set[str]()
        self.lock = threading.Lock()
        api.routes |= {"/token": self.give, "/orders": self.orders}
        self.auth = {
            "kind": "oauth2", "token_url": f"{api.url}/token", "client_id": f"client-{uuid4().hex}",
            "client_secret": KEY, "scope": "read",
        }  # fmt: skip

    def give(self, call: Call) -> Reply:
        assert b"grant_type=client_credentials" in call.body
        assert b"scope=read" in call.body
        with self.lock:
            token = f"t{self.api.asked('/token')}"
            self.good.add(token)
        return Reply({"access_token": token, "token_type": "Bearer", "expires_in": self.lives})

    def orders(self, call: Call) -> Reply:
        token = call.headers["authorization"].removeprefix("Bearer ")
        return Reply([]) if token in self.good else Reply({}, 401)


def test_a_token_is_taken_once_and_used_by_all_clients_of_the_process(api: Api) -> None:
    tokens = TokenServer(api)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: get(api, tokens.auth, "s"), range(8)))

    assert api.asked("/token") == 1
    assert api.asked("/orders") == 8


@pytest.mark.parametrize("style", ["basic", "body"])
def test_a_client_tells_who_it_is_in_the_way_of_the_server(api: Api, style: str) -> None:
    tokens = TokenServer(api)

    get(api, tokens.auth | {"style": style}, "s:/ä")

    call = api.calls[0]
    assert ("authorization" in call.headers) is (style == "basic")
    assert (b"client_secret=s%3A%2F%C3%A4" in call.body) is (style == "body")


def test_a_token_that_is_refused_is_taken_anew_once(api: Api) -> None:
    tokens = TokenServer(api)
    get(api, tokens.auth, "s")
    tokens.good.clear()

    get(api, tokens.auth, "s")

    assert api.asked("/token") == 2
    api.routes["/orders"] = lambda _: Reply({}, 401)
    with pytest.raises(SourceRefusedError):
        get(api, tokens.auth, "s")
    assert api.asked("/token") == 3


def test_a_token_is_taken_anew_before_it_ends(api: Api) -> None:
    tokens = TokenServer(api)
    found = connection(api.url, tokens.auth).auth
    assert isinstance(found, OAuth2Auth)
    clock = [0.0]
    with open_client(connection(api.url, {"kind": "none"}), FakeSecrets(), UNLIMITED) as client:
        signer = oauth.OAuth2Signer(found, "s", client.send, lambda: clock[0])
        used = []
        for clock[0] in (0.0, 3000.0, 3300.0, 3400.0):
            used.append(dict(signer.prove(Ask("GET", "")).headers)["Authorization"])

    assert used == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


@pytest.mark.parametrize("answer", [{}, [], {"access_token": "t", "expires_in": "soon"}])
def test_an_answer_without_a_token_is_told(api: Api, answer: object) -> None:
    tokens = TokenServer(api)
    api.routes["/token"] = lambda _: Reply(answer)

    with pytest.raises(BadDataError, match="access_token"):
        get(api, tokens.auth, "s")


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_client_that_is_refused_is_told_without_its_secret(
    api: Api, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = TokenServer(api)
    api.routes["/token"] = lambda _: Reply({"error": "invalid_client"}, status)

    with pytest.raises(SourceRefusedError, match="token_url") as raised:
        get(api, tokens.auth, "s3cr3t")

    assert "s3cr3t" not in str(raised.value) + caplog.text


def test_clients_with_different_credentials_have_different_rates() -> None:
    one, other = (FakeSecrets({KEY: secret}) for secret in ("a", "b"))
    told = connection("http://127.0.0.1", {"kind": "bearer", "token": KEY})

    assert credential_of(told, one) != credential_of(told, other)
