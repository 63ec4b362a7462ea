"""OAuth 2 client credentials: one token a process, taken anew before it ends."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, urlencode

from dataproc.domain.errors import BadDataError
from dataproc.ports.clock import Clock
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.asks import Ask, Proof, basic, bearer
from dataproc.sources.rest.connection import OAuth2Auth

EARLY = 0.1
"""Share of a token's life that is left when the next one is taken."""
USUAL = 300.0
"""Seconds that a token is used whose answer does not say how long it lives."""
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(slots=True)
class TokenBox:
    """The token of a client in this process, and until when it is used."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = field(default=None, repr=False)
    until: float = 0.0


@lru_cache(maxsize=256)
def box_of(auth: OAuth2Auth, secret_digest: bytes) -> TokenBox:
    """Return the process's box for a client; a secret that was changed has another one."""
    del auth, secret_digest
    return TokenBox()


@dataclass(slots=True)
class OAuth2Signer:
    """A token that `exchange` got from the token URL."""

    auth: OAuth2Auth
    secret: str = field(repr=False)
    exchange: Callable[[Ask], Answer] = field(repr=False)
    clock: Clock = time.monotonic
    used: str | None = field(default=None, init=False, repr=False)

    def prove(self, ask: Ask) -> Proof:
        """Return the token; the first of several threads takes it, the others wait for that."""
        del ask
        box = self.box()
        with box.lock:
            if box.token is None or self.clock() >= box.until:
                box.token, lives = self.taken()
                box.until = self.clock() + lives * (1 - EARLY)
            self.used = box.token
            return bearer(box.token)

    def renew(self) -> bool:
        """Forget the token that was refused, if no other thread has taken another one since."""
        box = self.box()
        with box.lock:
            if box.token == self.used:
                box.token = None
        return True

    def box(self) -> TokenBox:
        """Return where the token is kept."""
        return box_of(self.auth, hashlib.sha256(self.secret.encode()).digest())

    def taken(self) -> tuple[str, float]:
        """Return a new token and the seconds that it lives."""
        answer = self.exchange(self.request()).json_text()
        try:
            told = json.loads(answer)
            token, lives = str(told["access_token"]), float(told.get("expires_in") or USUAL)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise BadDataError("auth/token_url: the answer holds no access_token that can be read") from exc
        return token, lives

    def request(self) -> Ask:
        """Return the request for a token."""
        fields = {"grant_type": "client_credentials", "scope": self.auth.scope, "audience": self.auth.audience}
        headers = [FORM, ("Accept", "application/json")]
        if self.auth.style == "basic":
            # RFC 6749 wants both written as in forms before they are joined.
            headers += basic(quote(self.auth.client_id, safe=""), quote(self.secret, safe="")).headers
        else:
            fields |= {"client_id": self.auth.client_id, "client_secret": self.secret}
        body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
        return Ask("POST", self.auth.token_url, tuple(headers), body)
