"""What is read, as SQL: a table or a query, its columns, and conditions."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.fields import LONGEST_IDENTIFIER, too_long
from dataproc.domain.sources.database import DatabaseSource, Split

ALIAS = "source_rows"


@dataclass(frozen=True, slots=True)
class Quotes:
    """How a database writes names: between these."""

    before: str = '"'
    after: str = '"'

    def __call__(self, name: str) -> str:
        """Return a name in quotes."""
        return f"{self.before}{name.replace(self.after, self.after * 2)}{self.after}"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a query of a job, with its condition."""

    spec: DatabaseSource
    quoted: Quotes = field(default_factory=Quotes)

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"table {self.spec.table!r}" if self.spec.table is not None else "query"

    @property
    def name(self) -> str:
        """What stands for it in ids: the table's name, or what tells two queries apart."""
        return self.spec.table or f"query-{digest(self.spec.query or '')}"

    @property
    def uri(self) -> str:
        """Where the rows come from; it holds no host."""
        return f"database://{self.spec.connection}/{self.name}"

    @property
    def source(self) -> str:
        """What stands after FROM."""
        if self.spec.table is not None:
            return ".".join(map(self.quoted, self.spec.table.split(".")))
        # The line break ends a comment at the query's end.
        return f"({(self.spec.query or '').strip().rstrip(';')}\n) {ALIAS}"

    @property
    def shown(self) -> str:
        """The columns as the job asks for them."""
        return ", ".join(map(self.quoted, self.spec.columns)) or "*"

    def select(self, expressions: Iterable[str], conditions: Sequence[str] = ()) -> str:
        """Return a SELECT of some expressions, from the rows that fit all conditions."""
        where = [f"({self.spec.where}\n)"] if self.spec.where is not None else []
        tail = " AND ".join([*where, *conditions])
        return f"SELECT {', '.join(expressions)} FROM {self.source}" + (f" WHERE {tail}" if tail else "")


def digest(text: str) -> str:
    """Return what tells two texts apart, in a few letters."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def refuse_long_names(spec: DatabaseSource) -> None:
    """Refuse names that PostgreSQL would cut: it would read another table or column, without an error."""
    named = {
        "table": (spec.table or "").split("."),
        "columns": spec.columns,
        "as_text": spec.as_text,
        "split": spec.split.columns if isinstance(spec.split, Split) else (),
        "incremental": () if spec.incremental is None else (spec.incremental.cursor,),
    }
    for field_name, names in named.items():
        if long := next((name for name in names if len(name.encode()) > LONGEST_IDENTIFIER), None):
            raise ContractViolationError(f"{field_name}: {too_long(long)}", column=long)


def checked(names: Sequence[str], relation: Relation) -> None:
    """Refuse columns without a name, or with the same, and options that name none of the columns."""
    for name in names:
        if not name or names.count(name) > 1:
            problem = "stands there twice" if name else "has no name"
            raise ContractViolationError(f"{relation.label}: column {name!r} {problem}; name it by AS", column=name)
    for name in relation.spec.as_text:
        if name not in names:
            raise ContractViolationError(
                f"as_text: {relation.label} has no column {name!r}; it has {', '.join(names)}", column=name
            )
