"""Places that keep secrets: the environment."""

import json
import os
from dataclasses import dataclass

from dataproc.domain.errors import SecretNotFoundError

SCHEME = "secret://"
PREFIX = "DATAPROC_SECRET_"


@dataclass(frozen=True, slots=True)
class EnvironmentSecrets:
    """Secrets in variables of each worker: `secret://crm/api#token` is the key `token` of `DATAPROC_SECRET_CRM_API`."""

    def get(self, reference: str) -> str:
        """Return a secret."""
        name, _, key = reference.removeprefix(SCHEME).partition("#")
        variable = PREFIX + "".join(char if char.isalnum() else "_" for char in name.upper())
        if (text := os.environ.get(variable)) is None:
            raise SecretNotFoundError(f"{reference}: set {variable} in the environment of the workers", name=name)
        return text if not key else value_at(text, key, reference)


def value_at(text: str, key: str, reference: str) -> str:
    """Return one value of a secret that is a JSON object."""
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError) as exc:
        raise SecretNotFoundError(f"{reference}: the secret is no JSON object with the key {key!r}") from exc
