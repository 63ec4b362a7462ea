"""How dates and times are written: the formats of `strptime`, and the zones of the tz database."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

SHAPES: Mapping[str, str] = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{1,2}", "d": r"\d{1,2}",
    "b": r"[A-Za-z]{3}", "B": r"[A-Za-z]+", "a": r"[A-Za-z]{3}", "A": r"[A-Za-z]+",
    "H": r"\d{1,2}", "I": r"\d{1,2}", "M": r"\d{2}", "S": r"\d{2}", "f": r"\d{1,9}",
    "p": r"[AaPp][Mm]", "z": r"(?:Z|[+-]\d{2}:?\d{2})", "%": "%",
}  # fmt: skip
"""What text stands for each letter of a format."""
DIRECTIVE = re.compile("%(.?)")


def known_format(text: str) -> str:
    """Return `text` if it is a format of whole dates, else say how one is written."""
    letters = DIRECTIVE.findall(text)
    told = set(letters)
    whole = told & {"Y", "y"} and told & {"m", "b", "B"} and "d" in told
    if not whole or not told <= SHAPES.keys() or letters.count("f") > text.count(".%f"):
        known = " ".join(f"%{letter}" for letter in SHAPES)
        msg = f"{text!r} is no format of a whole date; write it like %d.%m.%Y %H:%M:%S.%f, with {known}"
        raise ValueError(msg)
    return text


def shape_of_format(text: str) -> str:
    """Return a regular expression that all text of a format matches."""
    parts = DIRECTIVE.split(text)
    return "^" + "".join(SHAPES[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)) + "$"


def tells_zone(text: str) -> bool:
    """Whether text of a format tells its zone."""
    return "z" in DIRECTIVE.findall(text)


def known_zone(name: str) -> str:
    """Return `name` if it is a zone, else say how one is written."""
    if name not in zones():
        msg = f"{name!r} is no time zone; write it like Europe/Berlin, or UTC"
        raise ValueError(msg)
    return name


@cache
def zones() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(available_timezones())


def demand_pattern(pattern: str, to: str = "") -> None:
    """Raise `ValueError` unless `pattern` is a regular expression of RE2 whose groups `to` may name."""
    try:
        pc.replace_substring_regex(pa.array([""]), pattern, to)
    except pa.ArrowInvalid as exc:
        msg = f"/{pattern}/ by {to!r} is no replacement of RE2 (no look-around): {exc}"
        raise ValueError(msg) from exc


DateFormat = Annotated[str, Field(min_length=2, max_length=100, examples=["%d.%m.%Y"]), AfterValidator(known_format)]
Zone = Annotated[str, Field(examples=["Europe/Berlin"]), AfterValidator(known_zone)]
