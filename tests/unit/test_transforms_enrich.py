"""The `enrich` step."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import ContractViolationError, SetupError
from dataproc.domain.spec import JobSpec
from dataproc.domain.transforms.enrich import EnrichTransform, LookupPlace, LookupTable
from dataproc.ports.pipeline import Transform
from dataproc.transforms.enrich_cache import CachedLookups, Shelf
from dataproc.transforms.factory import transform_for
from tests.builders import a_spec, around_transforms
from tests.steps import a_chunk, applied, columns, demand_same_in_pieces, positions, schema_of

COUNTRIES = [{"code": "DE", "name": "Germany", "eu": True}, {"code": "CH", "name": None, "eu": False}]


@dataclass
class FakeLookups:
    """Lookups in memory, which count how often they are read."""

    table: pa.Table
    read_with: list[tuple[str, ...]] = field(default_factory=list)
    estimate: int | None = None

    def size(self, place: LookupPlace, columns: Sequence[str]) -> int | None:
        del place, columns
        return self.estimate

    def read(self, place: LookupPlace, columns: Sequence[str], max_bytes: int, keep_for: timedelta) -> pa.Table:
        del place, max_bytes, keep_for
        self.read_with.append(tuple(columns))
        return self.table.select(list(columns))


def enrich(lookups: Any = None, **fields: Any) -> Transform:
    document = {
        "kind": "enrich",
        "from": {"rows": COUNTRIES},
        "on": {"c": "code"},
        "columns": {"name": "name"},
        **fields,
    }
    around = around_transforms() if lookups is None else around_transforms(lookups=lookups)
    return transform_for(EnrichTransform.model_validate(document), around)


def test_rows_get_the_columns_of_the_row_with_the_same_key_and_keep_their_order() -> None:
    chunk = a_chunk(5, c=["CH", "DE", "FR", None, "DE"], n=[1, 2, 3, 4, 5])

    after = applied(enrich(columns={"land": "name", "in_eu": "eu"}), chunk)

    assert columns(after) == {
        "c": ["CH", "DE", "FR", None, "DE"],
        "n": [1, 2, 3, 4, 5],
        "land": [None, "Germany", None, None, "Germany"],
        "in_eu": [False, True, None, None, True],
    }


def test_rows_without_a_match_are_set_aside_if_that_is_asked() -> None:
    after = applied(enrich(missing="reject"), a_chunk(c=["FR", "CH", None]))

    assert (columns(after), positions(after)) == ({"c": ["CH"], "name": [None]}, [1])
    assert after.rejects.to_pylist() == [
        {"position": 0, "rule": "lookup", "column": "c", "reason": "'c' is not in the lookup", "row": '{"c": "FR"}'},
        {"position": 2, "rule": "lookup", "column": "c", "reason": "'c' is not in the lookup", "row": '{"c": null}'},
    ]


def test_a_default_stands_where_there_is_no_match_and_not_for_a_null_of_the_lookup() -> None:
    step = enrich(columns={"name": "name", "eu": "eu"}, missing={"default": {"name": "?", "eu": False}})

    assert columns(applied(step, a_chunk(c=["FR", "CH", "DE"]))) == {
        "c": ["FR", "CH", "DE"], "name": ["?", None, "Germany"], "eu": [False, False, True]
    }  # fmt: skip


def test_several_columns_are_one_key() -> None:
    rows = [{"a": 1, "b": "x", "v": "1x"}, {"a": 1, "b": "y", "v": "1y"}, {"a": 2, "b": None, "v": "2"}]
    step = enrich(**{"from": {"rows": rows}, "on": {"p": "a", "q": "b"}, "columns": {"v": "v"}})

    after = applied(step, a_chunk(p=[1, 1, 2, 2], q=["y", "x", "x", None]))

    assert columns(after)["v"] == ["1y", "1x", None, None]


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([2, 1, None], pa.int16()),
        pa.array(["2", "1", "x"]),
        pa.array(["2", "1", None]).dictionary_encode(),
        pa.array([Decimal("2.0"), Decimal(1), None], pa.decimal128(5, 1)),
        pa.array(["2", "1", "x"], pa.large_string()),
    ],
)
def test_keys_of_the_lookup_take_the_type_of_the_rows(keys: Any) -> None:
    step = enrich(
        **{"from": {"rows": [{"k": 1, "v": "one"}, {"k": 2, "v": "two"}]}, "on": {"c": "k"}, "columns": {"v": "v"}}
    )

    assert columns(applied(step, a_chunk(c=keys)))["v"] == ["two", "one", None]


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30),
    st.integers(0, 30),
    st.sampled_from(["null", "reject"]),
)
def test_it_does_not_matter_where_chunks_end(values: list[str | None], at: int, missing: str) -> None:
    rows = [{"k": "a", "v": 1}, {"k": "b", "v": 2}]
    step = enrich(**{"from": {"rows": rows}, "on": {"c": "k"}, "columns": {"v": "v"}, "missing": missing})

    demand_same_in_pieces(step, a_chunk(c=pa.array(values, pa.string())), at)


def test_the_lookup_is_read_once_and_only_the_columns_that_are_needed() -> None:
    lookups = FakeLookups(pa.table({"code": ["DE"], "name": ["Germany"], "other": [1]}))
    step = enrich(lookups, **{"from": {"table": "a.countries"}})

    for _ in range(2):
        assert columns(applied(step, a_chunk(c=["DE"])))["name"] == ["Germany"]

    assert lookups.read_with == [("code", "name")]


def test_workers_get_what_was_read_and_not_who_logs_in() -> None:
    lookups = FakeLookups(pa.table({"code": ["DE"], "name": ["Germany"]}))
    step = enrich(lookups, **{"from": {"table": "a.countries"}})
    step.schema(schema_of(a_chunk(c=["DE"])))

    sent = pickle.dumps(step)
    assert b"FakeLookups" not in sent
    assert columns(pickle.loads(sent).apply(a_chunk(c=["DE"])))["name"] == ["Germany"]  # noqa: S301 - our own value


def test_a_lookup_cannot_be_read_where_there_is_nothing_to_read_from() -> None:
    with pytest.raises(SetupError, match="lookups cannot be read here"):
        enrich(**{"from": {"table": "a.countries"}}).schema(schema_of(a_chunk(c=["DE"])))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"on": {"x": "code"}}, r"enrich\.on: the rows have no column 'x'"),
        ({"on": {"c": "x"}}, "the lookup: the rows have no column 'x'"),
        ({"columns": {"c": "name"}}, "two columns would be called 'c'"),
        ({"columns": {"__position": "name"}}, "two columns would be called '__position'"),
        ({"columns": {"n": "x"}}, "the lookup: the rows have no column 'x'"),
        ({"missing": {"default": {"x": 1}}}, r"enrich\.missing: 'x' is no new column"),
        ({"columns": {"eu": "eu"}, "missing": {"default": {"eu": "maybe"}}}, "the default of column 'eu' is no bool"),
        ({"from": {"rows": [{"code": "DE", "name": "x"}] * 2}}, r"2 rows of the lookup share their key \('code'\)"),
        ({"from": {"rows": [{"code": "DE", "name": "x"}, {"code": 1}]}}, "values of several types in column 'code'"),
        ({"on": {"d": "eu"}}, "column 'd' is date32"),
    ],
)
def test_a_lookup_that_does_not_go_with_the_rows_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    chunk = a_chunk(c=["DE"], d=pa.array([0], pa.date32()))

    with pytest.raises(ContractViolationError, match=message):
        enrich(**fields).schema(schema_of(chunk))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"table": "dataproc_load.reject"}, "tables of dataproc_load are no lookups"),
        ({"source": {"kind": "s3", "path": "s3://a/x", "track": "objects"}}, "a lookup is read whole"),
        ({"rows": []}, "at least 1 item"),
    ],
)
def test_what_is_no_lookup_is_refused(place: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        enrich(**{"from": place})


def test_a_job_tells_the_connections_of_its_lookups_as_well() -> None:
    step = {"kind": "enrich", "from": {"source": {"kind": "rest", "connection": "crm", "path": "/x"}}}
    document = a_spec().model_dump(mode="json")
    document["transforms"] = [step | {"on": {"c": "k"}, "columns": {"v": "v"}}]

    spec = JobSpec.model_validate(document)

    assert spec.connections == ("crm",)
    assert JobSpec.model_validate(spec.model_dump(mode="json")) == spec


def cached(lookups: FakeLookups, now: list[float]) -> CachedLookups:
    return CachedLookups(lookups, shelf=Shelf(lambda: now[0]))


def test_a_lookup_is_kept_for_as_long_as_it_may_be() -> None:
    lookups, now, place = FakeLookups(pa.table({"a": [1], "b": [2]})), [0.0], LookupTable(table="a.b")
    reader = cached(lookups, now)

    for moment in (0.0, 9.0, 10.0, 11.0):
        now[0] = moment
        assert reader.read(place, ("a",), 1000, timedelta(seconds=10)).to_pylist() == [{"a": 1}]

    assert len(lookups.read_with) == 2


def test_what_is_asked_for_otherwise_is_read_anew() -> None:
    lookups = FakeLookups(pa.table({"a": [1], "b": [2]}))
    reader, short = cached(lookups, [0.0]), timedelta(seconds=10)

    reader.read(LookupTable(table="a.b"), ("a",), 1000, short)
    reader.read(LookupTable(table="a.b"), ("a", "b"), 1000, short)
    reader.read(LookupTable(table="a.c"), ("a",), 1000, short)
    reader.read(LookupTable(table="a.c"), ("a",), 1000, timedelta(0))
    reader.read(LookupTable(table="a.c"), ("a",), 1000, timedelta(0))

    assert len(lookups.read_with) == 5


def test_a_lookup_that_is_kept_but_too_large_for_this_job_is_refused() -> None:
    reader, place = cached(FakeLookups(pa.table({"a": [1, 2]})), [0.0]), LookupTable(table="a.b")
    reader.read(place, ("a",), 1000, timedelta(seconds=10))

    with pytest.raises(ContractViolationError, match="has 16 bytes, and 15 are allowed; raise `max_bytes`"):
        reader.read(place, ("a",), 15, timedelta(seconds=10))
