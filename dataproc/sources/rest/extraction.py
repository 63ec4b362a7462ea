"""The records of an answer, and the answers that a request must fail for.

A success of HTTP is not always one of the API: an error document, or a `data` of null beside the `errors` of GraphQL,
arrives with status 200. So the holder of the records must exist. Null or an empty list may stand there.
"""

from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal

import jsonpath
import msgspec
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import Filter, IndexSelector, KeysSelector, SliceSelector, WildcardSelector

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.rest import FailWhen, OffsetPaging, PagePaging, Resource
from dataproc.sources.json_values import NUMBER_STARTS, TEXT_STARTS, Raw, text_of
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.jsonpaths import LIST_START, OBJECT_START, all_at, compiled, members_of
from dataproc.sources.rest.paging import Spot, first_place
from dataproc.sources.rest.urls import shown

ITEMS = "[*]"
CHOOSING = (Filter, KeysSelector, SliceSelector, WildcardSelector)
"""Selectors that may find nothing in an existing list or object."""
NULL: Raw = b"null"


def records_of(resource: Resource, answer: Answer, body: Raw, spot: Spot) -> list[Raw]:
    """Return the records of the answer for the page at `spot`.

    Raises:
        BadDataError: a rule of `fail_when` holds, or the holder of the records does not exist.
    """
    refuse_failures(resource.fail_when, answer, body, request_label(resource, answer, spot))
    path = resource.records
    if path.endswith(ITEMS) and not path.endswith("." + ITEMS):
        return items_at(resource, answer, body, spot)
    values = all_at(path, body)
    if not values:
        demand_holder(resource, answer, body, spot)
    if values == [NULL]:
        return []
    is_list = len(values) == 1 and values[0][0] == LIST_START
    return all_at("$[*]", values[0]) if is_list else values


def items_at(resource: Resource, answer: Answer, body: Raw, spot: Spot) -> list[Raw]:
    """Return the items of the lists at a path that ends with `[*]`; null is an empty list, an object is not a list."""
    path = resource.records.removesuffix(ITEMS)
    holders = all_at(path, body)
    others = [value for value in holders if value != NULL and value[0] != LIST_START]
    # A name that is searched in all depths may also be that of another value.
    if others and (".." not in path or len(others) == len(holders)):
        hint = f"; write {path}.* to read the values of the object" if others[0][0] == OBJECT_START else ""
        found = "an object" if others[0][0] == OBJECT_START else "a text, a number or a truth value"
        label = request_label(resource, answer, spot)
        raise BadDataError(f"records: {label} has {found} at {path}, not a list{hint}; see also `fail_when`")
    if not holders:
        demand_holder(resource, answer, body, spot)
    return [item for holder in holders if holder != NULL for item in all_at("$[*]", holder)]


def demand_holder(resource: Resource, answer: Answer, body: Raw, spot: Spot) -> None:
    """Raise for an answer in which nothing holds the records; an empty list or null holds none.

    Of the path, the longest beginning that leads to a value decides. `$.groups[*].orders` is fine in `{"groups": []}`:
    the next part chooses among the items of an empty list. In `{"errors": […], "data": null}` the path `$.data.orders`
    is wrong: the next part is a name that the value does not have.
    """
    path = compiled(resource.records)
    parts = path.segments
    for count in range(len(parts) - 1, -1, -1):
        holders = all_at(str(jsonpath.JSONPath(env=path.env, segments=parts[:count])), body)
        if holders:
            if all(may_be_without_match(parts[count], value) for value in holders):
                return
            break
    lists = [name for name, value in members_of(body).items() if value[0] == LIST_START]
    there = f", but a list at {', '.join(sorted(lists))}" if lists else ""
    label = request_label(resource, answer, spot)
    msg = f"records: {label} has nothing at {resource.records}{there}; check the path, or does the answer report an"
    raise BadDataError(f"{msg} error? see `fail_when`")


def may_be_without_match(part: JSONPathSegment, holder: Raw) -> bool:
    """Return whether a part of a path may find nothing in a value: it chooses, or is an index of an empty list."""
    if isinstance(part, JSONPathRecursiveDescentSegment):
        return False
    if holder[0] == LIST_START and all(isinstance(selector, IndexSelector) for selector in part.selectors):
        return not all_at("$[*]", holder)
    is_choice = all(isinstance(selector, CHOOSING) for selector in part.selectors)
    return is_choice and (holder == NULL or holder[0] in (LIST_START, OBJECT_START))


def refuse_failures(rules: Iterable[FailWhen], answer: Answer, body: Raw, label: str) -> None:
    """Raise for an answer that a rule names as a failure."""
    for rule in rules:
        if any(is_such(value, rule.equals) for value in all_at(rule.path, body)):
            msg = f"fail_when: {label} answered {answer.status} with an error at {rule.path}; nothing of it is read"
            raise BadDataError(msg, status=answer.status)


def is_such(value: Raw, wanted: str | float | None) -> bool:
    """Return whether a value is the wanted one, type and all; with `None`, whether it is other than null."""
    if wanted is None:
        return value != NULL
    if isinstance(wanted, bool):
        return value == (b"true" if wanted else b"false")
    with suppress(msgspec.DecodeError, ArithmeticError):  # half of a surrogate pair, an exponent of 20 digits
        if isinstance(wanted, str):
            return value[0] == TEXT_STARTS and text_of(value) == wanted
        return value[0] in NUMBER_STARTS and Decimal(value.decode()) == Decimal(str(wanted))
    return False


def request_label(resource: Resource, answer: Answer, spot: Spot) -> str:
    """Return the name of a request in messages: its URL without parameters, and which page it asks for."""
    paging = resource.paging
    if isinstance(paging, PagePaging | OffsetPaging):
        return f"{shown(answer.url)} ({paging.parameter}={first_place(paging) if spot.next is None else spot.next})"
    return f"{shown(answer.url)} (page {spot.page + 1})"
