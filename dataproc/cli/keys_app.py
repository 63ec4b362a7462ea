"""`dataproc decrypt` and `dataproc keys`: for those who hold the keys of the installation."""

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, TextIO

import typer

from dataproc.cli.arguments import AsJson, settings
from dataproc.cli.output import Output, output
from dataproc.domain.errors import DecryptionError

keys = typer.Typer(help="Make keys, and look up what was encrypted.", no_args_is_help=True)


@keys.command("new")
def new_key(
    *,
    kms: Annotated[str, typer.Option(metavar="KEY", help="The key of AWS KMS: its id, ARN or alias.")],
    as_json: AsJson = False,
) -> None:
    """Make a data key that only a key of AWS KMS can decrypt, for DATAPROC_ENCRYPTION_KEYS."""
    from dataproc.security.data_keys import new_data_key

    with output(as_json=as_json) as out:
        reference = new_data_key(kms)
        out.show({"key": reference}, reference)


@keys.command("index")
def blind_index(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The column of the blind index.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give the blind index of each value on standard input, one a line, to look rows up by."""
    from dataproc.bootstrap import open_cipher

    with output(as_json=as_json) as out:
        cipher = open_cipher(settings())
        answer_lines(out, lambda line: cipher.blind_index([line], name)[0])


def decrypt(*, as_json: AsJson = False) -> None:
    """Decrypt the values on standard input, one a line, with the keys of DATAPROC_ENCRYPTION_KEYS."""
    from dataproc.bootstrap import open_cipher

    with output(as_json=as_json) as out:
        cipher = open_cipher(settings())
        cipher.demand("to decrypt")
        answer_lines(out, lambda line: cipher.decrypt(line).decode(errors="backslashreplace") if line else "")


def answer_lines(out: Output, answer: Callable[[str], str]) -> None:
    """Answer each line of standard input with a line, at once; for programs with one list."""
    found = answers(sys.stdin, answer)
    if out.as_json:
        out.show(list(found))
        return
    for each in found:
        typer.echo(each)


def answers(lines: TextIO, answer: Callable[[str], str]) -> Iterator[str]:
    """Yield the answer to each line; an error tells which one it was."""
    for number, line in enumerate(lines, 1):
        try:
            yield answer(line.rstrip("\r\n"))
        except DecryptionError as exc:
            raise DecryptionError(f"line {number}: {exc}", **exc.context) from exc
