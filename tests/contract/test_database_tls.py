"""Encrypted connections to PostgreSQL: whose certificate is taken, and whose is not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dataproc.domain.errors import SourceRefusedError
from dataproc.embedded.account import Account
from dataproc.embedded.ray_head import free_port
from dataproc.ports.connector import Connector
from dataproc.ports.store import Connection
from dataproc.sources.factory import connector_for
from tests.builders import surroundings
from tests.conftest import INSTALLED_15, open_folder

CA = trustme.CA()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give the port of a server that takes nothing but encrypted connections; its certificate is for `localhost`."""
    if not INSTALLED_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    account, port = Account.current(), free_port()
    with open_folder() as folder:
        data = folder / "data"
        account.make_folder(data)
        account.run(INSTALLED_15 / "initdb", "-A", "trust", "-U", "postgres", "-D", data).check_returncode()
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n", encoding="utf-8")
        certified(data)
        options = f"-c ssl=on -c fsync=off -c listen_addresses=127.0.0.1 -c port={port} -k {data}"
        pg_ctl = (INSTALLED_15 / "pg_ctl", "-w", "-D", data)
        account.run(*pg_ctl, "-l", data / "log", "-o", options, "start").check_returncode()
        try:
            yield port
        finally:
            account.run(*pg_ctl, "-m", "immediate", "stop").check_returncode()


def certified(data: Path) -> None:
    """Write the server's key and certificate, owned as its data are."""
    certificate, owner = CA.issue_cert("localhost"), data.stat()
    for name, blob in (("server.key", certificate.private_key_pem), ("server.crt", certificate.cert_chain_pems[0])):
        path = data / name
        blob.write_to_path(str(path))
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)


def connector(port: int, host: str, **changes: object) -> Connector:
    """Return what can be asked of the server."""
    config = {"host": host, "port": port, "database": "postgres", "user": "postgres", **changes}
    return connector_for(surroundings(connection=Connection("legacy", "postgresql", config)))


def pem(authority: trustme.CA) -> str:
    """Return the certificate of an authority."""
    return authority.cert_pem.bytes().decode()


@pytest.mark.parametrize(
    ("host", "changes"),
    [
        ("127.0.0.1", {"tls": "require"}),
        ("127.0.0.1", {"tls": "verify-ca", "ca": pem(CA)}),
        ("localhost", {"tls": "verify-full", "ca": pem(CA)}),
    ],
)
def test_a_server_that_proves_who_it_is_is_read(port: int, host: str, changes: dict[str, object]) -> None:
    assert connector(port, host, **changes).test().startswith("PostgreSQL 15")


@pytest.mark.parametrize(
    ("host", "changes", "told"),
    [
        ("127.0.0.1", {"tls": "verify-full", "ca": pem(CA)}, "check tls and ca"),
        ("localhost", {"tls": "verify-ca", "ca": pem(trustme.CA())}, "check tls and ca"),
        ("localhost", {"tls": "verify-full"}, "check tls and ca"),
        ("127.0.0.1", {"tls": "disable"}, "what the server lets in"),
    ],
)
def test_a_server_that_does_not_or_that_asks_for_more_is_refused(
    port: int, host: str, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(SourceRefusedError, match=told):
        connector(port, host, **changes).test()
