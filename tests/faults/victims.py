"""What is killed in a running installation, and how; nobody but the installation itself brings anything back."""

import random
from collections.abc import Iterable
from contextlib import suppress

import psutil  # type: ignore[import-untyped] # it has no types

from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.embedded.ray_head import MARK, marked
from tests.acceptance.installation import Installation

PROCESSES = {
    "worker": "ray::ReadUnit",
    "slot": "ray::Slot",
    "runner": "jobs.runner",
    "dispatcher": "jobs.dispatcher",
    "api replica": "ray::ServeReplica",
    "ray head": "gcs_server",
}
"""Victims by words of their command lines."""
POSTMASTER, POSTGRES = "postmaster", "postgres (immediate)"
VICTIMS = (*PROCESSES, POSTMASTER, POSTGRES)


def kill_one(place: Installation, name: str, dice: random.Random) -> bool:
    """Kill a victim, one of several at random; return whether there was one."""
    if name == POSTGRES:
        EmbeddedPostgres(place.folder).pg_ctl("stop", "--mode=immediate")
        return True
    alive = [postmaster(place)] if name == POSTMASTER else place.processes(PROCESSES[name])
    if not alive:
        return False
    try:
        dice.choice(sorted(alive, key=lambda process: int(process.pid))).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def postmaster(place: Installation) -> psutil.Process:
    """Return the first process of the installation's PostgreSQL."""
    return psutil.Process(int(EmbeddedPostgres(place.folder).trace.read_text().partition("\n")[0]))


def everything(place: Installation) -> list[psutil.Process]:
    """Return all processes of the installation, but not the bucket's server and not its keeper, which is in us."""
    found = set(place.processes("")) - {psutil.Process(place.s3.process.pid)} if place.s3.process else set()
    [head] = place.processes("gcs_server")
    server = postmaster(place)
    return [*found.union(marked(head.environ()[MARK])), server, *server.children(recursive=True)]


def kill_all(processes: Iterable[psutil.Process]) -> int:
    """Kill them all; return how many there were."""
    killed = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed += 1
    return killed
