"""Who asks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The person or program on whose behalf something is done."""

    name: str


LOCAL = Caller("local")
"""Whoever can reach the loopback address, until roles exist."""
