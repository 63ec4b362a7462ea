"""Places between two steps where anything may happen: a process dies, hangs, or loses its connection.

The code says where it is by `reached`; that costs nothing. The fault tests install a hook which then does harm, at
every point in turn. The method is that of PostgreSQL's injection points and of etcd's gofail.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class FaultPoint(StrEnum):
    """Every boundary between two steps of the life of a job, in the order in which a load comes by."""

    ACCEPTING = "accept: recorded, not committed"
    ACCEPTED = "accept: committed, not answered"
    CLAIMED = "claim: committed, work not begun"
    FENCED = "fence: raised"
    PLANNED = "plan: made"
    OPENED = "load: opened, nothing loaded"
    CHUNK_RECORDED = "chunk: recorded, not copied"
    CHUNK_COPIED = "chunk: copied, not committed"
    CHUNK_STAGED = "chunk: committed, not told"
    STAGED = "stage: all chunks are in"
    LOCKED = "publish: target locked"
    COPIED = "publish: rows in the target, fence not taken"
    PUBLISH_FENCED = "publish: fence taken"
    RECORDED = "publish: ledger written"
    COMMITTING = "publish: about to commit"
    COMMITTED = "publish: committed, not told"
    FINISHING = "finish: published, status not recorded"
    FINISHED = "finish: status recorded"
    REQUEUED = "retry: recorded"
    FORBIDDEN = "cancel: forbidden in the warehouse, status not recorded"
    REAPED = "reap: lease taken over, not settled"
    DELIVERED = "outbox: delivered, not noted"


Hook = Callable[[FaultPoint], None]
_hooks: list[Hook] = []


def reached(point: FaultPoint) -> None:
    """Say that `point` is reached."""
    for hook in _hooks:
        hook(point)


@contextmanager
def hooked(hook: Hook) -> Iterator[None]:
    """Call `hook` at every point that this process reaches, for the length of the block."""
    _hooks.append(hook)
    try:
        yield
    finally:
        _hooks.remove(hook)
