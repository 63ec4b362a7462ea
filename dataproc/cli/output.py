"""What a command says: to people on a terminal, or one JSON document for programs."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from dataproc.cli.exit_codes import exit_code_of
from dataproc.domain.errors import DataprocError, InvalidSpecError, Problem

WIDE = 10_000
"""Columns where nobody says how many there are: a line that is piped must not be broken."""


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output for the answer, standard error for all else; with `as_json` the answer is one document."""

    as_json: bool
    answer: Console
    aside: Console

    def show(self, document: object, *people_see: RenderableType) -> None:
        """Give the answer: `document` to programs, the rest to people."""
        if self.as_json:
            self.answer.file.write(json.dumps(document, indent=2, default=str) + "\n")
            return
        for part in people_see:
            self.answer.print(part)

    def say(self, text: str) -> None:
        """Say something that is not the answer, on a line of its own."""
        self.aside.print(shown(text), soft_wrap=True)

    def fail(self, exc: DataprocError) -> None:
        """Say what went wrong, with every mistake."""
        problems = exc.problems if isinstance(exc, InvalidSpecError) else ()
        if self.as_json:
            self.show(failure_document(exc, problems))
            return
        for problem in problems:
            self.say(problem_line(problem))
        if not problems:
            self.say(str(exc))


@contextmanager
def output(*, as_json: bool) -> Iterator[Output]:
    """Give the output of a command; an error of ours is said there and becomes the exit code."""
    out = Output(as_json, console(sys.stdout), console(sys.stderr))
    try:
        yield out
    except DataprocError as exc:
        out.fail(exc)
        raise typer.Exit(exit_code_of(exc)) from exc


def console(file: TextIO) -> Console:
    """Return a console on `file`, wide where there is no terminal."""
    width = None if file.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def shown(text: str) -> Text:
    """Return `text` as it stands, without what a terminal would obey: it may come from a document or a server."""
    return Text("".join(char if char.isprintable() or char == "\n" else "�" for char in text))


def problem_line(problem: Problem) -> str:
    """Return a mistake as a line: its place, its pointer, what to do."""
    place = "" if problem.line is None else f"{problem.line}:{problem.column} "
    pointer = f"{problem.pointer}: " if problem.pointer else ""
    return f"{place}{pointer}{problem.message}"


def failure_document(exc: DataprocError, problems: tuple[Problem, ...]) -> dict[str, object]:
    """Return an error as a document, with the members that the API's problem documents have."""
    members: dict[str, object] = {"code": exc.context.get("told_code") or exc.code, "detail": str(exc)}
    if problems:
        members["errors"] = [as_member(problem) for problem in problems]
    return members


def as_member(problem: Problem) -> dict[str, object]:
    """Return one mistake, for the document's `errors`."""
    place = {"line": problem.line, "column": problem.column}
    told = {key: value for key, value in place.items() if value is not None}
    return {"pointer": problem.pointer, "detail": problem.message, **told}
