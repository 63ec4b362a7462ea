"""Changes of the bytes of a valid file, as damage, errors of writers and attackers make them."""

import os
from dataclasses import dataclass

from hypothesis import strategies as st

IS_LONG = os.environ.get("DATAPROC_FUZZ") == "long"
"""Whether the fuzz tests run for a minute for each format; else for a second or two."""

TOKENS = (
    b'"', b"\\ud800", b"\\u0000", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"[", b"]",
    b"{", b"}", b",", b":", b"\\", b"\n", b"\r", b"\0", b"-", b".", b"e", b"0", b'""', b"NaN", b"null", b"1e400",
    b"1e-999999999", b"1e999999999", b"99999999999999999999", b"10000-01-01", b'"":1,', b'"id":1,', b"\x7f" * 4,
    b"\x80" * 4, b"\xff" * 8, b"\0" * 8,
)  # fmt: skip
"""Bytes that mean something in a format, or that a decoder may take for a size."""


@dataclass(frozen=True)
class Change:
    """Bytes that are put at a place of a file, which is a share of its length, in place of some others."""

    place: float
    replaced: int
    put: bytes

    def applied(self, data: bytes) -> bytes:
        at = min(int(self.place * len(data)), len(data))
        return data[:at] + self.put + data[at + self.replaced :]


def changes() -> st.SearchStrategy[list[Change]]:
    """Return some changes of one file; a change often keeps the length."""
    some_bytes = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4))
    same_length = st.builds(lambda place, put: Change(place, len(put), put), st.floats(0, 1), some_bytes)
    other_length = st.builds(Change, st.floats(0, 1), st.sampled_from((0, 1, 2, 8, 60, 10_000)), some_bytes)
    return st.lists(st.one_of(same_length, other_length), min_size=1, max_size=4)


def changed(data: bytes, found: list[Change]) -> bytes:
    """Return the bytes of a file after some changes."""
    for change in found:
        data = change.applied(data)
    return data
