"""Batches of rows, put together to the size of a chunk."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

CHUNK_ROWS = 128 * 1024
CHUNK_BYTES = 64 * 1024 * 1024


class Sized(Protocol):
    """Some rows."""

    @property
    def num_rows(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


Batch = TypeVar("Batch", bound=Sized)


def gathered(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Yield neighbouring batches together, up to the size of a chunk; those before an error come before it."""
    held: list[Batch] = []
    rows = size = 0
    try:
        for batch in batches:
            if held and (rows + batch.num_rows > CHUNK_ROWS or size + batch.nbytes > CHUNK_BYTES):
                yield held
                held, rows, size = [], 0, 0
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
    except Exception:
        if held:
            yield held
        raise
    if held:
        yield held
