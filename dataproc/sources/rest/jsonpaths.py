"""Values at a JSONPath, as the characters of the answer.

Plain paths, such as `$.data[*]`, are walked without the machinery of the others.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

import jsonpath
import msgspec
import numpy as np

from dataproc.domain.errors import BadDataError
from dataproc.sources.json_values import OBJECT, Raw

PLAIN = re.compile(r"\$((?:\.[A-Za-z_][A-Za-z0-9_]*)*)(\[\*\])?")
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape in a string; the group is half of a surrogate pair."""
VALUE = msgspec.json.Decoder(msgspec.Raw)
LIST = msgspec.json.Decoder(list[msgspec.Raw])
OBJECT_START, LIST_START = b"{["
WHITESPACE = b" \t\r\n"

Text: TypeAlias = bytes | msgspec.Raw
"""A value of JSON; `Raw` is a view of the text that it stands in."""
Place: TypeAlias = tuple[str | int, ...]


@lru_cache(maxsize=512)
def compiled(path: str) -> jsonpath.JSONPath:
    """Return a JSONPath, compiled."""
    made = jsonpath.compile(path)
    assert isinstance(made, jsonpath.JSONPath)  # noqa: S101 - a narrowing: specifications take no compound queries
    return made


def value_of(text: bytes) -> Raw:
    """Return the value that a text holds; strings in it may have half of a surrogate pair.

    Raises:
        msgspec.DecodeError: the text is not JSON.
        RecursionError: objects and arrays are nested too deep.
    """
    try:
        VALUE.decode(text)
    except msgspec.DecodeError:
        VALUE.decode(without_halves(text))
    return text.strip(WHITESPACE)


def all_at(path: str, text: Raw) -> list[Raw]:
    """Return all values at a path in a value; none where the path does not lead to any."""
    try:
        return written_at(path, text)
    except RecursionError as exc:
        raise BadDataError("an answer of the API has objects and arrays that are nested too deep") from exc


def written_at(path: str, text: Raw) -> list[Raw]:
    """Return all values at a path; of a text with half of a surrogate pair as well, for its record to be set aside."""
    try:
        return [bytes(value) for value in values_at(path, text)]
    except msgspec.DecodeError:
        readable = without_halves(text)
        return [standing_in(text, readable, value) for value in values_at(path, readable)]


def first_at(path: str, text: Raw) -> Raw | None:
    """Return the first value at a path; `None`: there is none, or it is null."""
    found = next(iter(all_at(path, text)), None)
    return None if found == b"null" else found


def members_of(text: Raw) -> dict[str, Raw]:
    """Return the members of an object, with U+FFFD for half of a surrogate pair; another value has none."""
    if not starts_with(text, OBJECT_START):
        return {}
    try:
        found = OBJECT.decode(text)
    except msgspec.DecodeError:
        found = OBJECT.decode(without_halves(text))
    return {name: bytes(value) for name, value in found.items()}


def values_at(path: str, text: bytes) -> Sequence[Text]:
    """Return all values at a path."""
    plain = PLAIN.fullmatch(path)
    if plain is None:
        return matches(path, text)
    value: Text = text
    for name in plain[1].split(".")[1:]:
        members = OBJECT.decode(value) if starts_with(value, OBJECT_START) else {}
        if name not in members:
            return []
        value = members[name]
    return [value] if plain[2] is None else children_of(value)


def children_of(value: Text) -> Sequence[Text]:
    """Return the items of an array, or the values of an object."""
    if starts_with(value, OBJECT_START):
        return list(OBJECT.decode(value).values())
    return LIST.decode(value) if starts_with(value, LIST_START) else []


def starts_with(value: Text, sign: int) -> bool:
    """Return whether a value begins with a character."""
    return memoryview(value)[0] == sign


def matches(path: str, text: bytes) -> Sequence[Text]:
    """Return what the parser of the standard finds, taken from the text: so numbers keep their characters."""
    try:
        body = json.loads(text)
    except ValueError as exc:
        raise BadDataError("an answer of the API has a number of more than 4300 digits") from exc
    tree = Tree(text)
    found = compiled(path).finditer(body) if isinstance(body, dict | list) else ()
    return [name_of(match) or tree.at(match.parts) for match in found]


def name_of(match: jsonpath.JSONPathMatch) -> Raw | None:
    """Return the name that the selector `~` has found; it is not a value of the text."""
    is_name = bool(match.parts) and isinstance(match.obj, str) and match.parts[-1] == f"~{match.obj}"
    return json.dumps(match.obj).encode() if is_name else None


@dataclass(slots=True)
class Tree:
    """The values of a text by their places; objects and arrays are decoded once, when something in them is wanted."""

    text: bytes
    objects: dict[Place, dict[str, msgspec.Raw]] = field(default_factory=dict)
    arrays: dict[Place, list[msgspec.Raw]] = field(default_factory=dict)

    def at(self, place: Place) -> Text:
        """Return the value at a place."""
        value: Text = self.text
        for depth, part in enumerate(place):
            above = place[:depth]
            if isinstance(part, int):
                if above not in self.arrays:
                    self.arrays[above] = LIST.decode(value)
                value = self.arrays[above][part]
            else:
                if above not in self.objects:
                    self.objects[above] = OBJECT.decode(value)
                value = self.objects[above][part]
        return value


def without_halves(text: bytes) -> bytes:
    """Return a text of the same length with U+FFFD in place of each half of a surrogate pair."""
    return ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def standing_in(text: bytes, readable: bytes, value: Text) -> Raw:
    """Return the characters of `text` that stand where `value` stands in `readable`, which is of the same length."""
    start = address_of(value) - address_of(readable)
    is_within = 0 <= start < len(text)
    return text[start : start + memoryview(value).nbytes] if is_within else bytes(value)


def address_of(value: Text) -> int:
    """Return where a text begins in memory."""
    return int(np.frombuffer(value, np.uint8).ctypes.data)
