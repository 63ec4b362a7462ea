"""Addresses of email, as the library email-validator judges them."""

import email_validator
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataproc.transforms.emails import is_email, with_lower_domain

parts = st.text(st.sampled_from(list("aZ0.@- ä\t!")), max_size=6)
addresses = st.builds(lambda name, domain, top: f"{name}@{domain}.{top}", parts, parts, parts)
texts = st.lists(st.none() | st.sampled_from(["ann@example.com", "b.c@d.ef.gh"]) | addresses | parts, max_size=8)
pieces = st.text(st.sampled_from(list("aZ0.-_!'+/=?^`{|}~\"(),:;<>[]\\@ \n\x00\x7fäßÄ\u0301\u200b。xn")), max_size=9)
labels = st.lists(pieces | st.sampled_from(["xn--4ca", "ab--c", "com", "test", "local", "a" * 64, "c1"]), max_size=4)
near_addresses = st.builds(lambda name, domain: f"{name}@{'.'.join(domain)}", pieces, labels)


def is_valid(text: str) -> bool:
    try:
        email_validator.validate_email(text, check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError:
        return False
    return True


@given(st.lists(st.none() | near_addresses | addresses, max_size=8), st.integers(0, 3))
def test_addresses_are_those_of_the_library(values: list[str | None], first: int) -> None:
    cells = pa.array(values, pa.string()).slice(first)

    assert is_email(cells).to_pylist() == [None if one is None else is_valid(one) for one in values[first:]]


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com", "b.c@d.ef.gh", "b@c.de", "b.c@d-e.fg", "!#$%&'*+-/=?^_`{|}~@x.y", f"{'a' * 64}@b.c",
        "ä@c.de", "a@ä.de", "a@xn--4ca.de", "a@B.DE", "-a-@b.c", "a@1.de", "a@1b.c-d", f"a@{'b' * 63}.de",
        f"a@{'.'.join(['b' * 60] * 4)}.de", "a@b。de", "a@a--b.de",
    ],
)  # fmt: skip
def test_what_is_an_address(text: str) -> None:
    assert is_email(pa.array([text])).to_pylist() == [is_valid(text)] == [True]


@pytest.mark.parametrize(
    "text",
    [
        "b@c", "@c.de", "b c@d.ef", "b@c@d.ef", "", "b@.c.de", "b@c.", "b@c..de", "b.c@d", "a..b@c.de", ".a@c.de",
        "a.@c.de", "a@-b.de", "a@b-.de", "a@b.-de", "a@b.de-", "a@b_c.de", "a@b.c1", "a@1.2.3.4", "a@[1.2.3.4]",
        '"a b"@c.de', "Ann <a@b.de>", " a@b.de", "a@b.de ", "a@b.de\n", "a@ab--c.de", "a@xn--a.de", "a@b.test",
        "a@b.LOCAL", f"ä{'a' * 2000}@b.de",
        "a@localhost", "a@x.arpa", f"{'a' * 65}@b.c", f"a@{'b' * 64}.de", f"a@{'.'.join(['b' * 62] * 4)}.de",
        f"{'a' * 64}@{'.'.join(['b' * 60] * 3)}.defghij", "a@\u200b.de", "\u0301a@b.de", "a\x00@b.de", "a(c)@b.de",
    ],
)  # fmt: skip
def test_what_is_not_an_address(text: str) -> None:
    assert is_email(pa.array([text, None])).to_pylist() == [is_valid(text), None] == [False, None]


@given(texts)
@example(["Ann@EXAMPLE.com", "Ann@example.com", "A@b@C.de", "no ADDRESS", "Ü@Ä.de"])
def test_only_the_domain_comes_in_lower_case(values: list[str | None]) -> None:
    lower = [value and "@".join([*value.split("@")[:-1], value.split("@")[-1].lower()]) for value in values]

    found = with_lower_domain(pa.array(values, pa.string())).to_pylist()

    assert found == [new if old is not None and "@" in old else old for old, new in zip(values, lower, strict=True)]
