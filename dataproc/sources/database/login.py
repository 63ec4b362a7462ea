"""Who logs in to a database server, and how errors call that."""

from dataclasses import dataclass, field

from dataproc.ports.secrets import Secrets
from dataproc.sources.database.connection import ServerConnection


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """How to log in to a registered server; the password is looked up each time, and never kept."""

    name: str
    server: ServerConnection
    secrets: Secrets = field(repr=False)

    @property
    def told(self) -> str:
        """What errors call this."""
        return f"connection {self.name!r}"

    def password(self) -> str | None:
        """Return the password, if the server asks for one."""
        return None if self.server.password is None else self.secrets.get(self.server.password)
