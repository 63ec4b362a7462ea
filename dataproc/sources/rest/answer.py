"""What an API answers: bounded, and of a type that holds JSON."""

import codecs
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message

import msgspec

from dataproc.domain.errors import BadDataError
from dataproc.sources.json_values import Raw, problem_of
from dataproc.sources.rest.jsonpaths import value_of
from dataproc.sources.rest.urls import shown

GZIP = 16 + zlib.MAX_WBITS
PLENTY = 1024 * 1024
"""Bytes that a step of decompression gives at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `url` is what was asked for, without credentials."""

    url: str = field(repr=False)
    status: int
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """Return the last header of a name."""
        values = self.headers.get(name.lower())
        return values[-1] if values else None

    @property
    def sent_at(self) -> datetime | None:
        """When the server says that it sent this."""
        return moment(self.header("date"))

    def json_text(self, content_types: Iterable[str] = ()) -> Raw:
        """Return the value that the body holds, as its characters in UTF-8.

        Raises:
            BadDataError: the body is not JSON, of another content type, or of an unknown charset.
        """
        text = self.text(content_types)
        try:
            return value_of(text)
        except (msgspec.DecodeError, RecursionError) as exc:
            problem = problem_of(text, exc) if isinstance(exc, msgspec.DecodeError) else "it is nested too deep"
            raise BadDataError(
                f"{shown(self.url)} answered text that is not JSON: {problem}", status=self.status
            ) from exc

    def text(self, content_types: Iterable[str]) -> bytes:
        """Return the body in UTF-8, if its type is right and its charset is known."""
        said = Message()
        said["content-type"] = self.header("content-type") or ""
        kind = said.get_content_type() if self.header("content-type") else "nothing"
        if not (kind in ("application/json", "text/json", *content_types) or kind.endswith("+json")):
            msg = f"{shown(self.url)} answered {kind}, not JSON; is the path right? else add it to `content_types`"
            raise BadDataError(msg, status=self.status)
        charset = str(said.get_param("charset") or "utf-8").strip().lower()
        try:
            codec = "utf-8-sig" if charset in ("utf-8", "utf8", "us-ascii") else codecs.lookup(charset).name
            return self.body.decode(codec).encode()
        except (LookupError, UnicodeError) as exc:
            raise BadDataError(f"{shown(self.url)} answered text that is not {charset[:40]!r}") from exc


def moment(text: str | None) -> datetime | None:
    """Return an HTTP date; `None` for what is none."""
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
        try:
            return datetime.strptime((text or "").strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, Sequence[str]]:
    """Return headers by their names in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in raw:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def bounded(parts: Iterable[bytes], encoding: str | None, largest: int, url: str) -> bytes:
    """Return a body, decompressed; refuse one that is too large before it is in memory."""
    body = bytearray()
    for part in decoded(parts, encoding, url):
        body += part
        if len(body) > largest:
            msg = f"{shown(url)} answered more than {largest:,} bytes; ask for smaller pages, or raise `max_body`"
            raise BadDataError(msg)
    return bytes(body)


def decoded(parts: Iterable[bytes], encoding: str | None, url: str) -> Iterator[bytes]:
    """Yield the bytes of a body as they were before compression, in steps of bounded size."""
    named = (encoding or "identity").strip().lower()
    if named == "identity":
        yield from parts
        return
    if named not in ("gzip", "x-gzip"):
        raise BadDataError(f"{shown(url)} answered with the encoding {named[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(GZIP)
    try:
        for part in parts:
            rest = part
            while rest:
                yield unpacker.decompress(rest, PLENTY)
                rest = unpacker.unconsumed_tail
    except zlib.error as exc:
        raise BadDataError(f"{shown(url)} answered gzip that cannot be read") from exc
    if not unpacker.eof:
        raise BadDataError(f"{shown(url)} answered gzip that breaks off")
