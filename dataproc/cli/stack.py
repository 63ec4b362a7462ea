"""Everything that runs on one machine: what the settings leave open is embedded, and ended again."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx2
from pydantic import SecretStr

from dataproc.bootstrap import migrate_all
from dataproc.cli.foreign_ray import borrowed
from dataproc.cli.keeper import IsOver, Part, Tell, answers, kept
from dataproc.domain.errors import SetupError
from dataproc.embedded.ports import ATTEMPTS, free_port, is_free
from dataproc.embedded.postgres import EmbeddedPostgres, default_data_dir
from dataproc.embedded.ray_head import RayHead, end_with_parent
from dataproc.embedded.serve_api import ServeApi
from dataproc.settings import Settings

PROBE_SECONDS = 5.0
"""Seconds for an answer to whether a part is well."""
DASHBOARD_PATIENCE, API_PATIENCE = 120.0, 10.0
"""Seconds for the dashboard and for the API to answer again by themselves: Serve brings back most of what dies."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running installation: its settings, complete, and where things are."""

    settings: Settings
    api_url: str
    logs: Path


@contextmanager
def running(settings: Settings, tell: Tell, *, any_port: bool = False) -> Iterator[Stack]:
    """Give a running installation; at the end of the block exactly what was started here is ended.

    With `any_port` the API is on another port where its own is taken.
    """
    folder = settings.data_dir or default_data_dir()
    logs = folder / "logs"
    with ExitStack() as stack:
        settings = with_postgres(settings, folder, stack, tell)
        logs.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone(folder))
        tell("bringing the databases up to date")
        migrate_all(settings)
        settings, api, head = with_ray(settings, logs, stack, tell)
        stack.enter_context(dispatching(settings, logs / "dispatcher.log", tell))
        tell("deploying the API on Ray Serve")
        api = deployed(api, any_port=any_port)
        settings = settings.model_copy(update={"http_port": api.port})
        probe = stack.enter_context(httpx2.Client(timeout=PROBE_SECONDS, trust_env=False))
        stack.enter_context(kept([*parts_of_head(head, api, probe), part_of_api(api, probe)], tell))
        yield Stack(settings, api.url, logs)


def deployed(api: ServeApi, *, any_port: bool) -> ServeApi:
    """Deploy the API and return it, where it is; its port is chosen last, as Ray takes a while to start."""
    if not any_port:
        api.deploy()
        return api
    chosen = replace(api, port=free_port(api.port))
    for _ in range(ATTEMPTS - 1):
        try:
            chosen.deploy()
        except SetupError:
            if is_free(chosen.port):
                raise
            chosen.remove()
            chosen = replace(api, port=free_port())
        else:
            return chosen
    chosen.deploy()
    return chosen


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice in the same folder; the kernel lets go of the lock however we end."""
    with (folder / "up.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise SetupError(f"another dataproc runs in {folder}; end it, or set DATAPROC_DATA_DIR") from exc
        yield


def with_postgres(settings: Settings, folder: Path, stack: ExitStack, tell: Tell) -> Settings:
    """Start the embedded PostgreSQL if one of the databases is not given, and keep it running."""
    if settings.metadata_url is not None and settings.warehouse_url is not None:
        return settings
    tell("starting PostgreSQL")
    server = stack.enter_context(EmbeddedPostgres(folder))
    stack.enter_context(kept([Part("PostgreSQL", server.is_alive, server.revive)], tell))
    return settings.model_copy(
        update={
            "metadata_url": settings.metadata_url or SecretStr(server.metadata_url),
            "warehouse_url": settings.warehouse_url or SecretStr(server.warehouse_url),
        }
    )


def with_ray(settings: Settings, logs: Path, stack: ExitStack, tell: Tell) -> tuple[Settings, ServeApi, RayHead | None]:
    """Start a local Ray if no cluster is given; return the settings with it, the API to deploy there, and that Ray."""
    if settings.ray_address is not None:
        api = serve_api(settings)
        stack.enter_context(borrowed(settings, api))
        return settings, api, None
    tell("starting Ray")
    head = RayHead(logs, environment_of(settings))
    head.start()
    stack.callback(head.stop)
    settings = settings.model_copy(update={"ray_address": head.address, "ray_dashboard_url": head.dashboard_url})
    return settings, serve_api(settings), head


def parts_of_head(head: RayHead | None, api: ServeApi, probe: httpx2.Client) -> list[Part]:
    """Return how a Ray of ours is kept: when one of its vital processes dies, all of it starts anew, with the API."""
    if head is None:
        return []

    def restart(is_over: IsOver) -> None:
        head.restart(is_over)
        api.deploy(is_over)

    version = f"{head.dashboard_url}/api/version"
    return [
        Part("Ray", head.is_alive, restart),
        Part("the Ray dashboard", lambda: answers(probe, version), restart, DASHBOARD_PATIENCE),
    ]


def part_of_api(api: ServeApi, probe: httpx2.Client) -> Part:
    """Return how the API is kept: it is deployed again when it does not answer, which changes nothing if it is slow."""

    def deploy(is_over: IsOver) -> None:
        api.refuse_others()
        api.deploy(is_over)

    return Part("the API", lambda: answers(probe, f"{api.url}/livez"), deploy, API_PATIENCE)


def serve_api(settings: Settings) -> ServeApi:
    """Return the API to be deployed."""
    return ServeApi(settings.ray_dashboard_url, settings.http_host, settings.http_port, settings.ray_token)


@contextmanager
def dispatching(settings: Settings, log: Path, tell: Tell) -> Iterator[None]:
    """Run the dispatcher beside us, and another one when it dies, as Kubernetes does on a cluster."""
    dispatcher = DispatcherProcess(settings, log)
    dispatcher.start()
    try:
        with kept([Part("the dispatcher", dispatcher.is_alive, lambda _: dispatcher.start())], tell):
            yield
    finally:
        dispatcher.stop()


@dataclass(slots=True)
class DispatcherProcess:
    """The dispatcher as a child of this process."""

    settings: Settings
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; the thread that does so has to live as long as it."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.dispatcher"],
                env={**os.environ, **environment_of(self.settings)},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it only tells the kernel to end the child with us
            )

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, for processes of ours: how secrets travel without arguments."""
    environment = {"RAY_AUTH_MODE": settings.ray_auth_mode, "PATH": path_with_us()}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None:
            variable = str(field.validation_alias or f"DATAPROC_{name.upper()}")
            environment[variable] = value.get_secret_value() if isinstance(value, SecretStr) else as_text(value)
    return environment


def as_text(value: object) -> str:
    """Return a setting as its variable holds it."""
    match value:
        case timedelta():
            return f"{value.total_seconds()}s"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def path_with_us() -> str:
    """Return a PATH on which `python` is this one, for the entrypoints of Ray Jobs."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def url_of(secret: SecretStr | None) -> str:
    """Return a URL that is set by now."""
    return secret.get_secret_value() if secret else ""
