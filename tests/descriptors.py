"""What this process has open."""

from pathlib import Path


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    return opened("socket:")


def opened(word: str) -> int:
    """Return how many files and sockets this process has open whose name holds a word."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(word in str(link.readlink()) for link in links)
