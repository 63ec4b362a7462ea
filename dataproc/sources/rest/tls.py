"""Contexts of TLS, with the client's certificate where there is one."""

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from dataproc.domain.errors import SourceRefusedError
from dataproc.ports.secrets import Secrets
from dataproc.sources.rest.connection import Tls


@lru_cache(maxsize=1)
def public_context() -> ssl.SSLContext:
    """Return the process's context that trusts the system's authorities and shows no certificate."""
    return ssl.create_default_context()


def context_of(tls: Tls, secrets: Secrets) -> ssl.SSLContext:
    """Return the context of a connection."""
    if tls == Tls():
        return public_context()
    try:
        authorities = secrets.get(tls.authorities) if tls.authorities else None
        context = ssl.create_default_context(cadata=authorities)
        if tls.certificate:
            show_certificate(context, secrets.get(tls.certificate), secrets.get(tls.key) if tls.key else "")
    except (ssl.SSLError, ValueError) as exc:
        raise SourceRefusedError("tls: the secret is no PEM that can be read, or key and certificate differ") from exc
    return context


def show_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let a context show a certificate; Python reads it from a file only, which is gone right after."""
    with tempfile.TemporaryDirectory(prefix="dataproc-tls-") as folder:
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(f"{certificate}\n{key}\n", encoding="ascii")
        context.load_cert_chain(path, password=refuse_password)


def refuse_password() -> str:
    """Refuse a key with a password: without this, Python would ask for it on the terminal."""
    msg = "the key has a password"
    raise ValueError(msg)
