"""Errors that tell which part of a specification they are about."""

from collections.abc import Iterator
from contextlib import contextmanager

from dataproc.domain.errors import DataprocError


@contextmanager
def blamed(pointer: str) -> Iterator[None]:
    """Note in errors which part of the specification they are about."""
    try:
        yield
    except DataprocError as exc:
        exc.context.setdefault("pointer", pointer)
        raise
