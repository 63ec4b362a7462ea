"""Globs over keys and paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.sources.files.globs import Selection, escaped, fixed_prefix, is_glob, matches


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
        # Folders without a name, as keys of S3 may have them.
        ("in/**/*.csv", "in//a.csv"),
        ("in/**/*.csv", "in/x//y/a.csv"),
        ("**/*.csv", "/a.csv"),
        ("**/*.csv", "//x/a.csv"),
        ("in/**", "in//a.csv"),
        ("in/**/x/**/a.csv", "in//x//a.csv"),
        ("in/*/a.csv", "in//a.csv"),
        ("in/***/a.csv", "in/x/y/a.csv"),
        ("*" * 300 + ".csv", "in/a.csv"),
        # Escapes.
        (r"in/\*.csv", "in/*.csv"),
        (r"in/a\?.csv", "in/a?.csv"),
        (r"in/\**.csv", "in/*abc.csv"),
        (r"in/a\\b.csv", r"in/a\b.csv"),
        (r"in\a.csv", r"in\a.csv"),
        (r"in\\*.csv", r"in\a.csv"),
        (r"\*\*/*.csv", "**/a.csv"),
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
        ("in/?/a.csv", "in//a.csv"),
        ("*" * 300 + ".csv", "in/" * 50 + "a.txt"),
        ("in/**/a.csv", "in//b.csv"),
        (r"in/\*.csv", "in/a.csv"),
        (r"in/\*.csv", r"in/\*.csv"),
        (r"in/a\?.csv", "in/ab.csv"),
        (r"\*\*/*.csv", "x/a.csv"),
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


@pytest.mark.parametrize(
    ("path", "prefix", "glob"),
    [
        (r"in/\*x/a.csv", "in/*x/a.csv", False),
        (r"in/\*x/*.csv", "in/*x/", True),
        (r"in/\\*.csv", "in/\\", True),
        (r"in\a.csv", r"in\a.csv", False),
    ],
)
def test_an_escaped_character_is_part_of_the_prefix(path: str, prefix: str, *, glob: bool) -> None:
    assert fixed_prefix(path) == prefix
    assert is_glob(path) is glob


NAMES = st.text("ab*?\\/.", min_size=1, max_size=12)


@given(NAMES, NAMES)
def test_an_escaped_name_matches_itself_and_nothing_else(name: str, other: str) -> None:
    assert matches(escaped(name), name)
    assert matches(escaped(name), other) is (name == other)
    assert not is_glob(escaped(name))
    assert fixed_prefix(escaped(name)) == name


def test_a_path_that_is_the_name_of_a_file_means_that_file() -> None:
    selection = Selection(("in/a*.csv", "in/b?.csv", "in/c.csv", r"in\\d.csv"))

    assert selection.ambiguous == ("in/a*.csv", "in/b?.csv", r"in\\d.csv")
    chosen = selection.with_names({"in/a*.csv", "in/c.csv", r"in\\d.csv"})
    names = ("in/a*.csv", "in/ab.csv", "in/b?.csv", "in/bc.csv", "in/c.csv", r"in\d.csv", r"in\\d.csv")
    assert [name for name in names if chosen.has(name)] == [
        "in/a*.csv",
        "in/b?.csv",
        "in/bc.csv",
        "in/c.csv",
        r"in\\d.csv",
    ]
    assert ("in/a*.csv", True) in set(chosen.roots())
