"""Comment lines of CSV files, left out before anything else looks at the text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.lines import LONGEST_LINE, last_line_end
from dataproc.sources.files.quoting import masked


def without_comments(parts: Iterable[bytes], options: CsvOptions) -> Iterator[bytes]:
    """Yield the parts of a text that begins with a record, without the lines that are comments."""
    if options.comment is None:
        yield from parts
        return
    remover = CommentRemover(options, options.comment.encode())
    for part in parts:
        yield remover.kept(part)
    yield remover.rest()


@dataclass(slots=True)
class CommentRemover:
    """Removes comments from text that comes in parts; a line within quotes is never one."""

    options: CsvOptions
    sign: bytes
    held: bytes = field(default=b"", init=False)
    is_open: bool = field(default=False, init=False)

    def kept(self, part: bytes) -> bytes:
        """Return what is left of the lines that are whole; the last one is held until its end has come."""
        text = self.held + part
        plain = masked(text, self.options)
        end = last_line_end(plain) or len(text) * (len(text) > LONGEST_LINE)
        self.held = text[end:]
        kept: list[bytes] = []
        begin = counted = 0
        at = 0 if plain.startswith(self.sign) else self.next_line(plain, 0)
        while 0 <= at < end:
            self.count(plain, counted, at)
            counted = stop = at
            if not self.is_open:
                stop = text.find(b"\n", at) + 1 or end
                kept.append(text[begin:at])
                begin = counted = stop
            at = self.next_line(plain, max(stop - 1, 0) if stop > at else at)
        self.count(plain, counted, end)
        return b"".join([*kept, text[begin:end]])

    def next_line(self, plain: bytes, after: int) -> int:
        """Return where the next line begins that looks like a comment; -1: nowhere."""
        found = plain.find(b"\n" + self.sign, after)
        return -1 if found < 0 else found + 1

    def count(self, plain: bytes, start: int, stop: int) -> None:
        """Note whether a quote is open at `stop`."""
        if self.options.quote is not None:
            self.is_open ^= bool(plain.count(self.options.quote.encode(), start, stop) % 2)

    def rest(self) -> bytes:
        """Return the last line, which has no end, unless it is a comment."""
        return b"" if not self.is_open and self.held.startswith(self.sign) else self.held
