"""Credentials: read where they are used, put into each request, and kept out of everything that is shown."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never
from urllib.parse import urlsplit

import jwt

from dataproc.domain.errors import SourceRefusedError
from dataproc.ports.secrets import Secrets
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.asks import Ask, Proof, Signer, basic, bearer, clean_header
from dataproc.sources.rest.connection import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    HmacAuth,
    JwtAuth,
    NoAuth,
    OAuth2Auth,
    RestConnection,
)
from dataproc.sources.rest.oauth import OAuth2Signer
from dataproc.sources.rest.urls import origin_of

Now = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same proof for every request."""

    proof: Proof

    def prove(self, ask: Ask) -> Proof:
        """Return the proof."""
        del ask
        return self.proof

    def renew(self) -> bool:
        """Return false: there is no other."""
        return False


@dataclass(frozen=True, slots=True)
class JwtSigner:
    """A token signed for each request."""

    auth: JwtAuth
    key: str = field(repr=False)
    now: Now

    def prove(self, ask: Ask) -> Proof:
        """Return a fresh token."""
        del ask
        issued = self.now()
        times = {"iat": issued, "exp": issued + self.auth.lifetime}
        headers = {"kid": self.auth.key_id} if self.auth.key_id else None
        try:
            token = jwt.encode({**self.auth.claims, **times}, self.key, self.auth.algorithm, headers)
        except (jwt.PyJWTError, ValueError, TypeError) as exc:
            msg = f"auth/key: the secret is no key for {self.auth.algorithm}; write a PEM, or a long secret for HS256"
            raise SourceRefusedError(msg) from exc
        return Proof((("Authorization", f"Bearer {token}"),))

    def renew(self) -> bool:
        """Return false: the next token would say the same."""
        return False


@dataclass(frozen=True, slots=True)
class HmacSigner:
    """A signature over the parts of a request."""

    auth: HmacAuth
    key: str = field(repr=False)
    now: Now

    def prove(self, ask: Ask) -> Proof:
        """Return the signature, and the time that it was made at."""
        told = self.timestamp()
        text = self.auth.canonical.format(**self.parts(ask, told))
        made = hmac.new(self.key.encode(), text.encode(), self.auth.digest).digest()
        written = made.hex() if self.auth.encoding == "hex" else base64.b64encode(made).decode()
        return Proof(((self.auth.timestamp_header, told), (self.auth.header, self.auth.prefix + written)))

    def parts(self, ask: Ask, told: str) -> dict[str, str]:
        """Return what may be signed of a request."""
        url, body = urlsplit(ask.url), ask.body or b""
        path = url.path or "/"
        return {
            "method": ask.method, "path": path, "query": url.query, "host": str(origin_of(ask.url)),
            "target": f"{path}?{url.query}" if url.query else path, "timestamp": told,
            "body": body.decode(), "body_digest": hashlib.new(self.auth.digest, body).hexdigest(),
        }  # fmt: skip

    def timestamp(self) -> str:
        """Return the time of now as the API wants it."""
        now = self.now()
        match self.auth.timestamp:
            case "unix":
                return str(int(now.timestamp()))
            case "unix_ms":
                return str(int(now.timestamp() * 1000))
            case "iso":
                return now.isoformat(timespec="seconds").replace("+00:00", "Z")
            case _:
                assert_never(self.auth.timestamp)

    def renew(self) -> bool:
        """Return false: the key is the same."""
        return False


def utc_now() -> datetime:
    """Return the time of now."""
    return datetime.now(UTC)


def signer_for(
    connection: RestConnection, secrets: Secrets, exchange: Callable[[Ask], Answer], now: Now = utc_now
) -> Signer:
    """Return what proves the requests of a connection; `exchange` sends the requests for tokens."""
    match auth := connection.auth:
        case OAuth2Auth():
            return OAuth2Signer(auth, secrets.get(auth.client_secret), exchange)
        case JwtAuth():
            return JwtSigner(auth, secrets.get(auth.key), now)
        case HmacAuth():
            return HmacSigner(auth, secrets.get(auth.key), now)
        case _:
            return Fixed(fixed_proof(auth, secrets))


def fixed_proof(auth: NoAuth | BearerAuth | ApiKeyAuth | BasicAuth, secrets: Secrets) -> Proof:
    """Return the proof that is the same for every request."""
    match auth:
        case NoAuth():
            return Proof()
        case BearerAuth():
            return bearer(secrets.get(auth.token))
        case ApiKeyAuth(place="query"):
            return Proof(query=((auth.name, secrets.get(auth.key)),))
        case ApiKeyAuth():
            return Proof((clean_header(auth.name, secrets.get(auth.key)),))
        case BasicAuth():
            return basic(auth.user, secrets.get(auth.password))
        case _:
            assert_never(auth)
