"""What a destination may ask for: each mode has its own options, and needs what it cannot do without."""

from typing import Any

import pytest
from pydantic import ValidationError

from dataproc.domain.destination import Destination
from dataproc.domain.spec import JobSpec
from tests.builders import a_spec

TABLE = "analytics.orders"
RIGHT: list[dict[str, Any]] = [
    {},
    {"mode": "append"},
    {"mode": "merge", "keys": ["id"]},
    {"mode": "merge", "keys": ["id", "no"], "merge": "delete_missing", "delete_flag": "gone"},
    {"mode": "replace", "replace": "swap", "load": "direct"},
    {"mode": "replace_partition", "partition": {"by": ["country"]}},
    {"mode": "replace_partition", "partition": {"by": ["at"], "period": "day"}, "load": "staged"},
    {"mode": "scd2", "keys": ["id"], "versions": {"valid_from": "since", "effective": "at", "missing": "close"}},
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"keys": ["id"]}, "keys: mode append has no such option"),
    ({"mode": "replace", "delete_flag": "gone"}, "delete_flag: mode replace has no such option"),
    ({"mode": "merge", "keys": ["id"], "versions": {"missing": "close"}}, "versions: mode merge has no such option"),
    ({"mode": "merge"}, "keys: mode merge needs the columns"),
    ({"mode": "scd2"}, "keys: mode scd2 needs the columns"),
    ({"mode": "merge", "keys": ["id", "id"]}, "keys: a column is named twice"),
    ({"mode": "merge", "keys": ["id"], "delete_flag": "id"}, "delete_flag: a key cannot be the flag"),
    ({"mode": "merge", "keys": ["id"], "load": "direct"}, "load: mode merge chooses its way"),
    ({"mode": "replace_partition"}, "partition: mode replace_partition needs its columns"),
    ({"mode": "replace_partition", "partition": {"by": ["a", "b"], "period": "day"}}, "name just one in `by`"),
    ({"mode": "scd2", "keys": ["valid_to"]}, "versions: 'valid_to' is one of the keys"),
    ({"mode": "scd2", "keys": ["id"], "versions": {"valid_from": "x", "effective": "x"}}, "different columns"),
]


@pytest.mark.parametrize("options", RIGHT, ids=str)
def test_a_destination_says_again_what_it_was_told(options: dict[str, Any]) -> None:
    destination = Destination.model_validate({"table": TABLE, **options})

    assert Destination.model_validate_json(destination.model_dump_json()) == destination


@pytest.mark.parametrize(("options", "told"), WRONG, ids=[case[1] for case in WRONG])
def test_options_that_make_no_sense_are_refused_by_their_names(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("{", "\\{")):
        Destination.model_validate({"table": TABLE, **options})


DROPPING = [
    {"mode": "replace"},
    {"mode": "merge", "keys": ["id"], "merge": "delete_missing"},
    {"mode": "scd2", "keys": ["id"], "versions": {"missing": "close"}},
]


@pytest.mark.parametrize("options", DROPPING, ids=str)
def test_what_a_source_leaves_out_because_it_is_not_new_is_not_taken_for_missing(options: dict[str, Any]) -> None:
    new = {"kind": "files", "path": "orders/*.parquet", "track": "objects"}
    spec = a_spec().model_dump(mode="json") | {"destination": {"table": TABLE, **options}}

    assert JobSpec.model_validate(spec).destination.drops_what_is_missing
    with pytest.raises(ValidationError, match=r"destination: mode .* drops what the source does not give"):
        JobSpec.model_validate(spec | {"source": new})
