"""Encrypted connections to PostgreSQL: whose certificate is taken, and whose is not."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from dataproc.domain.errors import SourceRefusedError
from dataproc.domain.sources.database import DatabaseSource
from dataproc.embedded.account import Account
from dataproc.ports.connector import Connector
from dataproc.ports.store import Connection
from dataproc.sources.factory import connector_for, source_for
from tests.builders import surroundings
from tests.conftest import INSTALLED_15, open_folder
from tests.processes import reserved_port

CA = trustme.CA()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give the port of a server that takes nothing but encrypted connections; its certificate is for `localhost`."""
    if not INSTALLED_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    account = Account.current()
    with open_folder() as folder, reserved_port() as port:
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


def connection(port: int, host: str, **changes: object) -> Connection:
    """Return the server as a registered source."""
    config = {"host": host, "port": port, "database": "postgres", "user": "postgres", **changes}
    return Connection("legacy", "postgresql", config)


def connector(port: int, host: str, **changes: object) -> Connector:
    """Return what can be asked of the server."""
    return connector_for(surroundings(connection=connection(port, host, **changes)))


def read_as_is(planned: Connection, connection: Connection) -> bytes:
    """Return how a session is encrypted that reads rows as they are, of a plan that another connection made."""
    query = "SELECT coalesce(version, 'in the clear') AS told FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    spec = DatabaseSource(kind="database", connection="legacy", query=query)
    source, reader = (source_for(spec, surroundings(connection=each)) for each in (planned, connection))
    plan = source.plan()
    with plan.hold:
        [chunk] = reader.read(replace(plan.units[0], as_is=True))
    return bytes(chunk.wire or b"")


def pem(authority: trustme.CA) -> str:
    """Return the certificate of an authority."""
    return authority.cert_pem.bytes().decode()


TRUSTED = pytest.mark.parametrize(
    ("host", "changes"),
    [
        ("127.0.0.1", {"tls": "prefer"}),
        ("127.0.0.1", {"tls": "require"}),
        ("127.0.0.1", {"tls": "require", "ca": pem(CA)}),
        ("127.0.0.1", {"tls": "verify-ca", "ca": pem(CA)}),
        ("localhost", {"tls": "verify-full", "ca": pem(CA)}),
    ],
)
REFUSED = pytest.mark.parametrize(
    ("host", "changes", "told"),
    [
        ("127.0.0.1", {"tls": "verify-full", "ca": pem(CA)}, "check tls and ca"),
        ("localhost", {"tls": "verify-ca", "ca": pem(trustme.CA())}, "check tls and ca"),
        ("localhost", {"tls": "require", "ca": pem(trustme.CA())}, "check tls and ca"),
        ("localhost", {"tls": "verify-full"}, "check tls and ca"),
        ("127.0.0.1", {"tls": "verify-ca"}, "check tls and ca"),
        ("127.0.0.1", {"tls": "disable"}, "what the server lets in|it refused: no pg_hba.conf entry"),
    ],
)


@TRUSTED
def test_a_server_that_proves_who_it_is_is_read(port: int, host: str, changes: dict[str, object]) -> None:
    assert connector(port, host, **changes).test().startswith("PostgreSQL 15")


@TRUSTED
def test_rows_are_read_as_they_are_only_by_encrypted_sessions(port: int, host: str, changes: dict[str, object]) -> None:
    wanted = connection(port, host, **changes)

    assert b"TLSv1." in read_as_is(wanted, wanted)


@REFUSED
def test_a_server_that_does_not_or_that_asks_for_more_is_refused(
    port: int, host: str, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(SourceRefusedError, match=told):
        connector(port, host, **changes).test()


@REFUSED
def test_no_row_is_read_as_it_is_from_such_a_server(
    port: int, host: str, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(SourceRefusedError, match=told):
        read_as_is(connection(port, host, tls="require"), connection(port, host, **changes))
