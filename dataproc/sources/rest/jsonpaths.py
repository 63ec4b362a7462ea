"""Values at a JSONPath; the plain ones, such as `$.data[*]`, are walked without the machinery of the others."""

import re
from functools import lru_cache
from typing import Any

import jsonpath

PLAIN = re.compile(r"\$((?:\.[A-Za-z_][A-Za-z0-9_]*)*)(\[\*\])?")


@lru_cache(maxsize=512)
def compiled(path: str) -> jsonpath.JSONPath:
    """Return a JSONPath, compiled."""
    made = jsonpath.compile(path)
    assert isinstance(made, jsonpath.JSONPath)  # noqa: S101 - a narrowing: specifications take no compound queries
    return made


def all_at(path: str, body: Any) -> list[Any]:
    """Return all values at a path."""
    plain = PLAIN.fullmatch(path)
    if plain is None:
        return list(compiled(path).findall(body)) if isinstance(body, dict | list) else []
    value = body
    for name in plain[1].split(".")[1:]:
        if not isinstance(value, dict) or name not in value:
            return []
        value = value[name]
    if plain[2] is None:
        return [value]
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def found(path: str, body: Any) -> Any:
    """Return the first value at a path; `None`: there is none."""
    return next(iter(all_at(path, body)), None)
