"""The `sql` step."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import Chunk
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms
from tests.steps import a_chunk, applied, columns, demand_same_in_pieces, positions, schema_of


def sql(query: str) -> Transform:
    return transform_for(SqlTransform(kind="sql", query=query), around_transforms())


def some_rows() -> Chunk:
    return a_chunk(5, a=[1, 2, 3], b=["x", None, "z"])


@pytest.mark.parametrize(
    ("query", "expected", "where"),
    [
        ("SELECT * FROM batch", {"a": [1, 2, 3], "b": ["x", None, "z"]}, [5, 6, 7]),
        ("SELECT a + 1 AS n, upper(b) AS u FROM batch WHERE a > 1", {"n": [3, 4], "u": [None, "Z"]}, [6, 7]),
        ("FROM batch SELECT * EXCLUDE (b) WHERE b IS NULL;", {"a": [2]}, [6]),
        ("SELECT x.* REPLACE (a * 2 AS a) FROM BATCH x", {"a": [2, 4, 6], "b": ["x", None, "z"]}, [5, 6, 7]),
        ("WITH w(n) AS (SELECT a FROM batch) SELECT * FROM (SELECT * FROM w) s WHERE n <> 2", {"n": [1, 3]}, [5, 7]),
        ("SELECT 'x' AS k FROM batch", {"k": ["x", "x", "x"]}, [5, 6, 7]),
        ("SELECT upper(COLUMNS(*)::text) FROM batch", None, [5, 6, 7]),
        ("SELECT a FROM batch WHERE false", {"a": []}, []),
    ],
)
def test_rows_keep_their_places_and_those_that_do_not_come_back_are_counted(
    query: str, expected: dict[str, Any] | None, where: list[int]
) -> None:
    after = applied(sql(query), some_rows())

    assert expected is None or columns(after) == expected
    assert (positions(after), after.filtered) == (where, 3 - len(where))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT sum(a) FROM batch", "'sum'"),
        ("SELECT a, row_number() OVER () AS n FROM batch", "a function over other rows"),
        ("SELECT a FROM batch ORDER BY b", "ORDER BY"),
        ("SELECT a FROM batch LIMIT 1", "ORDER BY, LIMIT and DISTINCT"),
        ("SELECT DISTINCT a FROM batch", "ORDER BY, LIMIT and DISTINCT"),
        ("SELECT a FROM batch GROUP BY a", "GROUP BY"),
        ("SELECT a FROM batch GROUP BY ALL", "GROUP BY"),
        ("SELECT a FROM batch HAVING a > 1", "HAVING"),
        ("SELECT a FROM batch QUALIFY a > 1", "QUALIFY"),
        ("SELECT a FROM batch USING SAMPLE 10%", "dice"),
        ("SELECT a FROM batch TABLESAMPLE 10%", "dice"),
        ("SELECT a FROM batch UNION ALL SELECT a FROM batch", "UNION"),
        ("SELECT x.a FROM batch x, batch y", "a join may give a row more than once"),
        ("SELECT unnest([a, a]) FROM batch", "'unnest'"),
        ("SELECT (SELECT max(a) FROM batch) FROM batch", "a query within an expression"),
        ("SELECT random() FROM batch", "'random'"),
        ("SELECT now() FROM batch", "'now'"),
        ("SELECT getenv('HOME') FROM batch", "'getenv'"),
        ("SELECT a FROM 'x.parquet'", "no table 'x.parquet', only 'batch'"),
        ("SELECT a FROM main.batch", "no table 'main.batch'"),
        ("SELECT * FROM read_text('x')", "does not read from 'batch' alone"),
        ("SELECT 1", "does not read from 'batch' alone"),
        ("DELETE FROM batch", "cannot be read"),
        ("SELECT a FROM batch; SELECT a FROM batch", "more than one statement"),
        (" ", "there is more than one statement"),
        ("SELECT __position FROM batch", "__position is carried along"),
        ("SELECT batch.__POSITION + 1 FROM batch", "__position is carried along"),
        ("SELECT c FROM batch", "does not go with the columns"),
        ("SELECT a, b AS a FROM batch", "two columns would be called 'a'"),
        ("SELECT COLUMNS('__.*') FROM batch", "COLUMNS with a pattern"),
        ("SELECT * EXCLUDE (a, b) FROM batch", "sql.query"),
    ],
)
def test_a_query_that_looks_at_more_than_one_row_or_anything_else_is_refused(query: str, message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        sql(query).schema(schema_of(some_rows()))


def test_a_query_that_cannot_be_computed_for_a_row_fails_the_run_and_shows_no_value() -> None:
    with pytest.raises(BadDataError, match="use try_cast") as caught:
        sql("SELECT b::int AS n FROM batch").apply(a_chunk(b=["secret"]))
    assert "secret" not in str(caught.value)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(-9, 9) | st.none(), st.text(max_size=5) | st.none()), max_size=30),
    st.integers(0, 30),
)
def test_it_does_not_matter_where_chunks_end(rows: list[tuple[int | None, str | None]], at: int) -> None:
    chunk = a_chunk(a=pa.array([row[0] for row in rows], pa.int64()), b=pa.array([row[1] for row in rows], pa.string()))

    demand_same_in_pieces(sql("SELECT *, a * 2 AS twice, length(b) AS long FROM batch WHERE a <> 0"), chunk, at)


def test_repeated_values_and_moments_come_out_in_plain_types() -> None:
    chunk = a_chunk(a=pa.array(["x", "y"]).dictionary_encode(), m=pa.array([1, 2], pa.timestamp("us", "UTC")))

    after = applied(sql("SELECT * FROM batch"), chunk)

    assert after.rows.schema.types[:-1] == [pa.string(), pa.timestamp("us", "UTC")]
