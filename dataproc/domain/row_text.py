r"""Rows as JSON text from which they can be read again: numbers keep their digits, all else is what PostgreSQL reads.

Bytes are written as `\x…`, lengths of time as ISO 8601, dates and times as PostgreSQL shows them.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""PostgreSQL's texts of floating-point values that are not numbers or not finite, by Python's."""
LONGEST_PLAIN = 1000
"""The greatest power of ten of a number that is written without an exponent."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode


def written(value: object) -> str:
    """Return a value as JSON."""
    match value:
        case None | bool() | str() | int():
            return ENCODE(value)
        case Mapping():
            return "{" + ", ".join(f"{ENCODE(str(name))}: {written(below)}" for name, below in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(written, value)) + "]"
        case Decimal() if value.is_finite():
            # A text from another system may have an exponent that would be a gigabyte of zeros.
            return format(value, "f") if abs(value.adjusted()) <= LONGEST_PLAIN else str(value)
        case Decimal():
            return ENCODE(str(value))
        case _:
            return ENCODE(plain(value))


def plain(value: object) -> object:
    """Return a value that JSON has."""
    match value:
        case bytes():
            return rf"\x{value.hex()}"
        case float() if not math.isfinite(value):
            return NOT_FINITE[str(value)]
        case timedelta():
            return f"PT{Decimal(value // timedelta(microseconds=1)).scaleb(-6):f}S"
        case _:
            return value


def is_row(text: str) -> bool:
    """Whether a text is a whole row: an object of JSON with columns."""
    return text.startswith("{") and row_of(text) is not None


def row_of(text: str) -> dict[str, object] | None:
    """Return the row that a text tells, numbers with all their digits; `None`: it tells none."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found and not has_halves(text, found) else None


def has_halves(text: str, found: object) -> bool:
    """Whether a value has half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    if not SURROGATE.search(text):
        return False
    try:
        written(found).encode()
    except UnicodeEncodeError:
        return True
    return False
