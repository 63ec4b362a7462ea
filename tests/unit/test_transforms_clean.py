"""The `clean` step."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.chunk import POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.clean_texts import bare, in_case, trimmed
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms


def a_chunk(first: int = 0, **columns: Any) -> Chunk:
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), first), no_rejects()), last=True)


def clean(**options: Any) -> Transform:
    return transform_for(CleanTransform.model_validate({"kind": "clean", **options}), around_transforms())


def result(step: Transform, chunk: Chunk) -> dict[str, list[Any]]:
    """Return the columns that come out, which are those that were announced."""
    after = step.apply(chunk)
    announced = step.schema(chunk.rows.drop_columns([POSITION]).schema)
    assert after.rows.schema.names == [*announced.names, POSITION]
    assert after.rows.schema.types[:-1] == announced.types
    assert after.read == after.rows.num_rows + after.rejected + after.filtered
    columns: dict[str, list[Any]] = after.rows.drop_columns([POSITION]).to_pydict()
    return columns


def rules_broken(chunk: Chunk) -> list[tuple[int, str, str]]:
    return [(row["position"], row["rule"], row["column"]) for row in chunk.rejects.to_pylist()]


def test_columns_are_renamed_all_at_once() -> None:
    assert result(clean(rename={"a": "b", "b": "a"}), a_chunk(a=[1], b=[2])) == {"b": [1], "a": [2]}


def test_columns_are_dropped_by_their_new_names() -> None:
    assert result(clean(rename={"a": "x"}, drop=["x"]), a_chunk(a=[1], b=[2])) == {"b": [2]}


def test_columns_are_selected_in_an_order_of_their_own() -> None:
    found = result(clean(rename={"a": "x"}, select=["b", "x"]), a_chunk(a=[1], c=[3], b=[2]))

    assert list(found.items()) == [("b", [2]), ("x", [1])]


def test_records_become_columns_and_null_records_nulls() -> None:
    place = pa.array([{"city": "Bonn", "geo": {"lat": 1.5}}, None, {"city": None, "geo": None}])

    found = result(clean(flatten=True, rename={"place_geo_lat": "lat"}), a_chunk(id=[1, 2, 3], place=place))

    assert list(found.items()) == [
        ("id", [1, 2, 3]), ("place_city", ["Bonn", None, None]), ("lat", [1.5, None, None]),
    ]  # fmt: skip


def test_only_the_records_that_are_named_become_columns() -> None:
    chunk = a_chunk(a=pa.array([{"x": 1}]), b=pa.array([{"x": 2}]))

    assert result(clean(flatten=["a"]), chunk) == {"a_x": [1], "b": [{"x": 2}]}
    assert result(clean(flatten={"columns": ["b"], "separator": "."}), chunk) == {"a": [{"x": 1}], "b.x": [2]}


def test_values_within_json_become_columns_of_text_that_can_be_cast() -> None:
    texts = ['{"a": {"b": [1, "two"]}, "n": 1.5, "ok": true}', '{"a": null}', None, "[7]"]
    paths = {"first": "$.a.b[0]", "second": "$.a.b[1]", "a": "$.a", "n": "$.n", "ok": "$.ok"}

    found = result(clean(parse_json={"doc": paths}, drop=["doc"], cast={"n": "float64"}), a_chunk(doc=texts))

    assert found == {
        "first": ["1", None, None, None],
        "second": ["two", None, None, None],
        "a": ['{"b": [1, "two"]}', None, None, None],
        "n": [1.5, None, None, None],
        "ok": ["true", None, None, None],
    }


@pytest.mark.parametrize(
    "number", ["1.10", "12345678901234567890.12", "1e400", "123456789012345678901234567890", "-0.0", "1E5"]
)
def test_a_number_within_json_keeps_its_characters(number: str) -> None:
    step = clean(parse_json={"doc": {"n": "$.a[1].n", "o": "$.a[1]"}}, drop=["doc"])

    found = result(step, a_chunk(doc=[f'{{"a": [0, {{"n": {number}}}]}}', "null", '"x"', "[]"]))

    assert found == {"n": [number, None, None, None], "o": [f'{{"n": {number}}}', None, None, None]}


def test_a_row_whose_json_cannot_be_read_is_set_aside() -> None:
    after = clean(parse_json={"doc": {"x": '$."a b"'}}).apply(a_chunk(doc=['{"a b": 1}', "{", ""]))

    assert after.rows["x"].to_pylist() == ["1"]
    assert rules_broken(after) == [(1, "json", "doc"), (2, "json", "doc")]


def test_text_is_split_into_columns_of_which_the_last_holds_the_rest() -> None:
    step = clean(split={"name": {"by": " ", "into": ["first", "last"]}})

    assert result(step, a_chunk(name=["Ann B. Lee", "Cher", None, ""])) == {
        "name": ["Ann B. Lee", "Cher", None, ""],
        "first": ["Ann", "Cher", None, ""],
        "last": ["B. Lee", None, None, None],
    }


def test_text_is_split_by_a_regular_expression_also_in_a_slice() -> None:
    step = clean(split={"x": {"by": r"\s*[,;]\s*", "into": ["a", "b"], "regex": True}}, drop=["x"])
    chunk = a_chunk(x=["no", "1 , 2", "3;4"])
    after = step.apply(chunk_of("unit-1", 0, Piece(chunk.rows.slice(1), no_rejects()), last=True))

    assert after.rows.select(["a", "b"]).to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


@given(st.lists(st.text("aB \t\xa0\u2003ü\x7f\x1f", max_size=4) | st.none(), max_size=6), st.integers(0, 3))
def test_text_that_is_tidy_already_is_found_to_be_so_and_no_other(texts: list[str | None], skipped: int) -> None:
    cells = pa.array(texts, pa.string())[skipped:]

    assert trimmed(cells).to_pylist() == pc.utf8_trim_whitespace(cells).to_pylist()
    assert in_case("lower", cells).to_pylist() == pc.utf8_lower(cells).to_pylist()


def test_text_is_trimmed_everywhere_or_where_it_is_asked_for() -> None:
    chunk = a_chunk(a=[" x\t"], b=["\u00a0y "], n=[1])

    assert result(clean(trim=True), chunk) == {"a": ["x"], "b": ["y"], "n": [1]}
    assert result(clean(trim=["a"]), chunk) == {"a": ["x"], "b": ["\u00a0y "], "n": [1]}


def test_text_comes_in_one_normal_form_of_unicode() -> None:
    chunk = a_chunk(a=["e\u0301"], b=["\ufb01"])

    assert result(clean(unicode="NFC"), chunk) == {"a": ["\u00e9"], "b": ["\ufb01"]}
    assert result(clean(unicode={"b": "NFKC"}), chunk) == {"a": ["e\u0301"], "b": ["fi"]}


def test_parts_of_text_are_replaced_one_after_the_other() -> None:
    replace = {"x": [{"find": ".", "to": ""}, {"find": r"(\d+),(\d+)", "to": r"\1.\2", "regex": True}]}

    assert result(clean(replace=replace, cast={"x": "decimal(12,2)"}), a_chunk(x=["1.234,56", None])) == {
        "x": [Decimal("1234.56"), None]
    }


def test_text_comes_in_one_case() -> None:
    step = clean(case={"a": "upper", "b": "lower", "c": "title"})

    assert result(step, a_chunk(a=["straße"], b=["ÄB"], c=["zoë müller"])) == {
        "a": ["STRASSE".replace("SS", "ẞ")], "b": ["äb"], "c": ["Zoë Müller"],
    }  # fmt: skip


def test_texts_that_mean_null_become_null_before_nulls_are_filled() -> None:
    chunk = a_chunk(a=["N/A", " ", "x"], b=["N/A", "-", None])

    assert result(clean(trim=True, null_texts=["", "N/A"], nulls={"a": "none"}), chunk) == {
        "a": ["none", "none", "x"], "b": [None, "-", None],
    }  # fmt: skip
    assert result(clean(null_texts={"b": ["-"]}), chunk)["b"] == ["N/A", None, None]


def test_addresses_of_email_keep_the_case_of_their_names() -> None:
    texts = [" Ann.Lee@Example.COM ", "bob@example.com", None, "no address", "A@b@C.de", "Ü@Ä.de"]

    assert result(clean(email=["x"]), a_chunk(x=texts)) == {
        "x": ["Ann.Lee@example.com", "bob@example.com", None, "no address", "A@b@c.de", "Ü@ä.de"]
    }


def test_phone_numbers_come_in_one_form_and_what_is_none_is_set_aside() -> None:
    chunk = a_chunk(tel=["0171 987 6543", "+1 (650) 253-0000", None, "12", "call me", "0171 987 6543"])

    after = clean(phone={"tel": "DE"}).apply(chunk)

    assert after.rows["tel"].to_pylist() == ["+491719876543", "+16502530000", None, "+491719876543"]
    assert rules_broken(after) == [(3, "phone", "tel"), (4, "phone", "tel")]
    assert rules_broken(clean(phone={"tel": None}).apply(chunk)) == [(at, "phone", "tel") for at in (0, 3, 4, 5)]


EXTENDED = ["+1 650 253 0000 ext. 12", "0171 9876543 x7", "tel:+49-171-9876543;ext=005", "0171 9876543"]


def test_a_number_with_an_extension_is_set_aside_unless_it_is_kept() -> None:
    chunk = a_chunk(tel=EXTENDED)

    kept = clean(phone={"tel": {"region": "DE", "extension": "keep"}}).apply(chunk)
    refused = clean(phone={"tel": {"region": "DE"}}).apply(chunk)

    assert kept.rows["tel"].to_pylist() == [
        "+16502530000;ext=12", "+491719876543;ext=7", "+491719876543;ext=005", "+491719876543",
    ]  # fmt: skip
    assert refused.rows["tel"].to_pylist() == ["+491719876543"]
    assert rules_broken(refused) == rules_broken(clean(phone={"tel": "DE"}).apply(chunk))
    assert rules_broken(refused) == [(at, "phone", "tel") for at in range(3)]
    assert refused.rejects["reason"].to_pylist() == ["column 'tel' is not a phone number, or has an extension"] * 3


def test_a_number_that_is_written_with_its_extension_is_read_as_the_same_one() -> None:
    step = clean(phone={"tel": {"region": "DE", "extension": "keep"}})

    once = step.apply(a_chunk(tel=EXTENDED)).rows["tel"].to_pylist()

    assert step.apply(a_chunk(tel=once)).rows["tel"].to_pylist() == once


ODD = "\u200b\u200c\u200d\u2060\ufeff\u180e"


@pytest.mark.parametrize(
    ("text", "bare"),
    [(f"{each}x{each}", "x") for each in ODD]
    + [(" \ufeff x\u200b\u00a0 ", "x"), (f"x{ODD}y", f"x{ODD}y"), (ODD, ""), ("\u3000x\u2028", "x"), ("", "")],
)
def test_characters_without_a_width_are_stripped_where_that_is_asked_for(text: str, bare: str) -> None:
    chunk = a_chunk(a=[text, None], b=[text, "y"])

    assert result(clean(trim={"zero_width": True}), chunk) == {"a": [bare, None], "b": [bare, "y"]}
    only_a = result(clean(trim={"columns": ["a"], "zero_width": True}), chunk)
    assert only_a == {"a": [bare, None], "b": [text, "y"]}
    assert result(clean(trim={"columns": ["a"]}), chunk) == {"a": [text.strip(), None], "b": [text, "y"]}


SPACE = "".join(filter(str.isspace, map(chr, range(0x110000))))


@given(st.lists(st.text(st.characters(codec="utf-8") | st.sampled_from(ODD + " \u00a0\u3000")) | st.none()))
def test_white_space_is_that_of_unicode_where_characters_without_a_width_are_stripped(texts: list[str | None]) -> None:
    found = bare(pa.array(texts, pa.string())).to_pylist()

    assert found == [None if text is None else text.strip(SPACE + ODD) for text in texts]


def test_dates_are_read_by_the_first_format_that_they_have() -> None:
    step = clean(dates={"d": ["%d.%m.%Y", "%Y-%m-%d", "%d.%m.%y", "%d %b %Y"]})
    texts = ["31.12.2024", "2024-12-31", " 1.2.24", "5 Mar 2024", None, "1.1.70", "1.1.69"]

    assert result(step, a_chunk(d=texts)) == {
        "d": [
            date(2024, 12, 31),
            date(2024, 12, 31),
            date(2024, 2, 1),
            date(2024, 3, 5),
            None,
            date(1970, 1, 1),
            date(2069, 1, 1),
        ]
    }


def test_a_date_that_is_in_no_calendar_is_set_aside() -> None:
    after = clean(dates={"d": ["%d.%m.%Y"]}).apply(a_chunk(d=["31.02.2024", "29.02.2024", "", "31.12.24"]))

    assert after.rows["d"].to_pylist() == [date(2024, 2, 29)]
    assert rules_broken(after) == [(at, "date", "d") for at in (0, 2, 3)]


def test_times_that_tell_no_zone_are_in_the_zone_that_is_meant() -> None:
    moments = {"formats": ["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M%z"], "type": "timestamptz", "zone": "Europe/Berlin"}
    texts = ["2024-07-01 12:00:00.5", "2024-07-01T12:00Z", "2024-07-01T12:00+05:30"]

    assert result(clean(dates={"t": moments}), a_chunk(t=texts)) == {
        "t": [
            datetime(2024, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC),
            datetime(2024, 7, 1, 12, tzinfo=UTC),
            datetime(2024, 7, 1, 6, 30, tzinfo=UTC),
        ]
    }


def test_of_two_hours_with_one_name_the_first_is_meant_and_an_hour_that_was_left_out_is_none() -> None:
    step = clean(cast={"t": {"type": "timestamptz", "format": "%Y-%m-%d %H:%M", "zone": "Europe/Berlin"}})

    after = step.apply(a_chunk(t=["2024-10-27 02:30", "2024-03-31 02:30"]))

    assert after.rows["t"].to_pylist() == [datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]
    assert rules_broken(after) == [(1, "type", "t")]


def test_a_cast_knows_zones_also_without_a_format() -> None:
    moment, local = datetime(2024, 7, 1, 23, tzinfo=UTC), datetime(2024, 7, 2, 1)  # noqa: DTZ001  # the type without a zone
    chunk = a_chunk(
        text=["2024-07-02 01:00:00"], local=pa.array([local], pa.timestamp("us")),
        moment=pa.array([moment], pa.timestamp("us", "UTC")), day=pa.array([moment], pa.timestamp("us", "UTC")),
    )  # fmt: skip
    zone = {"zone": "Europe/Berlin"}
    step = clean(
        cast={
            "text": {"type": "timestamptz", **zone}, "local": {"type": "timestamptz", **zone},
            "moment": {"type": "timestamp", **zone}, "day": {"type": "date", **zone},
        }
    )  # fmt: skip

    assert result(step, chunk) == {"text": [moment], "local": [moment], "moment": [local], "day": [date(2024, 7, 2)]}


def test_what_is_finer_than_microseconds_is_rounded() -> None:
    fine = pa.array([1_700_000_000_000_000_999], pa.timestamp("ns"))

    found = result(clean(cast={"t": {"type": "timestamptz", "zone": "UTC"}}), a_chunk(t=fine))

    assert found == {"t": [datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)]}


def test_nulls_are_filled_with_values_of_the_column() -> None:
    chunk = a_chunk(a=["x", None], n=[None, 2], t=pa.array([None, "5"]), good=[None, False])

    filled = result(clean(nulls={"a": "none", "n": 0, "t": 7, "good": True}), chunk)

    assert filled == {"a": ["x", "none"], "n": [0, 2], "t": ["7", "5"], "good": [True, False]}


def test_rows_with_nulls_are_left_out_and_counted() -> None:
    after = clean(drop_nulls=["a", "b"]).apply(a_chunk(a=[1, None, 3], b=[None, 2, 3]))

    assert (after.rows["a"].to_pylist(), after.filtered, after.rows[POSITION].to_pylist()) == ([3], 2, [2])


def test_what_first_lets_go_of_a_row_decides_what_becomes_of_it() -> None:
    step = clean(dates={"d": ["%d.%m.%Y"]}, drop_nulls=["d", "n"], cast={"n": "int64"})

    after = step.apply(a_chunk(d=["oh", "01.02.2024", None, "oh"], n=["1", "x", "x", None]))

    assert (after.rows.num_rows, after.filtered, after.rejected) == (0, 1, 3)
    assert rules_broken(after) == [(0, "date", "d"), (1, "type", "n"), (3, "date", "d")]


def test_a_value_that_does_not_fit_its_new_type_sets_its_row_aside_as_it_came() -> None:
    after = clean(trim=True, cast={"n": "int64"}).apply(a_chunk(n=[" 1 ", " x", None]))

    assert after.rows["n"].to_pylist() == [1, None]
    assert after.rejects.to_pylist() == [
        {"position": 1, "rule": "type", "column": "n", "reason": "column 'n' is no int64", "row": '{"n": " x"}'}
    ]


def test_keys_are_the_hash_of_a_form_that_does_not_depend_on_types() -> None:
    def sha(form: str) -> str:
        return hashlib.sha256(form.encode()).hexdigest()

    narrow, wide = a_chunk(n=pa.array([7, None], pa.int16()), s=["ä", "n"]), a_chunk(n=[7, None], s=["ä", "n"])

    keys = result(clean(key={"id": ["n", "s"]}), narrow)["id"]

    assert keys == [sha("v1:7v2:ä"), sha("nv1:n")]
    assert result(clean(key={"id": ["n", "s"]}), wide)["id"] == keys
    assert result(clean(cast={"n": "string"}, key={"id": ["n", "s"]}), wide)["id"] == keys


def test_keys_know_moments_bytes_and_truth() -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    chunk = a_chunk(
        t=pa.array([moment], pa.timestamp("s", "Europe/Berlin")), b=[b"\xff"], ok=[True], d=[date(2024, 1, 2)]
    )

    keys = result(clean(key={"id": ["t", "b", "ok", "d"]}), chunk)["id"]

    form = "v27:2024-01-31 12:00:00.000000Z" + "v2:ff" + "v4:true" + "v10:2024-01-02"
    assert keys == [hashlib.sha256(form.encode()).hexdigest()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": {"x": "y"}}, "clean.rename: the rows have no column 'x'"),
        ({"rename": {"x": "y", "z": "w"}}, "the rows have no columns 'x', 'z'"),
        ({"rename": {"a": "n"}}, "two columns would be called 'n'"),
        ({"rename": {"a": POSITION}}, "two columns would be called"),
        ({"rename": {POSITION: "p"}}, "the rows have no column '__position', only a, n, r"),
        ({"flatten": ["n"]}, "column 'n' is int64, no record"),
        ({"flatten": ["x"]}, "clean.flatten: the rows have no column 'x'"),
        ({"parse_json": {"n": {"x": "$.x"}}}, "clean.parse_json: column 'n' is int64, not text"),
        ({"parse_json": {"a": {"n": "$.x"}}}, "clean.parse_json: two columns would be called 'n'"),
        ({"split": {"a": {"by": " ", "into": ["x", "x"]}}}, "clean.split: two columns would be called 'x'"),
        ({"select": ["a", "x"]}, "clean.select: the rows have no column 'x'"),
        ({"drop": ["x"]}, "clean.drop"),
        ({"trim": ["x"]}, "clean.trim"),
        ({"trim": {"columns": ["x"], "zero_width": True}}, "clean.trim"),
        ({"trim": ["n"]}, "column 'n' is int64, not text"),
        ({"unicode": {"n": "NFC"}}, "clean.unicode: column 'n' is int64, not text"),
        ({"case": {"n": "upper", "r": "lower"}}, "clean.case: column 'n' is int64, column 'r' is struct"),
        ({"replace": {"n": [{"find": "x", "to": ""}]}}, "clean.replace: column 'n' is int64"),
        ({"null_texts": {"x": [""]}}, "clean.null_texts"),
        ({"email": ["n"]}, "clean.email: column 'n' is int64, not text"),
        ({"phone": {"n": "DE"}}, "clean.phone: column 'n' is int64, not text"),
        ({"dates": {"n": ["%d.%m.%Y"]}}, "clean.dates: column 'n' is int64, not text"),
        ({"nulls": {"x": 1}}, "clean.nulls"),
        ({"nulls": {"n": "many"}}, "the value for column 'n' is no int64"),
        ({"nulls": {"n": "many", "r": 1}}, "column 'n' is no int64.*; clean.nulls: column 'r' is struct"),
        ({"drop_nulls": ["x"]}, "clean.drop_nulls"),
        ({"drop": ["a"], "cast": {"a": "int64"}}, "clean.cast: the rows have no column 'a'"),
        ({"cast": {"x": "int64", "r": "int64"}}, "no column 'x'.*; clean.cast: column 'r' is struct"),
        ({"cast": {"n": {"type": "date", "format": "%d.%m.%Y"}}}, "clean.cast: column 'n' is int64, not text"),
        ({"key": {"k": ["a", "x"]}}, "clean.key: the rows have no column 'x'"),
        ({"key": {"k": ["r"]}}, "clean.key: column 'r' is struct"),
        ({"key": {"a": ["n"]}}, "clean.key: two columns would be called 'a'"),
    ],
)
def test_a_step_that_does_not_go_with_the_columns_says_where(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        clean(**options).schema(pa.table({"a": ["x"], "n": [1], "r": [{"q": 1}]}).schema)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dates": {"d": ["%Q"]}}, "is no format of a whole date"),
        ({"dates": {"d": ["%d.%m."]}}, "is no format of a whole date"),
        ({"dates": {"d": ["%Y-%m-%d %f"]}}, "is no format of a whole date"),
        ({"cast": {"d": {"type": "int64", "format": "%d.%m.%Y"}}}, "values of type int64 have none"),
        ({"cast": {"d": {"type": "timestamptz", "zone": "Mars/Olympus"}}}, "is no time zone"),
        ({"replace": {"x": [{"find": "(", "to": "", "regex": True}]}}, "is no replacement of RE2"),
        ({"replace": {"x": [{"find": "(a)", "to": r"\2", "regex": True}]}}, "is no replacement of RE2"),
        ({"split": {"x": {"by": "(", "into": ["a"], "regex": True}}}, "is no replacement of RE2"),
        ({"parse_json": {"x": {"a": "$.*"}}}, "String should match pattern"),
        ({"parse_json": {"x": {"a": "$..a"}}}, "String should match pattern"),
        ({"phone": {"x": "Germany"}}, "String should match pattern"),
    ],
)
def test_what_can_never_be_done_is_refused_when_it_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CleanTransform.model_validate({"kind": "clean", **options})


@given(st.lists(st.sampled_from(["1", " 2 ", "x", None, ""]), max_size=30))
def test_every_row_is_kept_set_aside_or_left_out(values: list[str | None]) -> None:
    step = clean(trim=True, drop_nulls=["n"], cast={"n": "int64"})

    after = step.apply(a_chunk(n=pa.array(values, pa.string())))

    assert after.rows["n"].to_pylist() == [int(value) for value in values if value in ("1", " 2 ")]
    assert (after.filtered, after.rejected) == (values.count(None), values.count("x") + values.count(""))


EVERYTHING = {
    "flatten": True,
    "rename": {"place_city": "city"},
    "parse_json": {"doc": {"n": "$.n"}},
    "split": {"name": {"by": " ", "into": ["first", "last"]}},
    "drop": ["doc"],
    "trim": True,
    "unicode": "NFC",
    "replace": {"city": [{"find": "[0-9]+", "to": "", "regex": True}]},
    "case": {"city": "title"},
    "null_texts": ["", "-"],
    "email": ["mail"],
    "phone": {"tel": "DE"},
    "dates": {"day": ["%d.%m.%Y", "%Y-%m-%d"]},
    "nulls": {"city": "?"},
    "drop_nulls": ["name"],
    "cast": {"n": "int32"},
    "key": {"key": ["name", "day"]},
}


def test_what_is_written_down_of_a_step_is_read_as_the_same_step() -> None:
    spec = CleanTransform.model_validate({"kind": "clean", **EVERYTHING})

    assert CleanTransform.model_validate_json(spec.model_dump_json()) == spec


some = st.sampled_from
rows_of_everything = st.lists(
    st.fixed_dictionaries(
        {
            "place": st.none() | st.fixed_dictionaries({"city": some([None, "bonn1", " köln ", "-"])}),
            "doc": some([None, '{"n": 5}', '{"n": "x"}', "{", "[]"]),
            "name": some([None, "Ann Lee", "Cher", " ", "e\u0301 b c"]),
            "mail": some([None, "A@B.DE", "x"]),
            "tel": some([None, "0171 9876543", "12"]),
            "day": some([None, "1.2.2024", "2024-02-01", "31.02.2024"]),
        }
    ),
    max_size=25,
)
SCHEMA = pa.schema(
    [
        ("place", pa.struct([("city", pa.string())])),
        *((name, pa.string()) for name in ("doc", "name", "mail", "tel", "day")),
    ]
)


@settings(max_examples=40)
@given(rows_of_everything, st.integers(0, 25))
def test_all_of_it_is_pure_counts_every_row_and_gives_the_same_in_pieces(rows: list[dict[str, Any]], cut: int) -> None:
    step, table = clean(**EVERYTHING), with_positions(pa.Table.from_pylist(rows, SCHEMA), 100)

    def after(piece: pa.Table) -> Chunk:
        found = step.apply(chunk_of("unit-1", 0, Piece(piece, no_rejects()), last=True))
        assert found.read == piece.num_rows == found.rows.num_rows + found.rejected + found.filtered
        return found

    whole, again, pieces = after(table), after(table), [after(table.slice(0, cut)), after(table.slice(cut))]
    positions = np.asarray(whole.rows[POSITION])

    assert whole.rows.equals(again.rows)
    assert whole.rejects.equals(again.rejects)
    assert pa.concat_tables([piece.rows for piece in pieces]).equals(whole.rows)
    assert pa.concat_tables([piece.rejects for piece in pieces]).equals(whole.rejects)
    assert (np.diff(positions) > 0).all()
    assert whole.rows.schema.remove(len(whole.rows.schema) - 1) == step.schema(SCHEMA)
