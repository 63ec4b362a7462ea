"""How to reach an S3 bucket: a value without secrets, which says where credentials come from."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import Url

from dataproc.domain.errors import InvalidSpecError, SourceRefusedError
from dataproc.domain.fields import SecretReference
from dataproc.ports.store import Connection
from dataproc.sources.connections import config_of, demand_kind
from dataproc.sources.files.globs import escaped, fixed_prefix, is_glob

SCHEME = "s3://"

CredentialKind = Literal["environment", "profile", "static"]


class S3Connection(BaseModel):
    """An S3 service, the bucket and the prefix within which paths are, and where its credentials come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$", description="The bucket.")
    endpoint: str | None = Field(default=None, description="URL of the service; none: the environment's, else AWS.")
    region: str | None = Field(default=None, description="Region; none: the environment's.")
    prefix: str = Field(default="", max_length=512, description="Folder in the bucket within which paths are.")
    path_style: bool | None = Field(
        default=None, description="Whether buckets are in the path of URLs; none: yes, where an endpoint is set."
    )
    requester_pays: bool = Field(default=False, description="Whether we pay for requests to buckets that demand it.")
    profile: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.@:/+ -]+$",
        max_length=100,
        description="Profile of the workers' AWS configuration files.",
    )
    access_key_id: SecretReference | None = Field(default=None, description="Reference to the id of an access key.")
    secret_access_key: SecretReference | None = Field(default=None, description="Reference to the access key.")
    session_token: SecretReference | None = Field(default=None, description="Reference to a session token.")
    role_arn: str | None = Field(
        default=None,
        pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$",
        max_length=2048,
        description="Role to assume with the other credentials; it is assumed anew before it expires.",
    )
    external_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_+=,.@:/-]+$",
        max_length=1224,
        description="External id that the role demands.",
    )

    @field_validator("endpoint")
    @classmethod
    def is_a_service(cls, value: str | None) -> str | None:
        """Refuse what is not the URL of a server, or holds a password."""
        if value is None:
            return None
        url = Url(value)
        if url.scheme not in ("http", "https") or not url.host:
            msg = "write the endpoint as http://host:port or https://host"
            raise ValueError(msg)
        if url.username or url.password:
            msg = "leave user and password out of the endpoint; name them as access_key_id and secret_access_key"
            raise ValueError(msg)
        return value.rstrip("/")

    @model_validator(mode="after")
    def has_one_kind_of_credentials(self) -> "S3Connection":
        """Refuse half a key, two kinds of credentials, and what belongs to a role without one."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            msg = "give access_key_id and secret_access_key together"
            raise ValueError(msg)
        if self.session_token is not None and self.access_key_id is None:
            msg = "give session_token with access_key_id and secret_access_key"
            raise ValueError(msg)
        if self.profile is not None and self.access_key_id is not None:
            msg = "give a profile or an access key, not both"
            raise ValueError(msg)
        if self.external_id is not None and self.role_arn is None:
            msg = "give external_id with role_arn"
            raise ValueError(msg)
        return self

    @property
    def credentials(self) -> CredentialKind:
        """Where the credentials come from with which the service, or the role, is asked for."""
        if self.access_key_id is not None:
            return "static"
        return "environment" if self.profile is None else "profile"

    @property
    def folder(self) -> str:
        """The prefix as keys begin with it."""
        return f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""

    def locate(self, path: str) -> tuple[str, str]:
        """Return the bucket and the key that `path` means."""
        if not path.startswith(SCHEME):
            return self.bucket_for(path), self.folder + path.lstrip("/")
        bucket, key = split(path)
        self.demand_within(path, bucket, key)
        return bucket, key

    def uri(self, path: str) -> str:
        """Return a path or glob with its bucket, as a glob; the connection's prefix is not part of a pattern."""
        if not path.startswith(SCHEME):
            return f"{SCHEME}{self.bucket_for(path)}/{escaped(self.folder)}{path.lstrip('/')}"
        bucket, key = split(path)
        if is_glob(bucket):
            raise InvalidSpecError(f"path: {path!r} has a wildcard in its bucket; name the bucket")
        self.demand_within(path, bucket, fixed_prefix(key))
        return path

    def bucket_for(self, path: str) -> str:
        """Return the connection's bucket, in which a path without one is."""
        if self.bucket is None:
            raise InvalidSpecError(f"path: {path!r} names no bucket, nor does the connection; write s3://bucket/key")
        return self.bucket

    def demand_within(self, path: str, bucket: str, start: str) -> None:
        """Refuse a path whose keys, all of which begin with `start`, may be outside the connection."""
        if self.bucket not in (None, bucket) or not start.startswith(self.folder):
            msg = f"path: {path!r} is outside s3://{self.bucket or bucket}/{self.folder}, where the connection may read"
            raise SourceRefusedError(msg, path=path)


def connection_for(connection: Connection | None, environment: Mapping[str, str]) -> S3Connection:
    """Return the connection's value; what it leaves open comes from the standard AWS variables."""
    found = S3Connection() if connection is None else parsed(connection)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None
    return found.model_copy(update={"endpoint": found.endpoint or endpoint, "region": found.region or region})


def parsed(connection: Connection) -> S3Connection:
    """Return the value of a registered connection, or say what is wrong with it."""
    demand_kind(connection, "s3")
    return config_of(connection, S3Connection)


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of a URI."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key
