"""Secrets in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataproc.domain.errors import SecretNotFoundError


@dataclass(frozen=True, slots=True)
class FakeSecrets:
    """Secrets by their references."""

    known: Mapping[str, str] = field(default_factory=dict)

    def get(self, reference: str) -> str:
        if reference not in self.known:
            raise SecretNotFoundError(reference)
        return self.known[reference]
