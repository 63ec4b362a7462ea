"""Numbers in the binary form of `numeric`: at once and one by one, they are the same bytes."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.warehouse.numeric_wire import fast_wire, numeric_wire, wire_of

PLAIN = st.from_regex(r"\A-?(0|[1-9][0-9]{0,8}|00[0-9]{1,5})?(\.[0-9]{1,9})?\Z").filter(
    lambda text: text.strip("-") != ""
)
ANY = (
    PLAIN
    | st.from_regex(r"\A[+-]?[0-9]{1,40}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?\Z")
    | st.sampled_from([" 5", "NaN", "-inf", "", "-", ".", "x", "1e5000", "9223372036854775808", "-9223372036854775808"])
)


@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("-12.50", "0002 0000 4000 0002 000C 1388"),
        ("0.00", "0000 0000 0000 0002"),
        ("10000", "0001 0001 0000 0000 0001"),
        ("0.0001", "0001 FFFF 0000 0004 0001"),
        ("NaN", "0000 0000 C000 0000"),
        ("1e3", "0001 0000 0000 0000 03E8"),
    ],
)
def test_a_number_is_the_bytes_that_numeric_send_gives(text: str, hexadecimal: str) -> None:
    found, bad = numeric_wire(pa.array([text]))

    assert found.to_pylist() == [bytes.fromhex(hexadecimal)]
    assert not bad.any()


@given(st.lists(st.none() | PLAIN, min_size=1, max_size=20))
def test_plain_numbers_at_once_are_those_one_by_one(texts: list[str | None]) -> None:
    found = fast_wire(pa.array(texts, pa.string()))

    assert found is not None
    assert found.to_pylist() == [None if text is None else wire_of(text) for text in texts]


@given(st.lists(st.none() | ANY, max_size=20), st.integers(0, 3))
def test_what_is_not_a_number_is_told_apart(texts: list[str | None], start: int) -> None:
    cells = pa.array(texts, pa.string())[start:]

    found, bad = numeric_wire(cells)

    expected = [None if text is None else wire_of(text) for text in cells.to_pylist()]
    assert found.to_pylist() == expected
    told = [text is not None and wire is None for text, wire in zip(cells.to_pylist(), expected, strict=True)]
    assert bad.tolist() == told
