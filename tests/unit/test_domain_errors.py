"""The tree of errors: as it is drawn, and fit to travel between processes."""

import inspect
import pickle
import re

import pytest

from dataproc.domain import errors
from dataproc.domain.errors import (
    DataprocError,
    FatalError,
    InvalidSpecError,
    Problem,
    RequestError,
    RetryableError,
    SourceNotFoundError,
    StoppedError,
)

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, DataprocError)]
GROUPS = (RequestError, RetryableError, FatalError, StoppedError)


def drawn() -> list[tuple[int, str]]:
    """Return the depth and the name of every class in the drawing."""
    lines = re.findall(r"^([│├└─ ]*)(\w+Error)\b", inspect.getdoc(errors) or "", re.MULTILINE)
    return [(len(indent) // 4, name) for indent, name in lines]


def test_the_drawing_shows_the_classes_that_exist_under_their_parents() -> None:
    parents: list[str] = []
    shown = set()
    for depth, name in drawn():
        parents[depth:] = [name]
        shown.add((parents[depth - 1] if depth else "Exception", name))

    assert shown == {(cls.__base__.__name__, cls.__name__) for cls in CLASSES if cls.__base__}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_in_exactly_one_group(cls: type[DataprocError]) -> None:
    assert cls is DataprocError or sum(issubclass(cls, group) for group in GROUPS) == 1


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_travels_with_its_message_and_context(cls: type[DataprocError]) -> None:
    error = cls("the bucket is gone", bucket="lake", attempt=2)

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is cls
    assert (str(copy), copy.context) == ("the bucket is gone", {"bucket": "lake", "attempt": 2})


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_without_a_message_says_what_its_class_means(cls: type[DataprocError]) -> None:
    assert str(cls()) == (cls.__doc__ or "").partition("\n")[0]
    assert str(cls())


def test_problems_travel_with_an_invalid_specification() -> None:
    problem = Problem("/source/path", "add it", 2, 9)

    copy = pickle.loads(pickle.dumps(InvalidSpecError("wrong", (problem,))))  # noqa: S301 - our own bytes

    assert copy.problems == (problem,)


def test_codes_are_stable_names_and_no_two_are_equal() -> None:
    codes = [cls().code for cls in CLASSES]

    assert SourceNotFoundError().code == "source-not-found"
    assert len(set(codes)) == len(CLASSES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
