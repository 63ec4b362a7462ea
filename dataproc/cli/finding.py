"""What a check found: fine, worth a look, or wrong, and what to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from dataproc.settings import Settings

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do where something is wrong."""

    check: str
    status: Status
    detail: str
    advice: str = ""


Check = Callable[[Settings], Iterable[Finding]]


def ok(check: str, detail: str) -> Finding:
    """Return that a check found nothing wrong."""
    return Finding(check, "ok", detail)


def warn(check: str, detail: str, advice: str) -> Finding:
    """Return that something will hurt later, or sometimes."""
    return Finding(check, "warn", detail, advice)


def fail(check: str, detail: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding(check, "fail", detail, advice)
