"""REST APIs: what a job says of one; hosts, secrets and limits are those of its connection."""

import re
from typing import Annotated, Literal

import jsonpath
from pydantic import AfterValidator, Field, FiniteFloat, JsonValue, StrictInt, model_validator

from dataproc.domain.fields import ColumnName, Name, NewColumn, Spec
from dataproc.domain.memory import CursorKind, order_of
from dataproc.domain.rules import ColumnType
from dataproc.domain.sources.incremental import Incremental
from dataproc.domain.sources.personal import Personal

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def known_path(text: str) -> str:
    """Return `text` if it is a JSONPath."""
    try:
        made = jsonpath.compile(text)
    except (jsonpath.JSONPathError, RecursionError) as exc:
        msg = f"{text!r} is no JSONPath: {str(exc).splitlines()[0]}; write it like $.data[*]"
        raise ValueError(msg) from exc
    if not isinstance(made, jsonpath.JSONPath):
        msg = f"{text!r} joins several JSONPaths; write one of them"
        raise ValueError(msg)  # noqa: TRY004 - pydantic wants a ValueError
    return text


JsonPath = Annotated[str, AfterValidator(known_path), Field(max_length=512, examples=["$.data[*]"])]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$", examples=["X-Next-Cursor"])]
HeaderText = Annotated[str, Field(max_length=8192, pattern=r"^[\x20-\x7e]*$")]
ApiPath = Annotated[
    str,
    Field(
        max_length=1024,
        pattern=r"^/(?:$|[^/\\\s?#\x00-\x1f][^\\\s?#\x00-\x1f]*$)",
        description="Path below the connection's address; `{name}` stands for a value of the parent.",
        examples=["/orders"],
    ),
]
Parameter = str | bool | int | FiniteFloat
Place = Annotated[
    Literal["query", "body"], Field(description="Where the parameter goes; in a body, dots lead into its objects.")
]


class Total(Spec):
    """Where an answer says how much there is."""

    path: JsonPath | None = Field(default=None, description="JSONPath in the answer.")
    header: HeaderName | None = Field(default=None, description="Header of the answer.")
    counts: Literal["records", "pages"] = Field(default="records", description="What the number counts.")
    exact: bool = Field(
        default=True, description="Compare it with what is read; `false`: only plan by it, and read on to the end."
    )

    @model_validator(mode="after")
    def is_in_one_place(self) -> "Total":
        """Refuse no place, and two."""
        if (self.path is None) == (self.header is None):
            msg = "write path or header, one of them"
            raise ValueError(msg)
        return self


class NoPaging(Spec):
    """All records come with one answer."""

    kind: Literal["none"] = "none"
    total: Total | None = None


class PagePaging(Spec):
    """Pages have numbers."""

    kind: Literal["page"]
    parameter: str = Field(default="page", min_length=1)
    place: Place = "query"
    first: int = Field(default=1, ge=0, le=1, description="The number of the first page.")
    size_parameter: str | None = Field(default=None, description="Parameter that asks for a size of pages.")
    size: int = Field(default=100, ge=1, le=100_000)
    total: Total | None = Field(default=None, description="With it, pages are read in parallel.")


class OffsetPaging(Spec):
    """Pages begin at an offset, counted in records."""

    kind: Literal["offset"]
    parameter: str = Field(default="offset", min_length=1)
    place: Place = "query"
    size_parameter: str | None = Field(default="limit", description="Parameter that asks for a size of pages.")
    size: int = Field(default=100, ge=1, le=100_000)
    total: Total | None = Field(default=None, description="With it, pages are read in parallel.")


Ends = Annotated[
    tuple[str | StrictInt, ...],
    Field(max_length=20, description="Values that end the pages, besides null, false and an empty text."),
]


class CursorPaging(Spec):
    """Each answer holds the cursor of the next page, in its body or in a header."""

    kind: Literal["cursor"]
    next: JsonPath | None = Field(default=None, description="Where the cursor is in the body.")
    header: HeaderName | None = Field(default=None, description="The header that holds the cursor.")
    parameter: str = Field(default="cursor", min_length=1)
    place: Place = "query"
    ends: Ends = ()
    total: Total | None = None

    @model_validator(mode="after")
    def is_in_one_place(self) -> "CursorPaging":
        """Refuse no place, and two."""
        if (self.next is None) == (self.header is None):
            msg = "write next or header, one of them"
            raise ValueError(msg)
        return self


class LinkPaging(Spec):
    """The header `Link` of each answer leads to the next page (`rel="next"`)."""

    kind: Literal["link"]
    total: Total | None = None


class NextUrlPaging(Spec):
    """The body of each answer holds the URL of the next page."""

    kind: Literal["next_url"]
    next: JsonPath = Field(description="Where the URL is in the body.")
    ends: Ends = ()
    total: Total | None = None


Paging = Annotated[
    NoPaging | PagePaging | OffsetPaging | CursorPaging | LinkPaging | NextUrlPaging, Field(discriminator="kind")
]


