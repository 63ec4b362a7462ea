"""The modes that are put through faults: what is in the table before, and what must be in it afterwards."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Row = tuple[Any, ...]

FILES, ROWS_IN_FILE = 3, 40
PERSONAL = "zoe-7b3e@example.com"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE = (-1, "before", PERSONAL, 1.0, FIRST)
OTHER_DAY = (-2, "other day", PERSONAL, 2.0, FIRST - timedelta(days=2))
COLUMNS = "id bigint, name text, email text, amount double precision, at timestamptz"
VERSIONED = f"{COLUMNS}, valid_from timestamptz NOT NULL, valid_to timestamptz, is_current boolean NOT NULL"


def source_rows() -> list[Row]:
    """Return all rows of the files: in each file one has no name, and one has an amount that is not allowed."""
    rows = []
    for number in range(FILES * ROWS_IN_FILE):
        name = None if number % ROWS_IN_FILE == 5 else f"name {number}"
        amount = -1.0 if number % ROWS_IN_FILE == 25 else number / 4
        rows.append((number, name, PERSONAL, amount, FIRST + timedelta(minutes=number)))
    return rows


def loaded_rows() -> Counter[Row]:
    """Return the rows that a load brings into its target."""
    return Counter(row for row in source_rows() if row[1] is not None and row[3] >= 0)


@dataclass(frozen=True, slots=True)
class LoadMode:
    """A mode of a destination, with a table that has rows; those of `gone` are not in it afterwards, `added` are."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Row, ...] = ()
    gone: tuple[Row, ...] = ()
    added: tuple[Row, ...] = ()
    columns: str = COLUMNS
    constraint: str = ""

    def after(self) -> Counter[Row]:
        """Return what must be in the table once the load is published."""
        loaded = loaded_rows()
        if self.columns == VERSIONED:
            loaded = Counter((*row, row[4], None, True) for row in loaded)
        return Counter(self.before) - Counter(self.gone) + Counter(self.added) + loaded


ROWS = (BEFORE, OTHER_DAY)
SAME, CHANGED = source_rows()[4], (3, "another name", PERSONAL, None, None)
OLD = (0, "old", PERSONAL, 9.0, FIRST - timedelta(days=1))
KEPT = (-1, "kept", PERSONAL, 9.0, FIRST)
MERGE = {"mode": "merge", "keys": ["id"]}
IN_PLACE = {"mode": "replace", "replace": "in_place"}
SCD2 = {"mode": "scd2", "keys": ["id"], "versions": {"effective": "at"}}

EVOLVE = LoadMode(
    "evolve",
    {"contract": "evolve"},
    (BEFORE,),
    columns="id integer, name varchar(99), email text, amount real, at timestamptz",
)
"""The types of three columns are widened in the transaction that publishes the rows."""

INTO_ROWS = LoadMode("merge", MERGE, (BEFORE, SAME, CHANGED), (SAME, CHANGED), constraint="PRIMARY KEY (id)")
PARTITION = LoadMode(
    "replace-partition",
    {"mode": "replace_partition", "partition": {"by": ["at"], "period": "day"}},
    (BEFORE, OTHER_DAY),
    (BEFORE,),
)
HISTORY = LoadMode(
    "scd2",
    SCD2,
    ((*OLD, OLD[4], None, True), (*KEPT, FIRST, None, True)),
    ((*OLD, OLD[4], None, True),),
    ((*OLD, OLD[4], FIRST, False),),
    VERSIONED,
)
APPEND = {"direct": LoadMode("append"), "staged": LoadMode("append", before=(BEFORE,))}
MODES: Mapping[str, tuple[LoadMode, ...]] = {
    "direct": (
        EVOLVE,
        LoadMode("merge-new", MERGE),
        INTO_ROWS,
        LoadMode(
            "replace", {"mode": "replace"}, (BEFORE, OTHER_DAY), (BEFORE, OTHER_DAY), constraint="PRIMARY KEY (id)"
        ),
        LoadMode("replace-in-place", IN_PLACE, ROWS, ROWS),
        PARTITION,
        HISTORY,
    ),
    "staged": (
        EVOLVE,
        INTO_ROWS,
        LoadMode(
            "replace", {"mode": "replace"}, (BEFORE, OTHER_DAY), (BEFORE, OTHER_DAY), constraint="PRIMARY KEY (id)"
        ),
        LoadMode("replace-in-place", IN_PLACE, ROWS, ROWS),
        PARTITION,
        HISTORY,
    ),
}
"""By the way of the load; `append` goes both ways."""
