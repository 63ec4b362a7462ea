"""Globs over keys and paths: `*` and `?` stay within a folder, `**` crosses folders."""

import re
from functools import lru_cache

WILDCARDS = re.compile(r"\*\*/|\*\*|\*|\?")
MEANING = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


def is_glob(path: str) -> bool:
    """Whether `path` may match more than one name."""
    return WILDCARDS.search(path) is not None


def fixed_prefix(path: str) -> str:
    """Return what every match of `path` begins with."""
    first = WILDCARDS.search(path)
    return path if first is None else path[: first.start()]


def matches(path: str, name: str) -> bool:
    """Whether `name` matches the glob `path`; hidden files (`.name`) must be asked for by name."""
    if compiled(path).fullmatch(name) is None:
        return False
    return not is_glob(path) or not is_hidden(name) or is_hidden(path)


def is_hidden(name: str) -> bool:
    """Whether the last part of `name` begins with a dot."""
    return name.rpartition("/")[2].startswith(".")


@lru_cache(maxsize=256)
def compiled(path: str) -> re.Pattern[str]:
    """Return the regular expression that means the same as the glob `path`."""
    parts = []
    end = 0
    for wildcard in WILDCARDS.finditer(path):
        parts += [re.escape(path[end : wildcard.start()]), MEANING[wildcard[0]]]
        end = wildcard.end()
    return re.compile("".join([*parts, re.escape(path[end:])]), re.DOTALL)
