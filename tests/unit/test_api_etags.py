"""Entity tags as HTTP writes them, and as callers hand them back."""

import time

import pytest

from serve_app.etags import etag_of, versions_of


@pytest.mark.parametrize("lines", [None, ["*"], [" *\t"]])
def test_without_a_tag_any_version_will_do(lines: list[str] | None) -> None:
    assert versions_of(lines) is None


@pytest.mark.parametrize(
    ("lines", "versions"),
    [
        (['"1-pending"'], {"1-pending"}),
        (['  "1-pending" , "1-ingesting"'], {"1-pending", "1-ingesting"}),
        (['"1-pending","2-pending",'], {"1-pending", "2-pending"}),
        ([',, "1-pending"'], {"1-pending"}),
        (['"1-pending"', '"2-pending"'], {"1-pending", "2-pending"}),
        (['W/"1-pending", "2-pending"'], {"2-pending"}),
        (['"a,b", "W/"'], {"a,b", "W/"}),
        (['""'], {""}),
    ],
)
def test_a_list_of_tags_gives_the_strong_ones(lines: list[str], versions: set[str]) -> None:
    assert versions_of(lines) == frozenset(versions)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1-pending",
        "'1-pending'",
        '"1-pending',
        '1-pending"',
        'W/"1-pending"',
        'w/"1-pending"',
        '"1-pending" "1-pending"',
        '"1-pending"; "1-pending"',
        'x"1-pending"',
        '"x,"1-pending",x"',
        '*, "1-pending"',
        '"1-pending", *',
        '"1-pending\x00"',
        '"1 -pending"',
    ],
)
def test_weak_tags_and_what_is_no_list_of_tags_match_nothing(line: str) -> None:
    assert versions_of([line]) == frozenset()


def test_what_a_version_is_told_as_is_read_back() -> None:
    assert versions_of([etag_of("3-loading-cancelling")]) == frozenset({"3-loading-cancelling"})


@pytest.mark.parametrize("piece", [" ", ",", ', "a"', '"', ' ,"', "W/"])
def test_a_long_list_is_read_in_a_moment(piece: str) -> None:
    begun = time.process_time()
    versions_of([piece * 20_000 + "x"])

    assert time.process_time() - begun < 1
