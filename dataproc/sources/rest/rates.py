"""Rates of requests in answers: whether another try may succeed, and how long to wait before it."""

import re
from datetime import UTC, datetime, timedelta

from dataproc.sources.rest.answer import Answer, moment

EPOCH = 1_000_000_000
"""Resets above this are seconds since 1970, not from now."""
PARAMETER = re.compile(r";\s*([rt])\s*=\s*(\d+)")
NAMES = ("ratelimit", "x-ratelimit", "x-rate-limit")
PERMANENT = frozenset({501, 505})
"""Statuses of servers that do not support the request: another try has the same answer."""


def is_limited(answer: Answer) -> bool:
    """Return whether an answer refuses a request because there were too many.

    Some APIs (GitHub, for one) answer 403 in place of 429; it then names a wait, or has no request left.
    """
    if answer.status == 403:
        return retry_after(answer.header("retry-after"), datetime.now(UTC)) is not None or has_none_left(answer)
    return answer.status == 429


def is_temporary(answer: Answer) -> bool:
    """Return whether another try may succeed."""
    is_fault = answer.status >= 500 and answer.status not in PERMANENT
    return is_fault or answer.status in (408, 425) or is_limited(answer)


def pause_of(answer: Answer, now: datetime | None = None) -> timedelta | None:
    """Return how long an answer asks everybody to wait; `None`: it does not."""
    here = answer.sent_at or now or datetime.now(UTC)
    if is_temporary(answer) and (wait := retry_after(answer.header("retry-after"), here)) is not None:
        return wait
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
    found += [reset(answer.header(f"{name}-reset"), here) for name in spent_limits(answer)]
    return max((wait for wait in found if wait is not None), default=None)


def has_none_left(answer: Answer) -> bool:
    """Return whether an answer reports that no request is left."""
    return bool(spent_limits(answer)) or any(spent_policies(value) for value in answer.headers.get("ratelimit", ()))


def spent_limits(answer: Answer) -> list[str]:
    """Return the spent limits, each by the prefix of its headers."""
    return [name for name in NAMES if (answer.header(f"{name}-remaining") or "").strip() == "0"]


def structured(value: str) -> timedelta | None:
    """Return the wait of a header such as `RateLimit: "default";r=0;t=30`."""
    return max((seconds(float(each["t"][:12])) for each in spent_policies(value) if "t" in each), default=None)


def spent_policies(value: str) -> list[dict[str, str]]:
    """Return the parameters of the spent policies in a `RateLimit` header."""
    policies = [dict(PARAMETER.findall(item)) for item in value.split(",")]
    return [each for each in policies if each.get("r") == "0"]


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
