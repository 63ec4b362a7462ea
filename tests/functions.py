"""Functions that the jobs of tests name: such as users write them."""

import os
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

made: list[int] = []
"""The factors of the objects that were made."""


def doubled(rows: Any, *, column: str = "a") -> Any:
    """Return twice a column."""
    return pa.table({"twice": pc.multiply(rows[column], 2)})


def doubled_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return twice a column."""
    return pd.DataFrame({"twice": rows["a"] * 2})


def doubled_polars(rows: pl.DataFrame) -> pl.DataFrame:
    """Return twice a column."""
    return rows.select((pl.col("a") * 2).alias("twice"))


def shouted(rows: Any) -> Any:
    """Return a column changed, and one that nobody asked for."""
    return pa.table({"b": pc.utf8_upper(rows["b"]), "other": rows["a"]})


def even(rows: Any) -> Any:
    """Return the rows that are even, in another order."""
    left = rows.filter(pa.array([number % 2 == 0 for number in rows["a"].to_pylist()], pa.bool_()))
    halved = left.select(["__position"]).append_column("half", pc.divide(left["a"], 2))
    return halved.sort_by([("__position", "descending")])


def even_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are even."""
    return rows[rows["a"] % 2 == 0].assign(half=lambda left: left["a"] // 2)


def unchanged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what came."""
    return rows


def types(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the names of the types that came."""
    return pd.DataFrame({"names": [" ".join(map(str, rows.dtypes))] * len(rows)})


def seen(rows: Any) -> Any:
    """Return the names of the columns that came, in one of them."""
    names = ",".join(rows.column_names)
    return pa.table({"names": [names] * rows.num_rows})


def fewer(rows: Any) -> Any:
    """Return a row less."""
    return rows[1:]


def repeated(rows: Any) -> Any:
    """Return the first row twice."""
    return pa.concat_tables([rows[:1], rows[:1]])


def renumbered(rows: Any) -> Any:
    """Return rows that did not come."""
    positions = pa.array(range(1000, 1000 + rows.num_rows), pa.int64())
    return rows.drop_columns(["__position"]).append_column("__position", positions)


def failing(rows: Any) -> Any:
    """Fail with a text that holds a value."""
    raise KeyError(rows["b"][0].as_py())


def exiting(rows: Any) -> Any:
    """End the process, as scripts do."""
    sys.exit(f"no rows like {rows['b'][0].as_py()}")


def mixed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return values of two types."""
    return pd.DataFrame({"twice": ["x", 1, 2.5][: len(rows)]})


def nothing(rows: Any) -> None:
    """Return no table."""
    del rows


class Exiting:
    """Ends the process when it is set up."""

    def __init__(self) -> None:
        raise SystemExit(3)

    def __call__(self, rows: Any) -> Any:
        return rows


class Multiplied:
    """Multiplies a column; costly to set up."""

    def __init__(self, factor: int) -> None:
        made.append(factor)
        self.factor = factor

    def __call__(self, rows: Any) -> Any:
        return pa.table({"twice": pc.multiply(rows["a"], self.factor)})


class Broken:
    """Cannot be set up."""

    def __init__(self) -> None:
        raise OSError("no model")

    def __call__(self, rows: Any) -> Any:
        return rows


class Counted:
    """Leaves a note of each object that is made, and of the process in which it is."""

    def __init__(self, folder: str, dies_at: int | None = None) -> None:
        (Path(folder) / f"made-{uuid4()}").write_text(str(os.getpid()))
        self.mark, self.dies_at = Path(folder) / "died", dies_at

    def __call__(self, rows: Any) -> Any:
        if self.dies_at in rows["x"].to_pylist() and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pa.table({"twice": pc.multiply(rows["x"], 2)})


class BrokenAndCounted:
    """Leaves a note of each time that it could not be set up."""

    def __init__(self, folder: str) -> None:
        (Path(folder) / f"tried-{uuid4()}").touch()
        raise OSError("no model")

    def __call__(self, rows: Any) -> Any:
        return rows


class DeadlySetUp:
    """Ends its process when it is set up, as one does that takes more memory than there is."""

    def __init__(self, folder: str) -> None:
        (Path(folder) / f"tried-{uuid4()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, rows: Any) -> Any:
        return rows


class Silent:
    """Cannot be called."""


NUMBER = 7


def objects_of_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return objects of Python that Arrow has no type for, or several."""
    return pd.DataFrame(
        {
            "detail": [{"a": Decimal("1.10")}, [1, {"b": 2}], None],
            "key": [UUID(int=1), None, UUID(int=2)],
            "total": pd.Series([10**25, Decimal("1.50"), pd.NaT], dtype=object),
        }
    )
