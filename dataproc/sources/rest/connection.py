"""How to reach a REST API: a value that names secrets and holds none."""

import re
from datetime import timedelta
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from dataproc.domain.duration import Duration
from dataproc.domain.errors import SetupError
from dataproc.domain.fields import Name, SecretReference, Spec
from dataproc.domain.sources.rest import RESERVED, ApiPath, HeaderName, JsonPath
from dataproc.ports.store import Connection
from dataproc.ports.throttle import Rate
from dataproc.sources.connections import config_of, demand_kind
from dataproc.sources.rest.urls import checked_address, checked_host

SIGNED = ("method", "path", "query", "target", "host", "timestamp", "body", "body_digest")
"""Parts of a request that a signature may cover."""
SECRETIVE = re.compile(r"auth|cookie|token|secret|password|api-?key", re.IGNORECASE)
"""Names of headers that hold credentials."""


class NoAuth(Spec):
    """No credentials."""

    kind: Literal["none"] = "none"


class BearerAuth(Spec):
    """`Authorization: Bearer TOKEN`."""

    kind: Literal["bearer"]
    token: SecretReference


class ApiKeyAuth(Spec):
    """A key in a header, or in a query parameter."""

    kind: Literal["api_key"]
    key: SecretReference
    name: HeaderName = Field(default="X-API-Key", description="The header, or the parameter.")
    place: Literal["header", "query"] = "header"


class BasicAuth(Spec):
    """User and password."""

    kind: Literal["basic"]
    user: str = Field(max_length=256, pattern=r"^[^:\x00-\x1f]*$")
    password: SecretReference


class OAuth2Auth(Spec):
    """OAuth 2 client credentials: a token from `token_url`, taken anew before it ends."""

    kind: Literal["oauth2"]
    token_url: str
    client_id: str = Field(max_length=512)
    client_secret: SecretReference
    scope: str | None = None
    audience: str | None = None
    style: Literal["basic", "body"] = Field(default="basic", description="How the client tells who it is.")

    @field_validator("token_url")
    @classmethod
    def is_an_address(cls, value: str) -> str:
        """Refuse what is no URL of a server."""
        return checked_address(value, "token_url")


class JwtAuth(Spec):
    """A JSON Web Token, signed anew for each request."""

    kind: Literal["jwt"]
    key: SecretReference
    algorithm: Literal["RS256", "ES256", "HS256"] = "RS256"
    claims: dict[str, JsonValue] = Field(default={}, description="Such as iss, sub and aud; times are added.")
    key_id: str | None = Field(default=None, description="The `kid` of the token's header.")
    lifetime: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0), le=timedelta(hours=1))


class HmacAuth(Spec):
    """A signature of each request."""

    kind: Literal["hmac"]
    key: SecretReference
    digest: Literal["sha256", "sha512"] = "sha256"
    canonical: str = Field(
        default="{method}\n{path}\n{timestamp}\n{body_digest}",
        description="What is signed: {method}, {path}, {query}, {target}, {host}, {timestamp}, {body}, {body_digest}.",
    )
    encoding: Literal["hex", "base64"] = "hex"
    header: HeaderName = "X-Signature"
    prefix: str = Field(default="", description="What stands before the signature.")
    timestamp: Literal["unix", "unix_ms", "iso"] = "unix"
    timestamp_header: HeaderName = "X-Timestamp"

    @field_validator("canonical")
    @classmethod
    def has_known_parts(cls, value: str) -> str:
        """Refuse parts that a request does not have."""
        for _, name, form, conversion in Formatter().parse(value):
            if name is not None and (name not in SIGNED or form or conversion):
                msg = f"canonical: {name!r} is no part of a request; there are {', '.join(SIGNED)}"
                raise ValueError(msg)
        return value


Auth = Annotated[
    NoAuth | BearerAuth | ApiKeyAuth | BasicAuth | OAuth2Auth | JwtAuth | HmacAuth, Field(discriminator="kind")
]


