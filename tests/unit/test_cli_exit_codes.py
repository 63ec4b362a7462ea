"""The exit codes: documented, shown by `--help`, and what each error becomes."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dataproc.cli.api_client import ApiUnavailableError, RefusedError
from dataproc.cli.app import app
from dataproc.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from dataproc.domain.errors import (
    ContractViolationError,
    DataprocError,
    InvalidSpecError,
    NotFoundError,
    SetupError,
    WarehouseUnavailableError,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def documented(heading: str) -> dict[str, str]:
    """Return the two columns of the table below `heading`."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"| {heading} |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", text.partition("---|\n")[2], re.MULTILINE))


def in_one_line(text: str) -> str:
    return re.sub(r"[\s│]+", " ", text.replace("`", ""))


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    assert documented("code") == {str(code.value): meaning for code, meaning in MEANINGS.items()}


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_help_shows_every_exit_code() -> None:
    shown = in_one_line(CliRunner().invoke(app, ["--help"]).stdout)

    assert [code for code, meaning in MEANINGS.items() if in_one_line(f"{code.value}: {meaning}") not in shown] == []


def test_the_table_of_commands_is_that_of_the_code() -> None:
    told = documented("command")

    shown = {f"`dataproc {' '.join(words)}`": in_one_line(CliRunner().invoke(app, [*words, "--help"]).stdout)
             for words in commands()}  # fmt: skip
    assert set(told) == set(shown)
    assert [name for name, meaning in told.items() if meaning not in shown[name]] == []


def commands() -> list[list[str]]:
    """Return every command, as its words."""
    names = [[each.name or getattr(each.callback, "__name__", "")] for each in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += [[group.name or "", each.name or ""] for each in group.typer_instance.registered_commands]
    return names


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidSpecError(), ExitCode.WRONG),
        (SetupError("DATAPROC_METADATA_URL is not set", setting="DATAPROC_METADATA_URL"), ExitCode.WRONG),
        (SetupError("the warehouse runs PostgreSQL 12"), ExitCode.FAILED),
        (ContractViolationError(), ExitCode.FAILED),
        (WarehouseUnavailableError(), ExitCode.NO_ANSWER),
        (ApiUnavailableError(), ExitCode.NO_ANSWER),
        (NotFoundError(), ExitCode.REFUSED),
        (RefusedError(), ExitCode.REFUSED),
    ],
)
def test_an_error_becomes_the_exit_code_that_says_what_to_do(error: DataprocError, code: ExitCode) -> None:
    assert exit_code_of(error) is code
