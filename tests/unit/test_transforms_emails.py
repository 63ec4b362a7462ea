"""Addresses of email, found by a look at all bytes, and by a pattern."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataproc.transforms.emails import PATTERN, all_plain, is_email, with_lower_domain

parts = st.text(st.sampled_from(list("aZ0.@- ä\t!")), max_size=6)
addresses = st.builds(lambda name, domain, top: f"{name}@{domain}.{top}", parts, parts, parts)
texts = st.lists(st.none() | st.sampled_from(["ann@example.com", "b.c@d.ef.gh"]) | addresses | parts, max_size=8)


@given(texts, st.integers(0, 3))
@example(["a@b.c", "d@e..f"], 0)
@example(["a@b.c", "@e.f", "g@h@i.j"], 0)
@example(["a.b@c"], 0)
@example(["a@.b.c", "a@b.c."], 0)
@example(["a@b.c", "", "a@@b.c"], 0)
@example([f"{'a' * 65}@b.c"], 0)
def test_the_look_at_all_bytes_says_what_the_pattern_says(values: list[str | None], first: int) -> None:
    cells = pa.array(values, pa.string()).slice(first)

    assert is_email(cells).to_pylist() == pc.match_substring_regex(cells, PATTERN).to_pylist()


@pytest.mark.parametrize("last", ["b@c.de", "b.c@d-e.fg", "!#$@x.y", f"{'a' * 64}@b.c"])
def test_plain_addresses_need_no_pattern(last: str) -> None:
    assert all_plain(pa.array(["ann@example.com", last]))


@pytest.mark.parametrize(
    "last",
    ["b@c", "@c.de", "b c@d.ef", "b@c@d.ef", "", "b@.c.de", "b@c.", "ä@c.de", "b@c..de", "b.c@d", f"{'a' * 65}@b.c"],
)
def test_one_that_is_not_plain_needs_the_pattern(last: str) -> None:
    assert not all_plain(pa.array(["ann@example.com", last]))


@given(texts)
@example(["Ann@EXAMPLE.com", "Ann@example.com", "A@b@C.de", "no ADDRESS", "Ü@Ä.de"])
def test_only_the_domain_comes_in_lower_case(values: list[str | None]) -> None:
    lower = [value and "@".join([*value.split("@")[:-1], value.split("@")[-1].lower()]) for value in values]

    found = with_lower_domain(pa.array(values, pa.string())).to_pylist()

    assert found == [new if old is not None and "@" in old else old for old, new in zip(values, lower, strict=True)]
