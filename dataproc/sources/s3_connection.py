"""How to reach an S3 bucket: a value without secrets; credentials come from the environment's credential chain."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import Url

from dataproc.domain.document import problems_of
from dataproc.domain.errors import InvalidSpecError, SourceRefusedError
from dataproc.ports.store import Connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"


class S3Connection(BaseModel):
    """An S3 service, and the bucket and the prefix within which paths are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$", description="The bucket.")
    endpoint: str | None = Field(default=None, description="URL of the service; none: the environment's, else AWS.")
    region: str | None = Field(default=None, description="Region; none: the environment's.")
    prefix: str = Field(default="", max_length=512, description="Folder in the bucket within which paths are.")

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
            msg = "leave user and password out of the endpoint; credentials come from the environment"
            raise ValueError(msg)
        return value.rstrip("/")

    def locate(self, path: str) -> tuple[str, str]:
        """Return the bucket and the key or glob that `path` means."""
        prefix = f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""
        if not path.startswith(SCHEME):
            if self.bucket is None:
                raise InvalidSpecError(
                    f"path: {path!r} names no bucket, nor does the connection; write s3://bucket/key"
                )
            return self.bucket, prefix + path.lstrip("/")
        bucket, _, key = path.removeprefix(SCHEME).partition("/")
        if self.bucket not in (None, bucket) or not key.startswith(prefix):
            msg = f"path: {path!r} is outside s3://{self.bucket or bucket}/{prefix}, where the connection may read"
            raise SourceRefusedError(msg, path=path)
        return bucket, key


def connection_for(connection: Connection | None, environment: Mapping[str, str]) -> S3Connection:
    """Return the connection's value; what it leaves open comes from the standard AWS variables."""
    found = S3Connection() if connection is None else parsed(connection)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None
    return found.model_copy(update={"endpoint": found.endpoint or endpoint, "region": found.region or region})


def parsed(connection: Connection) -> S3Connection:
    """Return the value of a registered connection, or say what is wrong with it."""
    if connection.kind != "s3":
        raise InvalidSpecError(f"connection: {connection.name!r} is of kind {connection.kind!r}, the source needs s3")
    try:
        return S3Connection.model_validate(dict(connection.config))
    except ValidationError as exc:
        problems = problems_of(exc, "/config", model=S3Connection)
        words = "; ".join(f"{problem.pointer}: {problem.message}" for problem in problems)
        raise InvalidSpecError(f"connection {connection.name!r}: {words}", problems) from exc


@lru_cache(maxsize=32)
def client_of(connection: S3Connection) -> "S3Client":
    """Return the process's client of a connection; making one takes a tenth of a second, so it is kept."""
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": "path"} if connection.endpoint else {},
        # Other services than AWS know no checksums of their own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=connection.endpoint, region_name=connection.region or "us-east-1", config=config
    )
