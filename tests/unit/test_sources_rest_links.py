"""The header `Link` of RFC 8288: the examples of its sections 3.5 and B, and headers of APIs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.sources.rest.links import links_in, next_link

HERE = "https://api.example.com/orders?page=2"


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        (['<https://a/?p=2>; rel="next"'], "https://a/?p=2"), (["<u>; rel=next; title=x"], "u"),
        (['<p>; rel="prev", <n,1>; title="a"; rel="last next"'], "n,1"), (['<p>; rel="prev"', '<n>; rel="NEXT"'], "n"),
        (['<p>; rel="nextish"'], None), ([], None), (["rubbish"], None), (["rubbish", "<n>; rel=next"], "n"),
        # Quoted strings hold commas, semicolons, brackets and escaped quotes.
        (['<p>; title="x; rel=next"; rel="prev", <n>; rel="next"'], "n"),
        (['<p>; rel="prev"; title="see <x>; rel=next, ok", <n>; rel="next"'], "n"),
        ([r'<p>; title="a \"b\"; rel=\"next\""; rel=prev'], None), ([r'<n>; rel="n\ext"'], "n"),
        (['<n>; title="cut off; rel=next'], None),
        # The first parameter of a name counts, and names have no case.
        (['<p>; rel="prev"; rel="next"'], None), (['<n>; REL="next"'], "n"), (['<n>; Rel = "next"'], "n"),
        (["<n> ; rel = next"], "n"), (["<n>;rel=next"], "n"), (["<n>;;rel=next"], "n"), (["<n>;rel"], None),
        (["<n>; rel=next; crossorigin"], "n"), (["<n>; crossorigin; rel=next"], "n"), (["<n>; xrel=next"], None),
        (["<n>; rel*=UTF-8''next"], None), (['<n>; rev="next"'], None), (['<n>; rel="prev\tnext"'], "n"),
        # Several links, with empty elements of the list between them.
        ([" , <p>; rel=prev,, <n>; rel=next,"], "n"), (["<a>, <b>;rel=prev,<n>;rel=next"], "n"),
        (["<a> <n>; rel=next"], None), (["<n; rel=next"], None),
        # The anchor is the resource that a link belongs to.
        (['<n>; rel="next"; anchor="https://other.example.com/"'], None), (['<n>; rel="next"; anchor="#items"'], "n"),
        (['<n>; rel="next"; anchor="?page=2"'], "n"), (['<n>; rel="next"; anchor="/customers"'], None),
        # A relation may be a URL; targets may be relative.
        (['<?page=3>; rel="https://rels.example.com/x next"'], "?page=3"), (['<https://a/next>; rel="start"'], None),
    ],
)  # fmt: skip
def test_the_link_to_the_next_page_is_found(headers: list[str], url: str | None) -> None:
    assert next_link(headers, HERE) == url


def test_the_examples_of_the_standard_are_understood() -> None:
    example = (
        "</TheBook/chapter2>; rel=\"previous\"; title*=UTF-8'de'letztes%20Kapitel, "
        "</TheBook/chapter4>; rel=\"next\"; title*=UTF-8'de'n%c3%a4chstes%20Kapitel"
    )

    assert [(link.target, set(link.relations)) for link in links_in(example)] == [
        ("/TheBook/chapter2", {"previous"}), ("/TheBook/chapter4", {"next"}),
    ]  # fmt: skip
    assert [
        link.relations for link in links_in('<http://example.org/>; rel="start http://example.net/relation/other"')
    ] == [{"start", "http://example.net/relation/other"}]


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)


@given(st.lists(st.tuples(TEXT.map(lambda text: text.replace(">", "")), st.dictionaries(NAMES, TEXT)), max_size=4))
def test_every_link_that_is_written_as_the_standard_says_is_read_back(links: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"<{target}>" + "".join(f"; {name}={quoted(value)}" for name, value in parameters.items())
        for target, parameters in links
    )

    assert [(link.target, link.parameters) for link in links_in(header)] == links


@given(st.text('<>;,="\\ \trelnx'))
def test_no_header_takes_the_parser_out_of_its_way(header: str) -> None:
    assert all(isinstance(link.target, str) for link in links_in(header))
