"""Globs over keys and paths: `*` and `?` stay within a folder, `**` crosses folders, a backslash escapes them.

Keys of S3 may have any characters, and folders without a name (`in//a.csv`, `/a.csv`). `**/` crosses those as well.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

SIGNS = re.compile(r"\\[*?\\]|\*\*/|\*{2,}|\*|\?")
"""The wildcards, and the escapes of their characters; another backslash is itself.

A longer run of `*` means the same as `**`. As several wildcards it would take very long to match.
"""
Root = tuple[str, bool]
"""What names begin with, and whether it is a whole name."""

ANYTHING = r".*"
MEANING = {"**/": r"(?:[^/]*/)*", "*": r"[^/]*", "?": r"[^/]"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The names that match one of `paths`, and no pattern of `exclude`; one without `/` is that of a file's name."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether a file of this name is selected."""
        return any(matches(path, name) for path in self.paths) and not self.excludes(name)

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """The paths that mean something else as a glob than as the name of one file."""
        return tuple(path for path in self.paths if SIGNS.search(path) is not None)

    def with_names(self, existing: Container[str]) -> "Selection":
        """Return the selection in which a path that is the name of an existing file means that file alone."""
        paths = tuple(escaped(path) if path in existing else path for path in self.paths)
        return replace(self, paths=paths)

    def excludes(self, name: str) -> bool:
        """Whether a pattern leaves this name out."""
        last = name.rpartition("/")[2]
        return any(compiled(one).fullmatch(name if "/" in one else last) is not None for one in self.exclude)

    def roots(self) -> Iterator[Root]:
        """Yield where selected names begin, in order; none of them begins with another."""
        last: str | None = None
        for prefix, is_whole in sorted({(fixed_prefix(path), not is_glob(path)) for path in self.paths}):
            if last is None or not prefix.startswith(last):
                yield prefix, is_whole
                last = last if is_whole else prefix


def is_glob(path: str) -> bool:
    """Whether `path` may match more than one name."""
    return first_wildcard(path) is not None


def fixed_prefix(path: str) -> str:
    """Return what every match of `path` begins with."""
    first = first_wildcard(path)
    fixed = path if first is None else path[: first.start()]
    return SIGNS.sub(lambda sign: sign[0][1:], fixed)


def first_wildcard(path: str) -> re.Match[str] | None:
    """Return the first wildcard of a glob."""
    return next((sign for sign in SIGNS.finditer(path) if not is_escape(sign)), None)


def is_escape(sign: re.Match[str]) -> bool:
    """Whether a sign of a glob is an escaped character."""
    return sign[0].startswith("\\")


def escaped(name: str) -> str:
    """Return the glob that matches one name."""
    return re.sub(r"[*?\\]", r"\\\g<0>", name)


def matches(path: str, name: str) -> bool:
    """Whether `name` matches the glob `path`; hidden files (`.name`) must be asked for by name."""
    if compiled(path).fullmatch(name) is None:
        return False
    return not is_glob(path) or not is_hidden(name) or is_hidden(path)


def is_hidden(name: str) -> bool:
    """Whether the last part of `name` begins with a dot."""
    return name.rpartition("/")[2].startswith(".")


@lru_cache(maxsize=2048)
def compiled(path: str) -> re.Pattern[str]:
    """Return the regular expression that means the same as the glob `path`."""
    parts = []
    end = 0
    for sign in SIGNS.finditer(path):
        meaning = re.escape(sign[0][1:]) if is_escape(sign) else MEANING.get(sign[0], ANYTHING)
        parts += [re.escape(path[end : sign.start()]), meaning]
        end = sign.end()
    return re.compile("".join([*parts, re.escape(path[end:])]), re.DOTALL)
