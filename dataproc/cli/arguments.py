"""What commands have in common: their arguments, and what they read from the environment and from files."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from dataproc.domain.errors import InvalidSpecError, SetupError
from dataproc.settings import Settings

SpecFile = Annotated[Path, typer.Argument(metavar="FILE", help="A job in YAML or JSON; - reads standard input.")]
Api = Annotated[str | None, typer.Option("--api", metavar="URL", help="Where the API is; else DATAPROC_API_URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on standard output.")]
ReplayFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A job in YAML or JSON, without its source; - reads standard input.")
]
RuleOption = Annotated[str | None, typer.Option("--rule", help="Only rows that broke this rule.")]
ColumnOption = Annotated[str | None, typer.Option("--column", help="Only rows in which this column broke a rule.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job ends; Ctrl-C leaves it running.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency-Key: the same key gives the same job.")]
JobArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The id of a job.")]


class FileFormat(StrEnum):
    """What all rejects of a job can be taken away as."""

    CSV = "csv"
    NDJSON = "ndjson"


def settings() -> Settings:
    """Return the settings of the environment; a wrong one is named, never shown."""
    try:
        return Settings()
    except ValidationError as exc:
        wrong = "; ".join(f"{variable_of(error['loc'])}: {error['msg']}" for error in exc.errors(include_input=False))
        raise SetupError(f"the environment has wrong settings: {wrong}", setting=wrong) from exc


def variable_of(place: tuple[int | str, ...]) -> str:
    """Return the environment variable of a setting."""
    name = str(place[0]) if place else ""
    return name if name.isupper() else f"DATAPROC_{name.upper()}"


def text_of(file: Path) -> str:
    """Return what a file, or standard input, holds."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidSpecError(f"{file} is no UTF-8 text; write the job in YAML or JSON") from exc
    except OSError as exc:
        raise InvalidSpecError(f"{file} cannot be read: {exc.strerror}; name a file with a job") from exc