class FailWhen(Spec):
    """An answer with a status of success that reports an error."""

    path: JsonPath = Field(description="JSONPath of the sign of an error in an answer.")
    equals: str | bool | int | FiniteFloat | None = Field(
        default=None, description="The value that means an error; none: any value but null does."
    )


class Resource(Spec):
    """What is asked for, and where its records are."""

    path: ApiPath
    method: Literal["GET", "POST"] = "GET"
    query: dict[str, Parameter] = Field(default={}, description="Parameters of every request.")
    headers: dict[HeaderName, HeaderText] = Field(
        default={}, description="Headers of every request; never credentials."
    )
    body: dict[str, JsonValue] | None = Field(default=None, description="JSON body of every request, for POST.")
    idempotent: bool = Field(
        default=False, description="A POST that only reads: a failed request of it may be sent again."
    )
    records: JsonPath = Field(
        default="$", description="JSONPath of the records in an answer; their holder must exist in each answer."
    )
    fail_when: list[FailWhen] = Field(
        default=[], max_length=20, description="Answers with status 200 that report an error: the run fails."
    )
    paging: Paging = NoPaging()
    max_pages: int = Field(default=10_000, ge=1, le=1_000_000, description="More pages than this are an error.")

    @model_validator(mode="after")
    def makes_sense(self) -> "Resource":
        """Refuse what no request could carry, and headers that would hold or steer credentials."""
        if {".", ".."} & set(self.path.split("/")):
            msg = "path: leave out . and .. between slashes"
            raise ValueError(msg)
        if self.method == "GET" and (self.body is not None or getattr(self.paging, "place", "query") == "body"):
            msg = "a body goes with `method: POST`"
            raise ValueError(msg)
        for name in self.headers:
            if name.lower() in RESERVED:
                msg = f"headers: {name} is not for jobs; credentials belong into the connection"
                raise ValueError(msg)
        return self


RESERVED = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "host", "content-length", "transfer-encoding", "connection",
        "accept-encoding", "te", "upgrade", "expect",
    }
)  # fmt: skip


class Parents(Resource):
    """Records of another resource: for each of them, the path is read with its values."""

    bind: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], JsonPath] = Field(
        min_length=1, description="Name in the path to where the value is in a parent."
    )
    carry: dict[NewColumn, JsonPath] = Field(
        default={}, description="Column to where its value is in a parent; put into every row of that parent."
    )
    missing: Literal["fail", "skip"] = Field(
        default="fail", description="What to do when there is nothing (404) for a parent."
    )
    unit: int = Field(default=50, ge=1, le=10_000, description="So many parents are read as one unit.")


class RestIncremental(Incremental):
    """Read only records whose cursor is beyond what the last published run has read."""

    kind: CursorKind = Field(default="timestamp", description="How values of the cursor are ordered.")
    parameter: str | None = Field(default=None, description="Query parameter that asks the API for newer records.")
    format: Literal["iso", "date", "unix", "unix_ms"] = Field(
        default="iso", description="How the parameter writes a timestamp."
    )

    @model_validator(mode="after")
    def is_ordered(self) -> "RestIncremental":
        """Refuse a start that is not of the cursor's kind, and a lag of what is no time."""
        if self.lag and self.kind != "timestamp":
            msg = "lag: only timestamps have an age; leave it out"
            raise ValueError(msg)
        try:
            order_of(str(self.start or "0" if self.kind == "number" else self.start or "2000-01-01"), self.kind)
        except (ValueError, ArithmeticError) as exc:
            msg = f"start: {self.start!r} is no {self.kind}"
            raise ValueError(msg) from exc
        return self


class RestSource(Resource):
    """Records of a REST API that is registered as a connection."""

    kind: Literal["rest"]
    connection: Name
    parents: Parents | None = None
    incremental: RestIncremental | None = None
    columns: dict[ColumnName, ColumnType] = Field(
        default={}, description="Column to type; none: inferred from the first pages, and fixed for the run."
    )
    unknown: Literal["ignore", "fail"] | None = Field(
        default=None, description="Fields that are no column; not given: `ignore` with `columns`, else `fail`."
    )
    unit_pages: int = Field(default=20, ge=1, le=10_000, description="So many pages are read as one unit.")
    at_once: int = Field(
        default=4, ge=1, le=32, description="Pages of a unit that are asked for at once, where the total is known."
    )
    personal: Personal = False

    @model_validator(mode="after")
    def binds_what_it_needs(self) -> "RestSource":
        """Refuse placeholders without a value, and cursors that say nothing across many parents."""
        if binary := sorted(name for name, kind in self.columns.items() if kind == "binary"):
            msg = f"columns/{binary[0]}: JSON has no binary values; take string"
            raise ValueError(msg)
        wanted, given = set(PLACEHOLDER.findall(self.path)), set(self.parents.bind if self.parents else ())
        if wanted != given:
            msg = f"path has {sorted(wanted) or 'no placeholders'}, but parents bind {sorted(given) or 'nothing'}"
            raise ValueError(msg)
        if self.parents and self.incremental and self.incremental.kind != "timestamp":
            msg = "incremental: with parents the cursor must be a timestamp, which has the same order for all of them"
            raise ValueError(msg)
        return self
