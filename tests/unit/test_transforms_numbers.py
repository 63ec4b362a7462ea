"""Numbers as people write them, read digit by digit."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import sql_type_of
from dataproc.domain.transforms.clean import CleanTransform, Numbers
from dataproc.transforms.clean import Clean
from dataproc.transforms.clean_numbers import numbers_of

GERMAN = {"decimal": ",", "thousands": "."}
ENGLISH = {"thousands": ","}
SWISS = {"thousands": "'"}
FRENCH = {"decimal": ",", "thousands": " "}

READ: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "1234.50", "1234.50"),
    ({}, "-5", "-5"),
    ({}, " 5 ", "5"),
    ({}, "5-", "-5"),
    ({}, "(5.25)", "-5.25"),
    ({}, "\u22125", "-5"),
    ({}, "- 5", "-5"),
    ({}, ".5", "0.5"),
    (GERMAN, "1.234.567,50", "1234567.50"),
    (GERMAN, "1234567,50", "1234567.50"),
    (GERMAN, "-0,10", "-0.10"),
    (GERMAN, "123456789012345678901234567890,123456789", "123456789012345678901234567890.123456789"),
    (ENGLISH, "1,234,567.50", "1234567.50"),
    (ENGLISH, "12,34,567.5", "1234567.5"),
    (SWISS, "1'234.50", "1234.50"),
    (SWISS, "1\u2019234.50", "1234.50"),
    (FRENCH, "1\u202f234\u00a0567,5", "1234567.5"),
    (FRENCH, "1 234,5", "1234.5"),
    ({"thousands": "_"}, "1_000", "1000"),
    (GERMAN | {"percent": True}, "12,5 %", "0.125"),
    (GERMAN | {"percent": True}, "12,5", "12.5"),
    ({"percent": True}, "-100%", "-1.00"),
    (GERMAN | {"currency": True}, "1.234,50 €", "1234.50"),
    (GERMAN | {"currency": True}, "-1.234,50\u00a0€", "-1234.50"),
    (ENGLISH | {"currency": True}, "$1,234.50", "1234.50"),
    (ENGLISH | {"currency": True}, "-$5", "-5"),
    (ENGLISH | {"currency": True}, "$-5", "-5"),
    (ENGLISH | {"currency": True}, "($5.00)", "-5.00"),
    ({"currency": True}, "¥ 5", "5"),
    ({"currency": True}, "€ - 5", "-5"),
    ({}, "+5", "5"),
    ({}, "( 5 )", "-5"),
    ({}, "5 -", "-5"),
    ({}, "\u20135", "-5"),
    ({"percent": True}, "12345678901234567890123456789%", "123456789012345678901234567.89"),
    ({"percent": True}, "1.0000000000000000000000000000001%", "0.010000000000000000000000000000001"),
)
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "1,5"), ({}, "1 000"), ({}, ""), ({}, "-"), ({}, "."), ({}, "5%"), ({}, "5 €"), ({}, "1e5"), ({}, "0x1F"),
    ({}, "--5"), ({}, "-5-"), ({}, "(5"), ({}, "NaN"), ({}, "٣"), (GERMAN, "1.5"), (GERMAN, "1.23,4"),
    (GERMAN, "1.2345"),
    (GERMAN, "1,234,567"), (ENGLISH, "1,23"), (ENGLISH, "1234,567"), (FRENCH, "1 23"), ({"percent": True}, "%"),
    ({"percent": True}, "5%%"), ({"currency": True}, "€5€"), ({"currency": True}, "EUR 5"), (GERMAN, "1..234"),
    (GERMAN, "0.500"), (GERMAN, "00.500"), (ENGLISH, "0,500"), (ENGLISH, "000,500,000"), (GERMAN, "12.34.567"),
    (FRENCH, "10 20 300"), (FRENCH, "1\n234"), (FRENCH, "1\t234"), ({"currency": True}, "-€-5"),
    ({"currency": True}, "€-5-"), ({"currency": True}, "(€-5)"),
)  # fmt: skip


@pytest.mark.parametrize(("form", "text", "number"), READ)
def test_a_number_of_the_form_is_read_digit_by_digit(form: dict[str, Any], text: str, number: str) -> None:
    cells, bad = numbers_of(pa.array([text, None]), Numbers(**form))
    found, null = cells.to_pylist()

    assert not bad.any()
    assert null is None
    assert Decimal(str(found)).as_tuple() == Decimal(number).as_tuple()


@pytest.mark.parametrize(("form", "text"), REFUSED)
def test_other_text_is_set_aside(form: dict[str, Any], text: str) -> None:
    cells, bad = numbers_of(pa.array(["7", text]), Numbers(**form))

    assert (cells.to_pylist(), bad.tolist()) == (["7", None], [False, True])


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**15), max_value=10**15))
def test_what_python_writes_with_groups_is_the_same_number(number: Decimal) -> None:
    english = f"{number:,.3f}"
    german = english.translate(str.maketrans(",.", ".,"))

    for form, text in ((ENGLISH, english), (GERMAN, german), (FRENCH, german.replace(".", " "))):
        cells, bad = numbers_of(pa.array([text]), Numbers.model_validate(form))
        assert not bad.any()
        assert Decimal(str(cells.to_pylist()[0])) == number


def test_a_file_with_decimal_commas_has_the_numbers_that_duckdb_reads(tmp_path: Path) -> None:
    texts = ["1,50", "2,75", "-3,00", "4", "1000000,125"]
    path = tmp_path / "a.csv"
    path.write_text("v;w\n" + "".join(f"{text};x\n" for text in texts))
    with duckdb.connect() as conn:
        columns = "columns = {'v': 'DECIMAL(18,3)', 'w': 'TEXT'}"
        query = f"SELECT v FROM read_csv(?, delim = ';', decimal_separator = ',', {columns})"
        expected = [row[0] for row in conn.execute(query, [str(path)]).fetchall()]

    cells, bad = numbers_of(pa.array(texts), Numbers.model_validate({"decimal": ",", "type": "decimal(18,3)"}))

    assert not bad.any()
    assert cells.to_pylist() == expected


def test_without_a_type_the_column_is_numeric_and_casts_come_after() -> None:
    spec = {"kind": "clean", "numbers": {"a": GERMAN, "b": GERMAN}, "cast": {"b": "int64"}, "nulls": {"a": "0"}}
    step = Clean(CleanTransform.model_validate(spec))

    before: list[tuple[str, pa.DataType]] = [("a", pa.string()), ("b", pa.string())]

    found = step.schema(pa.schema(before))

    assert (sql_type_of(found.field("a")), found.field("b").type) == ("numeric", pa.int64())
    with pytest.raises(ContractViolationError, match=r"clean\.numbers"):
        step.schema(pa.schema([("a", pa.int64()), *before[1:]]))


def test_one_sign_cannot_mean_both() -> None:
    with pytest.raises(ValidationError, match="stands before the fraction already"):
        Numbers(decimal=",", thousands=",")
