"""Globs over keys and paths."""

import pytest

from dataproc.sources.files.globs import Selection, fixed_prefix, is_glob, matches


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.csv", "a.csv"),
        ("*.csv", "a.csv"),
        ("in/*.csv", "in/a.csv"),
        ("in/**/*.csv", "in/a.csv"),
        ("in/**/*.csv", "in/x/y/a.csv"),
        ("**", "in/x/a.csv"),
        ("in/**", "in/x/a.csv"),
        ("in/d?/a.csv", "in/d1/a.csv"),
        ("a+b(1)[x].csv", "a+b(1)[x].csv"),
        ("in/.a.csv", "in/.a.csv"),
        ("in/.*", "in/.a.csv"),
    ],
)
def test_a_glob_matches(path: str, name: str) -> None:
    assert matches(path, name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("*.csv", "in/a.csv"),
        ("in/*.csv", "in/x/a.csv"),
        ("in/**/*.csv", "inn/a.csv"),
        ("in/?.csv", "in//.csv"),
        ("a.csv", "a_csv"),
        ("in/**", "in/.a.csv"),
        ("a.csv", "a.csv.bak"),
    ],
)
def test_a_glob_does_not_match(path: str, name: str) -> None:
    assert not matches(path, name)


def test_the_prefix_of_a_glob_ends_at_its_first_wildcard() -> None:
    assert fixed_prefix("in/2024-*/a?.csv") == "in/2024-"
    assert fixed_prefix("in/a.csv") == "in/a.csv"
    assert is_glob("a?")
    assert not is_glob("a[1].csv")


def test_a_selection_has_what_a_path_matches_and_no_pattern_excludes() -> None:
    selection = Selection(("in/**", "x.csv"), ("*.tmp", "in/old/**", ".*"))

    assert [name for name in ("in/a.csv", "x.csv", "in/b/a.csv") if selection.has(name)] == [
        "in/a.csv",
        "x.csv",
        "in/b/a.csv",
    ]
    assert not any(map(selection.has, ("y.csv", "in/a.tmp", "in/b/a.tmp", "in/old/a.csv", "in/.hidden")))


@pytest.mark.parametrize(
    ("paths", "roots"),
    [
        (("in/*.csv",), [("in/", False)]),
        (("in/a.csv",), [("in/a.csv", True)]),
        (("b/*", "a/*", "a/b/*"), [("a/", False), ("b/", False)]),
        (("a", "a*", "a/b"), [("a", False)]),
        (("a", "ab*", "a/b"), [("a", True), ("a/b", True), ("ab", False)]),
        (("**", "in/a.csv"), [("", False)]),
    ],
)
def test_roots_cover_all_paths_once_and_are_in_order(paths: tuple[str, ...], roots: list[tuple[str, bool]]) -> None:
    assert list(Selection(paths).roots()) == roots
