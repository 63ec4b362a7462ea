"""Places that keep secrets: the environment, mounted files, AWS Secrets Manager.

None of these values holds a secret: they travel to workers, which ask where they run.
"""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import boto3
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dataproc.domain.errors import SecretNotFoundError, SecretsUnavailableError

SCHEME = "secret://"
PREFIX = "DATAPROC_SECRET_"
KEPT = 300
"""Seconds that a process keeps a secret of AWS; a changed one is known after that."""
NOT_THERE = frozenset({"ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException"})


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    """Secrets in variables of each worker: `secret://crm/api#token` is the key `token` of `DATAPROC_SECRET_CRM_API`."""

    def get(self, reference: str) -> str:
        """Return a secret."""
        name, key = parted(reference)
        variable = PREFIX + "".join(char if char.isalnum() else "_" for char in name.upper())
        if (text := os.environ.get(variable)) is None:
            raise SecretNotFoundError(f"{reference}: set {variable} in the environment of the workers", name=name)
        return value_at(text, key, reference)


@dataclass(frozen=True, slots=True)
class FileSecrets:
    """Secrets in files below a folder, as Kubernetes mounts them: `secret://crm#token` is the file `crm/token`."""

    root: Path

    def get(self, reference: str) -> str:
        """Return a secret: that of the file, or of a key in the file that is a JSON object."""
        name, key = parted(reference)
        whole = self.inside(name, reference)
        if key and whole.is_dir():
            return self.text_of(self.inside(f"{name}/{key}", reference), reference)
        return value_at(self.text_of(whole, reference), key, reference)

    def inside(self, name: str, reference: str) -> Path:
        """Return the path of a secret, unless it leads out of the folder."""
        # Not resolved: Kubernetes mounts secrets as links.
        if ".." in Path(name).parts or name.startswith("/"):
            raise SecretNotFoundError(f"{reference}: a name of a secret has no `..`")
        return self.root / name

    def text_of(self, path: Path, reference: str) -> str:
        """Return what a file holds, without the newline that editors put at its end."""
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise SecretNotFoundError(f"{reference}: no such file below DATAPROC_SECRETS_DIR can be read") from exc


@dataclass(frozen=True, slots=True)
class AwsSecrets:
    """Secrets of AWS Secrets Manager, kept for five minutes by each process."""

    region: str | None = None

    def get(self, reference: str) -> str:
        """Return a secret."""
        name, key = parted(reference)
        try:
            found = cached(self.region).get_secret_string(name)
        except ClientError as exc:
            code = exc.response.get("Error", {}).get("Code", "")
            if code in NOT_THERE:
                raise SecretNotFoundError(f"{reference}: AWS Secrets Manager answers {code}", name=name) from exc
            raise SecretsUnavailableError(f"{reference}: AWS Secrets Manager answers {code}", name=name) from exc
        except BotoCoreError as exc:
            raise SecretsUnavailableError(f"{reference}: AWS Secrets Manager: {type(exc).__name__}", name=name) from exc
        if found is None:
            raise SecretNotFoundError(f"{reference}: the secret is binary; store it as text", name=name)
        return value_at(str(found), key, reference)


@cache
def cached(region: str | None) -> SecretCache:
    """Return the process's cache of a region's secrets."""
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    client = boto3.session.Session().client("secretsmanager", region, config=config)
    return SecretCache(SecretCacheConfig(secret_refresh_interval=KEPT), client)


def parted(reference: str) -> tuple[str, str]:
    """Return the name of a secret, and the key in it or nothing."""
    name, _, key = reference.removeprefix(SCHEME).partition("#")
    return name, key


def value_at(text: str, key: str, reference: str) -> str:
    """Return one value of a secret that is a JSON object; without a key, all of it."""
    if not key:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        # The error of the parser would show the text.
        raise SecretNotFoundError(f"{reference}: the secret is no JSON object with the key {key!r}") from None
