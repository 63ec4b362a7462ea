"""Time, as something that is passed in."""

from typing import Protocol


class Clock(Protocol):
    """Monotonic time, in seconds."""

    def __call__(self) -> float: ...
