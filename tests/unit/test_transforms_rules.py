"""Rules that no value could be held against are refused when they are read."""

import pytest
from pydantic import ValidationError

from dataproc.domain.rules import ColumnRule


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("int16 >= 100000", "'100000' is no value of type int16"),
        ("int64 > 0.5", "'0.5' is no value of type int64"),
        ("float64 <= nan", "'nan' is no value of type float64"),
        ("date >= 2024-13-01", "'2024-13-01' is no value of type date"),
        ("timestamp < 2024-01-01T00:00:00Z", "is no value of type timestamp"),
        ("string >= 5", "values of type string have no bounds"),
        ("bool < 1", "values of type bool have no bounds"),
        ("int64 in (1, two)", "'two' is no value of type int64"),
        ("json in (a)", "no list of values for type json"),
        ("int64 ~ /1/", "only text has patterns"),
        ("string ~ /(?=a)/", "no look-around"),
        ("string ~ /(/", "no regular expression"),
        ("string in ()", "at least 1 item"),
        ("int64 length 2..5", "values of type int64 have none"),
        ("string length 5..2", "nothing is at least 5 and at most 2 long"),
        ("string length ..", "cannot read 'length ..'"),
        ("string length 2 length 3", "says max_length, min_length twice"),
        ("string unique unique", "says unique twice"),
    ],
)
def test_a_rule_that_makes_no_sense_for_its_type_is_refused(rule: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ColumnRule.model_validate(rule)
    assert message in str(caught.value)


@pytest.mark.parametrize("bound", [0, 0.0, "0"])
def test_a_bound_is_a_number_or_text(bound: float | str) -> None:
    rule = ColumnRule.model_validate({"type": "float64", "ge": bound})

    assert float(rule.bounds["ge"]) == 0
    assert ColumnRule.model_validate_json(rule.model_dump_json()) == rule


def test_a_truth_value_is_no_bound() -> None:
    with pytest.raises(ValidationError, match="valid string"):
        ColumnRule.model_validate({"type": "int64", "ge": True})
