"""Checks of this machine: Python, disks, shared memory, the API's port."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import psutil  # type: ignore[import-untyped]  # it has no types

from dataproc.cli.finding import Finding, fail, ok, warn
from dataproc.embedded.postgres import default_data_dir
from dataproc.settings import Settings

PYTHONS = ((3, 11), (3, 12))
GIB = 1024**3
LITTLE = 2 * GIB
"""Free bytes below which a load may fill the disk."""
NOTHING = GIB // 4
FULLEST = 0.95
"""Ray starts no tasks that spill on a disk that is fuller."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the mount point itself, no file in it
RAYS_SHARE = 0.3
"""The part of the memory that Ray takes for its object store."""
API_SECONDS = 30.0
"""Seconds for the API to describe itself, which takes a few where it does so first and the machine is busy."""

Usage = Callable[[Path], tuple[int, int, int]]


def python_version(_: Settings, found: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Find whether this Python is one that dataproc and Ray run on."""
    told = ".".join(map(str, found))
    if found in PYTHONS:
        yield ok("Python", told)
    else:
        known = " or ".join(".".join(map(str, version)) for version in PYTHONS)
        yield fail("Python", f"this is Python {told}", f"make the virtual environment with Python {known}")


def disks(settings: Settings, usage: Usage = shutil.disk_usage) -> Iterator[Finding]:
    """Find whether the disks of the data folder and of temporary files have room."""
    for name, folder in (
        ("disk of the data folder", settings.data_dir or default_data_dir()),
        ("disk of temporary files", Path(tempfile.gettempdir())),
    ):
        yield disk(name, existing(folder), usage)


def disk(name: str, folder: Path, usage: Usage) -> Finding:
    """Find whether one disk has room."""
    total, _used, free = usage(folder)
    detail = f"{folder}: {in_gib(free)} of {in_gib(total)} free"
    advice = f"make room below {folder}, or name another folder (DATAPROC_DATA_DIR, TMPDIR)"
    if free < NOTHING:
        return fail(name, detail, advice)
    if free < LITTLE or free < total * (1 - FULLEST):
        return warn(name, detail, f"{advice}; Ray stops spilling to a disk that is 95 % full")
    return ok(name, detail)


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))  # noqa: PTH110 - False, not an error, in closed folders


def shared_memory(_: Settings, usage: Usage = shutil.disk_usage) -> Iterator[Finding]:
    """Find whether Ray's object store fits into shared memory."""
    if not SHARED_MEMORY.is_dir():
        return
    total, _used, free = usage(SHARED_MEMORY)
    wanted = int(psutil.virtual_memory().total * RAYS_SHARE)
    detail = f"{SHARED_MEMORY}: {in_gib(free)} of {in_gib(total)} free"
    if free < wanted:
        advice = f"give it {in_gib(wanted)} (containers: --shm-size); else Ray keeps its objects on disk, and is slow"
        yield warn("shared memory", detail, advice)
    else:
        yield ok("shared memory", detail)


def api_port(settings: Settings) -> Iterator[Finding]:
    """Find whether the API's port is free, or used by an API of ours."""
    name, host, port = "API port", settings.http_host, settings.http_port
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            yield ok(name, f"{host}:{port} is free")
    except PermissionError:
        yield fail(name, f"port {port} is only for root", "set DATAPROC_HTTP_PORT to one above 1023")
    except OSError as exc:
        if is_our_api(host, port):
            yield ok(name, f"{host}:{port} is where the API of dataproc answers")
        else:
            detail = f"{host}:{port} cannot be used: {exc.strerror}{listener_on(port)}"
            yield fail(name, detail, "end what uses it, or set DATAPROC_HTTP_PORT (and DATAPROC_API_URL) to another")


def is_our_api(host: str, port: int) -> bool:
    """Whether an API of dataproc answers there."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared
    try:
        answer = httpx2.get(f"http://{host}:{port}/openapi.json", timeout=API_SECONDS, trust_env=False)
        return bool(answer.json()["info"]["title"] == "dataproc")
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return False


def listener_on(port: int) -> str:
    """Return which process listens on a port, as far as we may know."""
    try:
        found = psutil.net_connections(kind="tcp")
        pid = next(c.pid for c in found if c.status == psutil.CONN_LISTEN and c.laddr.port == port and c.pid)
        return f" (used by {psutil.Process(pid).name()}, process {pid})"
    except (StopIteration, psutil.Error):
        return ""


def in_gib(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / GIB:,.1f} GiB"
