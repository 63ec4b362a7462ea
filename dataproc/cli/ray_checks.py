"""Checks of the Ray cluster, through its dashboard."""

import importlib.metadata
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx2

from dataproc.cli.finding import Finding, fail, ok
from dataproc.settings import Settings

NAME = "Ray dashboard"
REFUSALS = (401, 403)


def ray(settings: Settings) -> Iterator[Finding]:
    """Find whether the cluster answers, is of our version, and asks for the token that we have."""
    for finding in (*dashboard(settings), *ray_address(settings)):
        # A Ray that nobody named may be a stranger's: `dataproc up` then starts its own beside it.
        yield finding if is_named(settings) or finding.status == "ok" else replace(finding, status="warn")


def is_named(settings: Settings) -> bool:
    """Whether the settings name a cluster."""
    return settings.ray_address is not None or "ray_dashboard_url" in settings.model_fields_set


def dashboard(settings: Settings) -> Iterator[Finding]:
    """Find what is to be found through the dashboard."""
    url = settings.ray_dashboard_url
    try:
        with httpx2.Client(base_url=url, timeout=5, trust_env=False) as client:
            client.get("/")
            yield ok(NAME, f"{url} answers")
            yield from cluster(client, settings)
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        yield no_dashboard(settings, exc)


def no_dashboard(settings: Settings, exc: Exception) -> Finding:
    """Return what it means that no dashboard answers: where no cluster is named, none is needed yet."""
    url = settings.ray_dashboard_url
    if not is_named(settings):
        return ok(NAME, "no cluster is named; `dataproc up` starts a local one")
    return fail(NAME, f"{url} does not answer: {exc}", "start the cluster, or correct DATAPROC_RAY_DASHBOARD_URL")


def cluster(client: httpx2.Client, settings: Settings) -> Iterator[Finding]:
    """Find what the dashboard tells of the cluster."""
    token = settings.ray_token
    without = client.get("/api/jobs/")
    mode = token_mode(client, without, settings, token)
    yield mode
    if mode.status != "ok":
        return
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    yield jobs_api(client.get("/api/jobs/", headers=headers))
    yield ray_version(client.get("/api/version", headers=headers))


def token_mode(client: httpx2.Client, without: httpx2.Response, settings: Settings, token: str | None) -> Finding:
    """Find whether we and the cluster agree on tokens; where we do not, drivers hang without a word."""
    name, asks = "Ray token", without.status_code in REFUSALS
    if asks and settings.ray_auth_mode == "disabled":
        advice = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's token, for every process"
        return fail(name, "the cluster asks for a token, and RAY_AUTH_MODE is disabled", advice)
    if not asks and settings.ray_auth_mode == "token":
        advice = "set RAY_AUTH_MODE=disabled, or start the cluster with RAY_AUTH_MODE=token"
        return fail(name, "RAY_AUTH_MODE is token, and the cluster asks for none", advice)
    if asks and token is None:
        return fail(name, "RAY_AUTH_MODE is token, and RAY_AUTH_TOKEN is not set", "set it to the cluster's token")
    if asks and client.get("/api/jobs/", headers={"Authorization": f"Bearer {token}"}).status_code in REFUSALS:
        return fail(name, "the cluster refused our token", "set RAY_AUTH_TOKEN to the cluster's token")
    return ok(name, "asked for, and ours is right" if asks else "none is asked for")


def jobs_api(answer: httpx2.Response) -> Finding:
    """Find whether Ray Jobs can be listed."""
    if answer.is_success and isinstance(json_of(answer), list):
        return ok("Ray Jobs API", "answers")
    advice = "is DATAPROC_RAY_DASHBOARD_URL that of a Ray dashboard, and was it installed with ray[default]?"
    return fail("Ray Jobs API", f"answered {answer.status_code} to a list of jobs", advice)


def ray_version(answer: httpx2.Response) -> Finding:
    """Find whether the cluster runs our version of Ray."""
    ours, told = importlib.metadata.version("ray"), json_of(answer)
    theirs = told.get("ray_version") if isinstance(told, dict) else None
    if theirs == ours:
        return ok("Ray version", ours)
    detail = f"the cluster runs {theirs or 'an unknown version'}, and we have {ours}"
    return fail("Ray version", detail, "use one image for all, or install the cluster's version here")


def json_of(answer: httpx2.Response) -> object:
    """Return what an answer holds as JSON; `None`: nothing."""
    try:
        return answer.json()
    except ValueError:
        return None


def ray_address(settings: Settings) -> Iterator[Finding]:
    """Find whether drivers reach the cluster."""
    address = settings.ray_address
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            yield ok("Ray address", f"{address} answers")
    except ValueError:
        yield fail("Ray address", f"{address} is no address", "write DATAPROC_RAY_ADDRESS as host:port, or auto")
    except OSError as exc:
        advice = "start the cluster, or correct DATAPROC_RAY_ADDRESS"
        yield fail("Ray address", f"{address} does not answer: {exc.strerror or exc}", advice)
