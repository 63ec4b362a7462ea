"""Which source columns are left as text because a later step gives them their type."""

import pytest

from dataproc.domain.spec import JobSpec
from dataproc.transforms.declared import source_columns

VALIDATE = {"kind": "validate", "columns": {"id": "int64"}}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], set()),
        ([VALIDATE], {"id"}),
        ([{"kind": "clean", "cast": {"n": "int64"}}], {"n"}),
        ([{"kind": "clean", "rename": {"Order ID": "id"}}, VALIDATE], {"Order ID"}),
        ([{"kind": "clean", "rename": {"Order ID": "id"}, "cast": {"id": "int64"}}], {"Order ID"}),
        ([{"kind": "clean", "rename": {"a": "b"}}, {"kind": "clean", "rename": {"b": "id"}}, VALIDATE], {"a"}),
        ([{"kind": "clean", "rename": {"a": "id", "id": "a"}}, VALIDATE], {"a"}),
        ([VALIDATE, {"kind": "clean", "rename": {"id": "key"}, "cast": {"key": "string"}}], {"id"}),
        ([{"kind": "clean", "trim": True, "nulls": {"x": 1}}], set()),
        (
            [{"kind": "clean", "rename": {"Tel": "tel"}, "phone": {"tel": "DE"}, "dates": {"d": ["%d.%m.%Y"]}}],
            {"Tel", "d"},
        ),
        (
            [{"kind": "clean", "trim": ["a"], "case": {"b": "upper"}, "email": ["c"], "unicode": {"e": "NFC"}}],
            set("abce"),
        ),
        ([{"kind": "clean", "null_texts": {"a": ["-"]}, "replace": {"b": [{"find": "x", "to": ""}]}}], {"a", "b"}),
        ([{"kind": "clean", "split": {"name": {"by": " ", "into": ["first", "id"]}}}, VALIDATE], {"name"}),
        ([{"kind": "clean", "parse_json": {"payload": {"id": "$.id"}}}, VALIDATE], {"payload"}),
        ([{"kind": "clean", "key": {"id": ["a", "b"]}}, VALIDATE], set()),
    ],
)
def test_columns_that_a_step_casts_are_named_as_the_source_names_them(
    steps: list[dict[str, object]], expected: set[str]
) -> None:
    source, destination = {"kind": "s3", "path": "s3://b/k"}, {"table": "a.b"}
    document = {"name": "x", "source": source, "transforms": steps, "destination": destination}

    assert source_columns(JobSpec.model_validate(document).transforms).declared == expected
