"""The little language of column rules."""

import pytest
from pydantic import TypeAdapter, ValidationError

from dataproc.domain.rules import SIMPLE_TYPES, ColumnRule, ColumnType


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("int64", {"type": "int64"}),
        ("int64!", {"type": "int64", "required": True}),
        ("email?", {"type": "email"}),
        ("decimal(12, 2) >= 0", {"type": "decimal(12, 2)", "ge": "0"}),
        ("int32 > 1 <= 9", {"type": "int32", "gt": "1", "le": "9"}),
        ("date >= 2026-01-01 < 2027-01-01", {"type": "date", "ge": "2026-01-01", "lt": "2027-01-01"}),
        ("string in (new, paid)", {"type": "string", "one_of": ["new", "paid"]}),
        ("string length 2..50", {"type": "string", "min_length": 2, "max_length": 50}),
        ("string length ..50 length 2..", {"type": "string", "min_length": 2, "max_length": 50}),
        ("binary length 16", {"type": "binary", "min_length": 16, "max_length": 16}),
        ("int64! unique >= 1", {"type": "int64", "required": True, "unique": True, "ge": "1"}),
        (r"string! ~ /^[A-Z]\/\d+$/", {"type": "string", "required": True, "pattern": r"^[A-Z]/\d+$"}),
    ],
)
def test_the_short_form_means_the_long_form(short: str, long: dict[str, object]) -> None:
    assert ColumnRule.model_validate(short) == ColumnRule.model_validate(long)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "must begin with a column type"),
        ("!", "must begin with a column type"),
        ("integer", "'integer' is no column type"),
        ("decimal(39,2)", "is no column type"),
        ("decimal(2,3)", "is no column type"),
        ("int64 about 5", "cannot read 'about 5'"),
        ("int64 >= 1 >= 2", "says ge twice"),
        ("string ~ /(/", "is no regular expression"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_a_reason(rule: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ColumnRule.model_validate(rule)

    assert reason in str(caught.value)


@pytest.mark.parametrize("name", [*SIMPLE_TYPES, "decimal(1,0)", "decimal(38,38)"])
def test_every_column_type_is_known(name: str) -> None:
    assert TypeAdapter(ColumnType).validate_python(name) == name
