"""URLs: put together, kept to the hosts of a connection, and shown without what may be secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

from dataproc.domain.errors import ContractViolationError, SourceRefusedError

PORTS = {"http": 80, "https": 443}
AS_IT_IS = "/?#[]@!$&'()*+,;=:%-._~"
"""Characters that URLs have; others are written in hexadecimal digits."""
HOST = re.compile(r"(?:[^\s/?#@*\\:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: what credentials are bound to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return it as the host that requests name."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else host_and_port(self.host, self.port)


def origin_of(url: str) -> Origin:
    """Return the server of a URL; refuse what names none, or holds a user."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise SourceRefusedError("a URL of the API cannot be read; nothing was sent") from exc
    if parts.scheme not in PORTS or not host:
        raise SourceRefusedError("the API leads to what is no http:// or https:// URL; nothing was sent")
    if parts.username is not None or parts.password is not None:
        raise SourceRefusedError(f"the API leads to a URL with a user or password in it, on {host}; nothing was sent")
    return Origin(parts.scheme, host.rstrip("."), port or PORTS[parts.scheme])


def checked_address(url: str, field: str) -> str:
    """Return an address that a person wrote, or raise `ValueError` with what is wrong."""
    try:
        origin_of(url)
    except SourceRefusedError as exc:
        msg = f"{field}: write it as https://host/path, without user and password"
        raise ValueError(msg) from exc
    if not url.isascii() or any(ord(char) <= ord(" ") or char in "\\?#" for char in url):
        msg = f"{field}: leave out spaces, backslashes, ? and #, and write other characters as URLs do"
        raise ValueError(msg)
    return url


def checked_host(text: str) -> str:
    """Return an entry of `hosts` as it is compared, or raise `ValueError` with what is wrong."""
    bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    msg = f"hosts: {text!r} is not a host; write its name alone (api.example.com) or with a port (api.example.com:8443)"
    if not HOST.fullmatch(bare):
        raise ValueError(msg)
    try:
        parts = urlsplit(f"//{bare}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as exc:
        raise ValueError(msg) from exc
    return host if port is None else host_and_port(host, port)


def host_and_port(host: str, port: int) -> str:
    """Return a host with a port; an IPv6 address is in brackets there."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def led_to(url: str, following: str, hosts: frozenset[str], home: Origin) -> str:
    """Return the URL that an answer leads to, or refuse one that is outside the connection."""
    if any(ord(char) <= ord(" ") or char == "\\" for char in following):
        raise SourceRefusedError("the API leads to a URL with a space or backslash in it; nothing was sent")
    found = urljoin(url, following)
    origin = origin_of(found)
    names = {origin.host, host_and_port(origin.host, origin.port)}
    if origin.host != home.host and not names & hosts:
        msg = f"the API leads to host {str(origin)!r}, which the connection does not list; add it to `hosts` if right"
        raise SourceRefusedError(msg, host=origin.host)
    if origin.scheme == "http" and urlsplit(url).scheme == "https":
        raise SourceRefusedError(f"the API leads from https:// to http:// on {origin.host}; nothing was sent")
    return quote(urlunsplit(urlsplit(found)._replace(fragment="")), safe=AS_IT_IS)


def filled(path: str, values: Mapping[str, object]) -> str:
    """Return a path with the values of a parent in it."""
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text in ("", ".", "..") or not isinstance(value, str | int | float):
            raise ContractViolationError(f"parents/bind/{name}: a parent has a value that cannot stand in a path")
        path = path.replace(f"{{{name}}}", quote(text, safe=""))
    return quote(path, safe=AS_IT_IS)


def with_query(url: str, pairs: Pairs, *, without: frozenset[str] = frozenset()) -> str:
    """Return a URL with parameters put in place of those of the same name."""
    parts = urlsplit(url)
    gone = without | {name for name, _ in pairs}
    if not gone:
        return url
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in gone]
    return urlunsplit(parts._replace(query=urlencode([*kept, *pairs])))


def shown(url: str) -> str:
    """Return a URL as messages may show it: without parameters."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
