"""How the text files of a run are read where the specification leaves it open: found from the first file with content.

The choice holds for all files of the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from dataproc.domain.sources.files import FileOptions
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.dialects import Found, delimiter_of
from dataproc.sources.files.encodings import AUTO
from dataproc.sources.files.formats import FormatName, readable
from dataproc.sources.files.lines import BOM, LOOK, Head, TextForm
from dataproc.sources.files.storage import Files, FoundFile
from dataproc.sources.json_values import BadLineError, is_json, object_of

LINES = 10
"""Lines after a first one that is not an object which may show that a file holds JSON Lines."""
SIGN_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The format of the files of a run, the sign between the cells of CSV, and sentences on what was chosen."""

    format: FormatName
    delimiter: str = ","
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """Looks at the start of files; a damaged one is passed over where the job tolerates that."""

    storage: Files
    options: FileOptions
    form: TextForm

    def dialect(self, name: FormatName, files: Sequence[FoundFile]) -> Dialect:
        """Return how files are read of which the names, or the specification, say that they have a format."""
        filled = [file for file in files if file.size]
        match name:
            case "csv":
                return self.of_csv(filled)
            case "json" | "jsonl" if self.options.format == "auto" and not self.options.records:
                return self.of_json(name, filled)
            case _:
                return Dialect(name)

    def of_csv(self, files: Sequence[FoundFile]) -> Dialect:
        """Return the sign between the cells, found from the first file that has a record."""
        options = self.options.csv
        first: Dialect | None = None
        for file in files:
            head = self.head(file, "csv", partial(self.form.known_head, has_record=self.has_lines))
            found = (
                delimiter_of(head, options, file.uri)
                if options.delimiter == "auto"
                else Found(options.delimiter, has_records=True)
            )
            if found is None:
                continue
            dialect = Dialect("csv", found.sign, self.choices(file, head, found))
            if found.has_records:
                return dialect
            first = first or dialect
        return first or Dialect("csv", "," if options.delimiter == "auto" else options.delimiter)

    def choices(self, file: FoundFile, head: Head, chosen: Found) -> tuple[str, ...]:
        """Return the sentence on what was found."""
        found = []
        if self.options.csv.delimiter == "auto":
            found.append(
                "each line is one cell" if chosen.is_one_column else f"cells are separated by {SIGN_NAMES[chosen.sign]}"
            )
        if self.options.encoding == AUTO:
            found.append(f"the encoding is {head.encoding}")
        return (f"CSV: {', '.join(found)}, as in {file.uri}",) if found else ()

    def of_json(self, name: FormatName, files: Sequence[FoundFile]) -> Dialect:
        """Return whether files hold JSON Lines, or one array or object, as the first one with content does."""
        for file in files:
            head = self.head(file, name, partial(self.form.head, size=LOOK, has_record=shows_json_format))
            if start_of(head.text).strip() not in (b"", b"[]"):
                found = json_format(head, name)
                what = "JSON Lines" if found == "jsonl" else "one array or object of JSON"
                return Dialect(found, choices=() if found == name else (f"{file.uri} holds {what}",))
        return Dialect(name)

    def has_lines(self, text: bytes) -> bool:
        """Return whether a text has a header and a record, or two records, if no cell has a newline."""
        return text.count(b"\n") > self.options.csv.skip + 1

    def head(self, file: FoundFile, name: FormatName, read: Callable[[Files, FoundFile], Head]) -> Head:
        """Return the start of the text of a file."""

        def head() -> Head:
            with readable(file.uri, name):
                return read(self.storage, file)

        nothing = Head(b"", self.form.expected, is_whole=True)
        return Tolerance(self.options.on_bad_file == "skip").attempt(head, lambda _: nothing)


def start_of(text: bytes) -> bytes:
    """Return a text from its first character that is not white space."""
    return text.removeprefix(BOM).lstrip()


def shows_json_format(text: bytes) -> bool:
    """Return whether the start of a file has a whole line, if that decides how the file is read."""
    start = start_of(text)
    return b"\n" in start or not start.startswith(b"{")


def json_format(head: Head, name: FormatName) -> FormatName:
    """Return the format of a JSON file: lines if its first line is an object, else one value.

    A first line that is longer than the head does not show it; such a file has the format of its name.
    """
    start = start_of(head.text)
    first, _, others = start.partition(b"\n")
    if start.startswith(b"["):
        return name if name == "jsonl" and is_json(first) and others.strip() else "json"
    if not others and not head.is_whole:
        return name
    lines = [first, *(line for line in islice(others.split(b"\n"), LINES) if first.rstrip().endswith(b"}"))]
    if any(map(is_object, lines)):
        return "jsonl"
    return "json" if start.startswith(b"{") and name == "json" else name


def is_object(line: bytes) -> bool:
    """Return whether a line is an object of JSON."""
    try:
        object_of(line)
    except BadLineError:
        return False
    return True
