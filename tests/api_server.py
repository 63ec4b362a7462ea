"""The real API over HTTP for tests: served by uvicorn in a thread, without Ray."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from dataproc.bootstrap import Services, services_of
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from serve_app.app import create_app
from tests.waiting import PATIENCE, wait_until


@contextmanager
def api_server(database_url: str, port: int = 0, *, settings: Settings | None = None) -> Iterator[str]:
    """Serve the API on this metadata database until the end of the block; give its URL."""

    def open_services() -> Services:
        known = settings or Settings()
        return services_of(PostgresStore.open(database_url, known), known)

    app = create_app(open_services)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port_of(server)}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def port_of(server: uvicorn.Server) -> int:
    """Return the port of a server once it listens."""
    wait_until(lambda: server.started)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
