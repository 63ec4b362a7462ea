"""Fields of the replies of S3 services; services that are like S3 may leave some of them out."""

from collections.abc import Mapping
from typing import Any

from dataproc.domain.errors import BadDataError, SourceRefusedError

LISTING_FIELDS = ("Name", "Prefix", "IsTruncated", "MaxKeys", "KeyCount")
"""Fields of which every listing has some."""


def demand_field(reply: Mapping[str, Any], name: str, uri: str, noun: str = "a reply of the S3 service") -> Any:
    """Return a field of a reply about `uri`; `noun` is the name of the reply in errors.

    Raises:
        BadDataError: the reply lacks the field, or it is empty.
    """
    value = reply.get(name)
    if value is None or value == "":
        msg = f"{uri}: {noun} has no {name}, without which no object is read; is it a service like S3?"
        raise BadDataError(msg, uri=uri)
    return value


def demand_listing(reply: Mapping[str, Any], uri: str) -> None:
    """Raise `SourceRefusedError` for a reply that is not a listing, such as a page of another server.

    Without this, it would look like a bucket without objects.
    """
    if not any(name in reply for name in LISTING_FIELDS):
        msg = f"{uri}: the reply is not a listing of an S3 service; check the endpoint"
        raise SourceRefusedError(msg, uri=uri)


def next_token(reply: Mapping[str, Any], name: str, uri: str) -> Any:
    """Return the place of the next page of a listing; `None`: this is the last one.

    Raises:
        BadDataError: the page is not the last one, and the place of the next one is missing.
    """
    return demand_field(reply, name, uri, "a page of a listing") if reply.get("IsTruncated") else None
