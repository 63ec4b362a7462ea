"""Globs over keys and paths: `*` and `?` stay within a folder, `**` crosses folders."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

WILDCARDS = re.compile(r"\*\*/|\*\*|\*|\?")
Root = tuple[str, bool]
"""What names begin with, and whether it is a whole name."""

MEANING = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The names that match one of `paths`, and no pattern of `exclude`; one without `/` is that of a file's name."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether a file of this name is selected."""
        return any(matches(path, name) for path in self.paths) and not self.excludes(name)

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


@lru_cache(maxsize=2048)
def compiled(path: str) -> re.Pattern[str]:
    """Return the regular expression that means the same as the glob `path`."""
    parts = []
    end = 0
    for wildcard in WILDCARDS.finditer(path):
        parts += [re.escape(path[end : wildcard.start()]), MEANING[wildcard[0]]]
        end = wildcard.end()
    return re.compile("".join([*parts, re.escape(path[end:])]), re.DOTALL)
