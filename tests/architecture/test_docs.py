"""Documents that describe code say what the code says."""

import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from dataproc.domain import errors
from dataproc.domain.document import read_spec
from dataproc.domain.errors import DataprocError, FatalError, RequestError, RetryableError, StoppedError
from dataproc.domain.status import RunStatus
from dataproc.settings import Settings
from serve_app.errors import status_of

DOCS = Path(__file__).parents[2] / "docs"
GROUPS = (RequestError, RetryableError, FatalError, StoppedError)


def table(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first line begins with `heading`."""
    lines = (DOCS / document).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def errors_as_they_are() -> list[list[str]]:
    """Return the cells of every error, in the order of the drawing."""
    classes: dict[str, type[DataprocError]] = vars(errors)
    drawn = re.findall(r"^[│├└─ ]+(\w+Error)\b", inspect.getdoc(errors) or "", re.MULTILINE)
    return [error_row(classes[name]) for name in drawn]


def error_row(cls: type[DataprocError]) -> list[str]:
    group = next(group for group in GROUPS if issubclass(cls, group))
    return [f"`{cls.__name__}`", f"`{cls().code}`", f"`{group.__name__}`", str(cls()), str(int(status_of(cls())))]


def settings_as_they_are() -> list[list[str]]:
    """Return name, default and meaning of every setting."""
    return [
        [f"`{field.validation_alias or f'DATAPROC_{name.upper()}'}`", default_of(field), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]


def default_of(field: FieldInfo) -> str:
    match field.default:
        case None | ():
            return "-"
        case timedelta() as length:
            return f"`{length.total_seconds():g}` s"
        case value:
            return f"`{value}`"


def test_the_table_of_errors_is_that_of_the_code() -> None:
    assert table("errors.md", "error") == errors_as_they_are()


def test_the_groups_of_errors_are_those_of_the_code() -> None:
    assert [row[0] for row in table("errors.md", "group")] == [f"`{group.__name__}`" for group in GROUPS]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert table("settings.md", "setting") == settings_as_they_are()


def test_the_table_of_moves_is_that_of_the_code() -> None:
    moves = {status.value: ", ".join(new for new in RunStatus if status.may_become(new)) or "-" for status in RunStatus}

    assert dict(table("state-machine.md", "from")) == moves


def test_the_drawing_of_the_states_shows_every_status_and_only_moves_that_exist() -> None:
    text = (DOCS / "state-machine.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^    ([A-Z]+) --> ([A-Z]+)", text, re.MULTILINE)

    assert {name for move in drawn for name in move} == set(RunStatus)
    assert [move for move in drawn if not RunStatus(move[0]).may_become(RunStatus(move[1]))] == []


PAGES = {
    "README": {"database"},
    "database": {"database"},
    "external": {"dlt", "plugin"},
    "files": {"files"},
    "rest": {"rest"},
    "s3": {"s3"},
}
"""The kinds of sources that each page is about."""


def examples() -> list[tuple[str, str]]:
    """Return the jobs that the pages about sources show, each with the name of its page."""
    pages = sorted((DOCS / "sources").glob("*.md"))
    found = [
        (page.stem, text) for page in pages for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    return [(page, text) for page, text in found if "destination:" in text]


def test_every_page_about_sources_shows_a_job() -> None:
    assert {page for page, _ in examples()} == {path.stem for path in (DOCS / "sources").glob("*.md")} == set(PAGES)


@pytest.mark.parametrize(("page", "text"), examples())
def test_every_job_that_a_page_about_sources_shows_is_right_and_of_its_kind(page: str, text: str) -> None:
    assert read_spec(text).source.kind in PAGES[page]
