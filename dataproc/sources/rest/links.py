"""Web Linking: the header `Link` (RFC 8288, section 3), parsed as its appendix B describes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

TARGET = re.compile(r"[ \t,]*<([^>]*)>")
PARAMETER = re.compile(r"[ \t]*;[ \t]*([^ \t=;,]*)[ \t]*")
QUOTED = re.compile(r'=[ \t]*"((?:[^"\\]|\\.)*)"?')
TOKEN = re.compile(r"=[ \t]*([^;,]*)")
ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Link:
    """A link: the URL that it leads to, and its parameters, of which the first of a name counts."""

    target: str
    parameters: dict[str, str]

    @property
    def relations(self) -> frozenset[str]:
        """The relations that the link has; their names have no case."""
        return frozenset(self.parameters.get("rel", "").lower().split())

    def starts_at(self, url: str) -> bool:
        """Return whether the link is one of the answer from `url`; a parameter `anchor` names another resource."""
        anchor = self.parameters.get("anchor")
        return anchor is None or urldefrag(urljoin(url, anchor)).url == urldefrag(url).url


def next_link(headers: Iterable[str], url: str) -> str | None:
    """Return the URL of the relation `next` in the headers of the answer from `url`; `None`: no link has it."""
    links = (link for header in headers for link in links_in(header))
    return next((link.target for link in links if "next" in link.relations and link.starts_at(url)), None)


def links_in(header: str) -> Iterator[Link]:
    """Yield the links of a header up to text that is not a link.

    For example, `<a,b>; rel="next"; title="x, <y>"` is one link to `a,b`.
    """
    at = 0
    while (target := TARGET.match(header, at)) is not None:
        parameters = dict[str, str]()
        at = target.end()
        while (named := PARAMETER.match(header, at)) is not None:
            value, at = value_at(header, named.end())
            parameters.setdefault(named[1].lower(), value)
        yield Link(target[1], parameters)
        at = len(header) if header[at:].lstrip(" \t")[:1] not in ("", ",") else at


def value_at(header: str, at: int) -> tuple[str, int]:
    """Return the value of a parameter whose name ends at a place, and where the value ends; it may have none."""
    if quoted := QUOTED.match(header, at):
        return ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    if token := TOKEN.match(header, at):
        return token[1].strip(" \t"), token.end()
    return "", at
