"""The S3 service behind a connection: a value that travels, and the clients that each process keeps for it.

Secrets are resolved where a client signs a request, never before: neither connections nor pickles hold any. They are
read again every few minutes, and at once when the service refuses them.
"""

import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
    RefreshableCredentials,
)
from botocore.exceptions import ClientError, NoCredentialsError

from dataproc.ports.secrets import Secrets
from dataproc.sources.s3.connection import S3Connection
from dataproc.sources.s3.errors import is_stale

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

logger = logging.getLogger(__name__)

KEPT_CLIENTS = 32
SECRETS_LAST = timedelta(minutes=5)
IDENTITY = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")
"""Variables that tell whose credentials the environment gives."""


@dataclass(frozen=True, slots=True)
class S3Service:
    """An S3 service as a connection reaches it. It travels to workers, without secrets."""

    connection: S3Connection
    secrets: Secrets = field(repr=False)

    def ask(self, request: "Callable[[S3Client], T]") -> T:
        """Return the reply to a request; with secrets that were refused, it is made again with fresh ones."""
        try:
            return request(client_of(self))
        except ClientError as exc:
            if self.connection.credentials != "static" or not is_stale(exc):
                raise
        logger.info("secrets refused, read again", extra={"endpoint": self.connection.endpoint})
        forget(self)
        return request(client_of(self))

    @property
    def payer(self) -> dict[str, Any]:
        """What each request says of who pays for it."""
        return {"RequestPayer": "requester"} if self.connection.requester_pays else {}

    @property
    def identity(self) -> str:
        """What tells this service, and the credentials it is asked with, from others in this process; no secret."""
        told = [
            self.connection.model_dump_json(exclude={"bucket", "prefix"}),
            *(os.environ.get(name, "") for name in IDENTITY),
        ]
        return hashlib.sha256(pickle.dumps((told, self.secrets))).hexdigest()


CLIENTS: "dict[str, S3Client]" = {}
CLIENTS_LOCK = Lock()


def client_of(service: S3Service) -> "S3Client":
    """Return the process's client of a service; making one takes a tenth of a second, so it is kept."""
    identity = service.identity
    with CLIENTS_LOCK:
        found = CLIENTS.get(identity)
    return found or kept_client(identity, new_client(service))


def kept_client(identity: str, new: "S3Client") -> "S3Client":
    """Return the client that is kept: the new one, unless another thread was faster; the oldest may have to go."""
    with CLIENTS_LOCK:
        kept = CLIENTS.setdefault(identity, new)
        if len(CLIENTS) > KEPT_CLIENTS:
            CLIENTS.pop(next(iter(CLIENTS))).close()
    return kept


def forget(service: S3Service) -> None:
    """Have the next client of a service made anew."""
    with CLIENTS_LOCK:
        client = CLIENTS.pop(service.identity, None)
    if client is not None:
        client.close()  # whoever uses it still gets a new connection


def new_client(service: S3Service) -> "S3Client":
    """Return a new client."""
    connection = service.connection
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": addressing_of(connection)},
        # Other services than AWS know no checksums of their own.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session(botocore_session=signed_in(service)).client(
        "s3", endpoint_url=connection.endpoint, region_name=connection.region or "us-east-1", config=config
    )


def addressing_of(connection: S3Connection) -> Literal["auto", "path", "virtual"]:
    """Return where buckets stand in URLs; few other services than AWS have a host for each."""
    if connection.path_style is None:
        return "auto" if connection.endpoint is None else "path"
    return "path" if connection.path_style else "virtual"


def signed_in(service: S3Service) -> botocore.session.Session:
    """Return a session with the credentials that the connection names."""
    connection = service.connection
    session = botocore.session.Session(profile=connection.profile)
    if connection.credentials == "static":
        use(session, Referenced(service))
    if connection.role_arn is None:
        return session
    asking = session
    session = botocore.session.Session()
    use(session, Assumed(asking, connection))
    return session


def use(session: botocore.session.Session, provider: CredentialProvider) -> None:
    """Let a session take its credentials from `provider` and from nowhere else."""
    session.register_component("credential_provider", CredentialResolver([provider]))


class Referenced(CredentialProvider):
    """An access key whose parts are secrets; they are read again when some minutes have passed."""

    METHOD = "secret-reference"

    def __init__(self, service: S3Service) -> None:
        super().__init__()
        self.service = service

    def load(self) -> Credentials:
        """Return credentials that refresh themselves."""
        return RefreshableCredentials.create_from_metadata(
            self.read(), self.read, self.METHOD, advisory_timeout=60, mandatory_timeout=30
        )

    def read(self) -> dict[str, Any]:
        """Return what the secrets are now."""
        connection, get = self.service.connection, self.service.secrets.get
        return {
            "access_key": get(connection.access_key_id or ""),
            "secret_key": get(connection.secret_access_key or ""),
            "token": None if connection.session_token is None else get(connection.session_token),
            "expiry_time": (datetime.now(UTC) + SECRETS_LAST).isoformat(),
        }


class Assumed(CredentialProvider):
    """A role, assumed with the credentials of another session, and again before that expires."""

    METHOD = "assume-role"

    def __init__(self, asking: botocore.session.Session, connection: S3Connection) -> None:
        super().__init__()
        self.asking, self.connection = asking, connection

    def load(self) -> Credentials:
        """Return credentials that refresh themselves."""
        own = self.asking.get_credentials()
        if own is None:
            raise NoCredentialsError
        fetcher = AssumeRoleCredentialFetcher(
            self.client, own, self.connection.role_arn or "", extra_args=self.arguments()
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    def arguments(self) -> dict[str, str]:
        """Return what a request for the role says besides its name."""
        external = self.connection.external_id
        return {"RoleSessionName": "dataproc"} | ({} if external is None else {"ExternalId": external})

    def client(self, service: str, **options: Any) -> Any:
        """Return a client of STS, in the connection's region."""
        return self.asking.create_client(service, region_name=self.connection.region or "us-east-1", **options)
