"""The HTTP API on a Ray cluster, deployed by Serve's REST API, as KubeRay does it.

https://docs.ray.io/en/latest/serve/api/index.html#serve-rest-api
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from dataproc.domain.errors import SetupError

DEPLOY_SECONDS = 300.0
REMOVE_SECONDS = 60.0
REQUEST_SECONDS = 90
"""How long a request may take; who waits for a job is answered after 60 seconds at the latest."""
PATH = "/api/serve/applications/"
NAME = "dataproc"


@dataclass(frozen=True, slots=True)
class ServeApi:
    """The API as an application of the Ray cluster whose dashboard is at `dashboard_url`."""

    dashboard_url: str
    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"  # noqa: S104 - compared

    def deploy(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Deploy the application and wait until it answers, or nobody wants it any more."""
        application = {"name": NAME, "route_prefix": "/", "import_path": "serve_app.deployment:app"}
        config = {
            "proxy_location": "EveryNode",
            "http_options": {"host": self.host, "port": self.port, "request_timeout_s": REQUEST_SECONDS},
            "logging_config": {"enable_access_log": False},
            "applications": [application],
        }
        self.call("PUT", json=config)
        self.wait(is_over)

    def refuse_others(self) -> None:
        """Refuse a cluster that serves other applications: a deployment by this API would remove them."""
        others = sorted(set(self.call("GET").get("applications", {})) - {NAME})
        if others:
            raise SetupError(f"the Ray cluster serves {', '.join(others)} already; give dataproc a cluster of its own")

    def remove(self) -> None:
        """Take the application away, and wait until it is gone: Serve deletes in its own time."""
        self.call("DELETE")
        deadline = time.monotonic() + REMOVE_SECONDS
        while NAME in self.call("GET").get("applications", {}):
            if time.monotonic() > deadline:
                raise SetupError(f"Serve did not remove the API within {REMOVE_SECONDS:.0f} s; see the Ray dashboard")
            time.sleep(0.2)

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait until the application runs and is ready; say why when it cannot."""
        deadline = time.monotonic() + DEPLOY_SECONDS
        while time.monotonic() < deadline and not is_over():
            state = self.call("GET").get("applications", {}).get(NAME, {})
            if state.get("status") == "DEPLOY_FAILED":
                raise SetupError(f"the API could not be deployed: {state.get('message')}")
            if state.get("status") == "RUNNING" and self.is_ready():
                return
            time.sleep(0.2)
        raise SetupError(f"the API did not become ready within {DEPLOY_SECONDS:.0f} s; see the Ray dashboard")

    def is_ready(self) -> bool:
        """Whether the API answers that it can accept jobs."""
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5, trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def call(self, method: str, **options: Any) -> dict[str, Any]:
        """Return what Serve's REST API answers."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.dashboard_url}{PATH}"
        try:
            response = httpx2.request(method, url, headers=headers, timeout=DEPLOY_SECONDS, trust_env=False, **options)
        except httpx2.HTTPError as exc:
            raise SetupError(f"Serve's REST API at {self.dashboard_url} does not answer: {exc}") from exc
        if response.is_error:
            raise SetupError(f"Serve's REST API at {self.dashboard_url} says: {response.text[-500:]}")
        return dict(response.json()) if response.content else {}
