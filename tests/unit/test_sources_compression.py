"""Packed files: all formats of snappy, damage, and what may be unpacked."""

import cramjam
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError
from dataproc.sources.files.compression import FREE, RATIO, Compression, allowed, packing_of, unpacked
from tests.file_kinds import PACK

TEXT = b"".join(b"%d,some text\n" % n for n in range(30_000))
ENDS: dict[str, Compression] = {"gz": "gzip", "zst": "zstd", "bz2": "bz2", "sz": "snappy", "snappy": "snappy"}


def text_of(data: bytes, packed: Compression | None, piece: int = 100_000, bound: int = FREE) -> list[bytes]:
    """Return the pieces of packed data."""
    return list(unpacked(pa.BufferReader(data), "a", packed, piece, bound))


@pytest.mark.parametrize("end", ENDS)
@given(data=st.binary(max_size=500), copies=st.integers(1, 400), piece=st.integers(1000, 100_000))
def test_what_was_packed_comes_out_in_pieces(end: str, data: bytes, copies: int, piece: int) -> None:
    found = text_of(PACK[end](data * copies), ENDS[end], piece)

    assert b"".join(found) == data * copies
    assert all(len(one) < piece + 64 * 1024 for one in found)


@pytest.mark.parametrize("end", ENDS)
def test_several_packed_files_in_a_row_are_one_text(end: str) -> None:
    assert b"".join(text_of(PACK[end](b"one\n") + PACK[end](b"two\n"), ENDS[end])) == b"one\ntwo\n"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("cut", [1, 3, 9, 20, 200])
def test_what_is_cut_off_is_an_error_after_what_came_before(end: str, cut: int) -> None:
    found: list[bytes] = []

    with pytest.raises((OSError, EOFError)):
        found += unpacked(pa.BufferReader(PACK[end](TEXT)[:-cut]), "a", ENDS[end], 100_000, FREE)

    assert TEXT.startswith(b"".join(found))


@pytest.mark.parametrize(
    "damaged",
    [
        (2**31).to_bytes(4, "big") + b"xxxx",
        (10).to_bytes(4, "big") + (5).to_bytes(4, "big") + b"xxxxx",
        (1).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes(cramjam.snappy.compress_raw(b"xx")),
        bytes(cramjam.snappy.compress(b"xxxx"))[:-1] + b"y",
        bytes(cramjam.snappy.compress(b"xxxx"))[:10] + b"\x40\0\0\0",
    ],
)
def test_damaged_snappy_is_an_error(damaged: bytes) -> None:
    with pytest.raises(OSError, match="damaged"):
        text_of(damaged, "snappy")


def test_what_is_more_than_a_file_may_hold_is_refused_before_it_is_all_unpacked() -> None:
    data = pa.BufferReader(PACK["gz"](bytes(50_000_000)))
    found: list[bytes] = []

    with pytest.raises(BadDataError, match=r"^a unpacks to more than 1000000 bytes; .*`max_unpacked`"):
        found += unpacked(data, "a", "gzip", 100_000, 1_000_000)
    assert sum(map(len, found)) <= 1_000_000

    assert allowed(10, None) == FREE
    assert allowed(FREE, None) == RATIO * FREE
    assert allowed(FREE, 7) == 7


@pytest.mark.parametrize("end", ENDS)
def test_the_first_bytes_of_a_file_show_what_packs_it(end: str) -> None:
    start = PACK[end](TEXT)[:64]

    assert packing_of(f"a.csv.{end}", start) == ENDS[end]
    assert packing_of("a.csv", start) == (ENDS[end] if end != "snappy" else None)  # Hadoop's form has no magic number


@pytest.mark.parametrize(
    ("uri", "start", "packed"),
    [
        ("a.csv.GZ", b"id,name\n1,x\n", None),
        ("a.csv", b"id,name\n1,x\n", None),
        ("BZhang.csv", b"BZh1 is a name\n", None),
        ("a.csv.gz", b"\x1f\x8c\x08damaged", "gzip"),
        ("a.csv.gz", b"", None),
    ],
)
def test_text_is_not_packed_whatever_its_name_and_damaged_bytes_are_as_their_name(
    uri: str, start: bytes, packed: str | None
) -> None:
    assert packing_of(uri, start) == packed


def test_zeros_after_the_last_member_of_a_gzip_file_are_padding() -> None:
    packed = PACK["gz"](b"one\n") + PACK["gz"](b"two\n") + bytes(1000)

    assert b"".join(text_of(packed, "gzip")) == b"one\ntwo\n"


def test_other_bytes_after_the_last_member_of_a_gzip_file_are_damage() -> None:
    with pytest.raises(OSError, match="gzip"):
        list(text_of(PACK["gz"](b"one\n") + b"junk", "gzip"))
