"""Requests, and what proves that they are ours."""

import base64
from dataclasses import dataclass, field
from typing import Protocol

from dataproc.domain.errors import SourceRefusedError
from dataproc.sources.rest.urls import Pairs


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; `repeatable` when sending it twice does no harm."""

    method: str
    url: str = field(repr=False)
    headers: Pairs = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Proof:
    """What makes a request ours: headers, and parameters of the query."""

    headers: Pairs = field(default=(), repr=False)
    query: Pairs = field(default=(), repr=False)


class Signer(Protocol):
    """Proves requests."""

    def prove(self, ask: Ask) -> Proof:
        """Return the proof of a request."""

    def renew(self) -> bool:
        """Forget a proof that was refused; return whether another one may be taken."""


def bearer(token: str) -> Proof:
    """Return the proof of a token."""
    return Proof((clean_header("Authorization", f"Bearer {token.strip()}"),))


def basic(user: str, password: str) -> Proof:
    """Return the proof of a user and a password."""
    told = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proof((("Authorization", f"Basic {told}"),))


def clean_header(name: str, value: str) -> tuple[str, str]:
    """Return a header; refuse a value that would be more than one."""
    if not value.isascii() or not value.isprintable():
        raise SourceRefusedError(f"the secret for header {name} holds what no header can; is it the right one?")
    return name, value
