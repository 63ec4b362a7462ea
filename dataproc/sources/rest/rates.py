"""What answers say of rates: how long to stay away."""

import re
from datetime import UTC, datetime, timedelta

from dataproc.sources.rest.answer import Answer, moment

EPOCH = 1_000_000_000
"""Resets above this are seconds since 1970, not from now."""
PARAMETER = re.compile(r";\s*([rt])\s*=\s*(\d+)")
NAMES = ("ratelimit", "x-ratelimit", "x-rate-limit")


def pause_of(answer: Answer, now: datetime | None = None) -> timedelta | None:
    """Return how long an answer asks everybody to wait; `None`: it does not."""
    here = answer.sent_at or now or datetime.now(UTC)
    if answer.status in (429, 503) and (told := retry_after(answer.header("retry-after"), here)) is not None:
        return told
    return until_reset(answer, here)


def retry_after(value: str | None, here: datetime) -> timedelta | None:
    """Return the length of a `Retry-After`: seconds or a date, which may be past."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return seconds(float(text[:12]))
    date = moment(text)
    return None if date is None else max(date - here, timedelta(0))


def until_reset(answer: Answer, here: datetime) -> timedelta | None:
    """Return the time until more requests are allowed, where none is left; the longest of what headers say."""
    found = [structured(value) for value in answer.headers.get("ratelimit", ())]
    spent = (name for name in NAMES if (answer.header(f"{name}-remaining") or "").strip() == "0")
    found += [reset(answer.header(f"{name}-reset"), here) for name in spent]
    return max((wait for wait in found if wait is not None), default=None)


def structured(value: str) -> timedelta | None:
    """Return the wait of a header such as `RateLimit: "default";r=0;t=30`."""
    waits = [dict(PARAMETER.findall(item)) for item in value.split(",")]
    return max((seconds(float(w["t"][:12])) for w in waits if w.get("r") == "0" and "t" in w), default=None)


def reset(value: str | None, here: datetime) -> timedelta | None:
    """Return the time until a reset: given in seconds from now, or since 1970."""
    try:
        number = float((value or "").strip()[:20])
    except ValueError:
        return None
    return seconds(number - here.timestamp() if number > EPOCH else number)


def seconds(number: float) -> timedelta:
    """Return a wait; never less than none, nor more than a year."""
    return timedelta(seconds=min(max(number, 0.0), 31_536_000.0)) if number == number else timedelta(0)  # noqa: PLR0124 - NaN alone differs from itself
