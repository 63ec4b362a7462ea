"""Lengths of time as people write them: `500ms`, `30s`, `5m`, `1h30m`, seconds as a number, or ISO 8601."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

SHORT = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Return the length of time that the short form `1h30m` means; anything else is left to pydantic."""
    if not isinstance(value, str) or SHORT.fullmatch(value) is None:
        return value
    try:
        return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in PIECE.findall(value)))
    except OverflowError as exc:
        msg = f"{value[:40]!r} is too long a time"
        raise ValueError(msg) from exc


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "description": "Seconds."},
                {"type": "string", "description": "Such as 500ms, 30s, 5m, 1h30m or PT5M."},
            ]
        },
        mode="validation",
    ),
]
"""A length of time, such as `30s` or `1h30m`."""
