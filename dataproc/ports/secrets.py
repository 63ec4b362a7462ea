"""Secrets, named by references and read where they are used."""

from typing import Protocol


class Secrets(Protocol):
    """A place that keeps secrets. It travels to Ray workers, so it pickles, and holds no secret itself."""

    def get(self, reference: str) -> str:
        """Return the secret at `secret://name` or `secret://name#key`.

        Raises `SecretNotFoundError`, or `SecretsUnavailableError` when another try may succeed.
        """
