"""A limit of the memory that the decoding of a file may take: a small file may claim to hold one value of gigabytes."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

MAX_BYTES = 896 * 1024 * 1024
"""Bytes that a decoder may take; readers of sound files take up to 400 MiB."""
STATM = Path("/proc/self/statm")
DATA_FIELD = 5
"""The field of `statm` that counts the pages of data: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html."""


@dataclass(slots=True)
class DecoderMemory:
    """Limits the data of this process while it decodes: beyond the limit, Python and Arrow raise `MemoryError`.

    The limit is one for all threads, and starts from what the process has when the first of them begins to decode.
    """

    max_bytes: int = MAX_BYTES
    lock: threading.Lock = field(default_factory=threading.Lock)
    active: int = 0
    before: tuple[int, int] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Limit the memory until the end of the block."""
        with self.lock:
            self.active += 1
            if self.active == 1:
                self.before = resource.getrlimit(resource.RLIMIT_DATA)
                self.set_limit(data_bytes() + self.max_bytes)
        try:
            yield
        finally:
            with self.lock:
                self.active -= 1
                if self.active == 0:
                    resource.setrlimit(resource.RLIMIT_DATA, self.before)

    def set_limit(self, size: int) -> None:
        """Set the limit, unless a lower one holds already."""
        soft, hard = self.before
        limits = [size, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


@cache
def decoder_memory() -> DecoderMemory:
    """Return the limit of this process."""
    return DecoderMemory()


def data_bytes() -> int:
    """Return the bytes of data that this process has; the kernel counts them for the limit."""
    return int(STATM.read_text().split()[DATA_FIELD]) * resource.getpagesize()


def step_by_step(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items whose making is limited; what is done with them is not."""
    while True:
        with decoder_memory().limited():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
