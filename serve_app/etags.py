"""Entity tags of HTTP (RFC 9110, 8.8.3): the version of a job as `ETag` tells it, and `If-Match` hands it back."""

import re
from collections.abc import Sequence

OPAQUE = r'"[\x21\x23-\x7e\x80-\xff]*"'
MEMBER = rf"(?:(?:W/)?{OPAQUE}[ \t]*)?"
LIST = re.compile(rf"[ \t]*{MEMBER}(?:,[ \t]*{MEMBER})*")
STRONG = re.compile(rf"(W/)?({OPAQUE})")


def etag_of(version: str) -> str:
    """Return a version as an entity tag."""
    return f'"{version}"'


def versions_of(lines: Sequence[str] | None) -> frozenset[str] | None:
    """Return the versions that the lines of `If-Match` list (RFC 9110, 13.1.1); `None`: any version will do.

    Weak tags never match, and neither does anything in a list that is none.
    """
    if lines is None:
        return None
    seen = ", ".join(lines)
    if seen.strip(" \t") == "*":
        return None
    if LIST.fullmatch(seen) is None:
        return frozenset()
    return frozenset(tag[1:-1] for weak, tag in STRONG.findall(seen) if not weak)