class RateLimit(Spec):
    """How many requests the API allows; all workers and jobs with the same credential share it."""

    requests: int = Field(ge=1, le=1_000_000)
    per: Duration = Field(default=timedelta(seconds=1), gt=timedelta(0), le=timedelta(days=1))
    burst: int = Field(default=1, ge=1, description="So many of them may go at once.")

    @model_validator(mode="after")
    def is_a_part(self) -> "RateLimit":
        """Refuse a burst that is more than the limit."""
        if self.burst > self.requests:
            msg = "burst: no more than requests"
            raise ValueError(msg)
        return self

    @property
    def rate(self) -> Rate:
        """The rate to keep to."""
        return Rate(self.requests, self.per, self.burst)


class Tls(Spec):
    """PEM texts: of the client's certificate and its key, and of the authorities that servers are checked by."""

    certificate: SecretReference | None = None
    key: SecretReference | None = None
    authorities: SecretReference | None = Field(default=None, description="None: those of the system.")

    @model_validator(mode="after")
    def is_complete(self) -> "Tls":
        """Refuse a key without a certificate."""
        if self.key is not None and self.certificate is None:
            msg = "key: write its certificate as well"
            raise ValueError(msg)
        return self


class Timeouts(Spec):
    """How long to wait for a connection, for more of an answer, and for the whole of it."""

    connect: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=timedelta(minutes=5))
    read: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0), le=timedelta(minutes=30))
    total: Duration = Field(default=timedelta(seconds=120), gt=timedelta(0), le=timedelta(hours=1))


class Listed(Spec):
    """A resource that the connection shows to those who look what there is to read."""

    path: ApiPath
    records: JsonPath = "$"


class RestConnection(Spec):
    """A REST API."""

    base_url: str = Field(description="Such as https://api.example.com/v2.")
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Other hosts that answers may lead to, at any port or at that of `host:port`; no credentials go.",
    )
    auth: Auth = NoAuth()
    headers: dict[HeaderName, str] = Field(default={}, description="Of every request; a value may be secret://….")
    rate: RateLimit | None = None
    timeouts: Timeouts = Timeouts()
    tls: Tls = Tls()
    allow_private: bool = Field(default=False, description="Reach private addresses, also without TLS.")
    content_types: tuple[str, ...] = Field(default=(), description="Types of content that hold JSON, besides JSON's.")
    max_body: int = Field(default=32 * 1024 * 1024, ge=1024, le=1024**3, description="Bytes of one answer.")
    max_wait: Duration = Field(
        default=timedelta(minutes=2), gt=timedelta(0), description="The longest that the API may make us wait."
    )
    attempts: int = Field(default=5, ge=1, le=20, description="How often a request is tried.")
    test_path: ApiPath = Field(default="/", description="What is asked to test the connection.")
    resources: dict[Name, Listed] = Field(default={}, description="What `discover` shows: name to resource.")

    @field_validator("base_url")
    @classmethod
    def is_an_address(cls, value: str) -> str:
        """Refuse what is no URL of a server."""
        return checked_address(value, "base_url").rstrip("/")

    @field_validator("hosts")
    @classmethod
    def are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse an entry that is not a host, or a host with a port; it would never allow anything."""
        return tuple(map(checked_host, value))

    @field_validator("headers")
    @classmethod
    def are_allowed(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse headers that belong to the transport, and secrets that are written out."""
        for name, text in value.items():
            if name.lower() in RESERVED - {"authorization", "cookie"}:
                msg = f"{name} is set by the client itself; leave it out"
                raise ValueError(msg)
            if SECRETIVE.search(name) and not text.startswith("secret://"):
                msg = f"{name} looks like a credential; write the reference of a secret, such as secret://crm#key"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def is_encrypted(self) -> "RestConnection":
        """Refuse to send anything in the clear through public networks."""
        token_url = self.auth.token_url if isinstance(self.auth, OAuth2Auth) else "https:"
        for url in (self.base_url, token_url):
            if urlsplit(url).scheme != "https" and not self.allow_private:
                msg = "base_url, token_url: write https://; http:// goes only with `allow_private: true`"
                raise ValueError(msg)
        return self


def rest_connection(connection: Connection | None) -> RestConnection:
    """Return the value of a registered connection, or say what is wrong with it."""
    if connection is None:
        raise SetupError("connection: a source of kind rest needs a registered connection")
    demand_kind(connection, "rest")
    return config_of(connection, RestConnection)
