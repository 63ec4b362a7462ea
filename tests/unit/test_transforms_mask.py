"""The `mask` step."""

import hmac
import logging
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.document import read_spec
from dataproc.domain.errors import ContractViolationError, InvalidSpecError, SetupError
from dataproc.domain.source_columns import SQL_TYPE
from dataproc.domain.spec import JobSpec
from dataproc.domain.transforms.mask import MaskTransform
from dataproc.ports.pipeline import Transform
from dataproc.security.ciphers import DataKeyCipher
from dataproc.services.schemas import schema_after
from dataproc.sources.factory import source_for
from dataproc.transforms import mask_hash
from dataproc.transforms.declared import source_columns
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms, surroundings
from tests.fakes.secrets import FakeSecrets
from tests.steps import KEY, a_chunk, applied, columns, demand_same_in_pieces, schema_of

SECRETS = FakeSecrets({"secret://dataproc#key": KEY, "secret://mask": "sixteen bytes or more", "secret://short": "x"})
CIPHER = DataKeyCipher(("secret://dataproc#key",), SECRETS)


def mask(key: str | None = None, **by_column: Any) -> Transform:
    spec = MaskTransform.model_validate({"kind": "mask", "columns": by_column, "key": key})
    return transform_for(spec, around_transforms(secrets=SECRETS, cipher=CIPHER))


def masked(values: Any, how: Any, key: str | None = None) -> list[Any]:
    return columns(applied(mask(key, v=how), a_chunk(v=values)))["v"]


def test_a_hash_is_the_hmac_of_the_value_as_text() -> None:
    expected = [hmac.new(b"sixteen bytes or more", text, "sha256").hexdigest() for text in (b"ann@example.com", b"7")]

    assert masked(["ann@example.com", None, "7"], "hash", "secret://mask") == [expected[0], None, expected[1]]
    assert masked(pa.array([7, None], pa.int16()), "hash", "secret://mask") == [expected[1], None]


@given(st.lists(st.text(max_size=100) | st.none(), max_size=30), st.binary(min_size=1, max_size=100))
def test_hashes_are_those_of_the_standard_library_also_for_long_keys_and_repeated_values(
    values: list[str | None], key: bytes
) -> None:
    from dataproc.transforms.mask_values import by_value

    found = by_value(pa.array(values * 3, pa.string()), lambda cells: mask_hash.keyed_hashes(cells, key))

    told = [None if v is None else hmac.new(key, v.encode(), "sha256").hexdigest() for v in values * 3]
    assert found.to_pylist() == told


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=9), max_size=9))
def test_hashes_are_the_same_whatever_is_remembered_of_batches_before(batches: list[list[str]]) -> None:
    key = b"sixteen bytes or more"
    known = mask_hash.Known(key, most=3, looked_at=2)

    found = [known.of_texts(pa.array(batch)).to_pylist() for batch in batches]

    assert found == [[hmac.new(key, value.encode(), "sha256").hexdigest() for value in batch] for batch in batches]
    assert len(known.values) == len(known.hashes) <= 3


def test_it_is_looked_up_only_while_values_are_met_again() -> None:
    key = b"another key of some bytes"
    mask_hash.keyed_hashes(pa.array(["a", "b"]), key)
    mask_hash.keyed_hashes(pa.array(["c", "d"]), key)
    after_new_ones = mask_hash.remembered(key).pays
    mask_hash.keyed_hashes(pa.array(["a", "d"]), key)

    assert (after_new_ones, mask_hash.remembered(key).pays) == (False, True)


def test_hashes_without_a_key_of_the_job_come_from_the_last_key_of_the_installation() -> None:
    older = FakeSecrets({**SECRETS.known, "secret://new": KEY.swapcase()})
    rotated = DataKeyCipher(("secret://new", "secret://dataproc#key"), older)
    spec = MaskTransform.model_validate({"kind": "mask", "columns": {"v": "hash"}})

    after = transform_for(spec, around_transforms(secrets=older, cipher=rotated)).apply(a_chunk(v=["x"]))

    assert columns(after)["v"] == masked(["x"], "hash")


def test_a_redacted_value_is_one_text_and_null_stays_null() -> None:
    assert masked([1, None], "redact") == ["***", None]
    assert masked(["x", None], {"redact": {"by": "(gone)"}}) == ["(gone)", None]
    assert masked(pa.array([1, 2], pa.int64()), {"redact": {"by": None}}) == [None, None]
    assert masked([[1], None], "redact") == ["***", None]


@pytest.mark.parametrize(
    ("shown", "text", "expected"),
    [
        ({"keep_last": 4}, "4111111111111234", "************1234"),
        ({"keep_last": 4}, "1234", "****"),
        ({"keep_last": 4}, "", ""),
        ({"keep_first": 1, "keep_last": 1, "by": "•"}, "Zoë!", "Z••!"),
        ({"keep_first": 2}, "äöü", "äö*"),
        ({}, "all", "***"),
    ],
)
def test_a_part_of_a_text_stays_and_a_short_text_shows_none(shown: Any, text: str, expected: str) -> None:
    assert masked([text, None], {"partial": shown}) == [expected, None]


@given(st.text(max_size=40))
def test_a_token_has_the_format_of_its_text(text: str) -> None:
    token = masked([text], "tokenise")[0]

    assert len(token) == len(text)
    for before, after in zip(text, token, strict=True):
        if before.isdecimal():
            assert after in "0123456789"
        elif before.isalpha():
            assert (after.isascii(), after.isalpha(), after.isupper()) == (True, True, before.isupper())
        else:
            assert after == before


def test_no_two_texts_or_numbers_have_the_same_token() -> None:
    texts = [f"#{n:03d}" for n in range(1000)]
    numbers = list(range(-128, 128))

    assert sorted(masked(texts, "tokenise")) == texts
    assert sorted(masked(pa.array(numbers, pa.int8()), "tokenise")) == numbers


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=10))
def test_a_token_of_a_number_has_as_many_digits_and_its_sign(numbers: list[int]) -> None:
    found = masked(pa.array(numbers, pa.int64()), "tokenise")

    assert [(len(str(abs(n))), n < 0) for n in found] == [(len(str(abs(n))), n < 0) for n in numbers]


def test_an_encrypted_value_is_decrypted_by_those_who_hold_the_key() -> None:
    found = masked(["123-45-6789", None, ""], {"encrypt": {}})

    assert [None if text is None else CIPHER.decrypt(text) for text in found] == [b"123-45-6789", None, b""]
    assert found[1] is None
    assert masked(["same", "same"], "encrypt")[0] != masked(["same", "same"], "encrypt")[1]


def test_a_blind_index_finds_equal_values_and_is_a_column_of_its_own() -> None:
    after = applied(
        mask(ssn={"encrypt": {"blind_index": "ssn_index"}}), a_chunk(ssn=["1", "2", "1", None], n=[1, 2, 3, 4])
    )

    index = columns(after)["ssn_index"]
    assert after.rows.column_names[:-1] == ["ssn", "n", "ssn_index"]
    assert index == [*CIPHER.blind_index(["1", "2", "1"], "ssn_index"), None]
    assert index[0] == index[2] != index[1]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.text(max_size=9) | st.none(), st.integers(-99, 99) | st.none()), max_size=30),
    st.integers(0, 30),
)
def test_it_does_not_matter_where_chunks_end(rows: list[tuple[str | None, int | None]], at: int) -> None:
    names, numbers = [row[0] for row in rows], [row[1] for row in rows]
    chunk = a_chunk(a=pa.array(names, pa.string()), b=pa.array(names, pa.string()), n=pa.array(numbers, pa.int64()))

    demand_same_in_pieces(mask(a="hash", b={"partial": {"keep_last": 2}}, n="tokenise"), chunk, at)


def test_values_are_the_same_however_a_column_is_encoded() -> None:
    plain = pa.array(["a", "b", None, "a"])

    for how in ("hash", "redact", "tokenise", {"partial": {"keep_last": 0}}):
        assert (
            masked(plain.dictionary_encode(), how) == masked(plain.cast(pa.large_string()), how) == masked(plain, how)
        )
    assert masked(pa.array([b"\x01"]), "hash") == masked(["01"], "hash")


@pytest.mark.parametrize("how", ["encrypt", "hash", "tokenise", {"encrypt": {"blind_index": "i"}}])
def test_what_needs_a_key_is_refused_where_there_is_none(how: Any) -> None:
    spec = MaskTransform.model_validate({"kind": "mask", "columns": {"v": how}})
    step = transform_for(spec, around_transforms(cipher=DataKeyCipher((), SECRETS)))

    with pytest.raises(SetupError, match=r"column 'v'.*set DATAPROC_ENCRYPTION_KEYS"):
        step.schema(schema_of(a_chunk(v=["x"])))


@pytest.mark.parametrize(
    ("how", "values", "message"),
    [
        ("tokenise", [1.5], "column 'v' is double; only text and whole numbers have tokens"),
        ({"partial": {}}, [1], "column 'v' is int64; only text has parts"),
        ("hash", [[1]], "column 'v' is list"),
        ({"encrypt": {"blind_index": "v"}}, ["x"], "there is a column 'v' already"),
        ({"encrypt": {"blind_index": "__position"}}, ["x"], "call the blind index something else"),
    ],
)
def test_a_column_that_cannot_be_masked_this_way_is_named(how: Any, values: list[Any], message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        mask(v=how).schema(schema_of(a_chunk(v=values)))


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ContractViolationError, match=r"mask\.columns: the rows have no column 'x'"):
        mask(x="hash").schema(schema_of(a_chunk(v=["x"])))


def test_a_key_that_is_too_short_is_refused_and_not_shown() -> None:
    with pytest.raises(SetupError, match="secret://short is shorter than 16 bytes"):
        mask("secret://short", v="hash").apply(a_chunk(v=["x"]))


def test_two_blind_indexes_of_one_name_are_refused() -> None:
    how = {"encrypt": {"blind_index": "i"}}

    with pytest.raises(ValueError, match="blind_index: two columns would have the same name"):
        mask(a=how, b=how)


def test_a_mask_that_does_not_exist_is_refused_by_its_place() -> None:
    steps = "transforms: [{kind: mask, columns: {e: hsah}}]"
    job = f"{{name: a, source: {{kind: files, path: x}}, {steps}, destination: {{table: a.b}}}}"

    with pytest.raises(InvalidSpecError) as caught:
        read_spec(job)
    assert all(problem.pointer.startswith("/transforms/0") for problem in caught.value.problems)


def test_no_key_is_in_a_repr_a_pickle_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    class Elsewhere(FakeSecrets):
        """Secrets that stay where they are."""

        def __reduce__(self) -> tuple[Any, ...]:
            return FakeSecrets, ()

    step = mask(v="encrypt")
    caplog.set_level(logging.DEBUG)

    step.apply(a_chunk(v=["x"]))

    assert KEY not in repr(step) + caplog.text
    assert KEY.encode() not in pickle.dumps(DataKeyCipher(("secret://dataproc#key",), Elsewhere(SECRETS.known)))


def test_columns_to_be_masked_are_read_as_text_so_that_no_zero_is_lost() -> None:
    spec = MaskTransform.model_validate({"kind": "mask", "columns": {"card": {"partial": {}}, "ssn": "hash"}})

    assert source_columns([spec]).declared == {"card", "ssn"}


def planned_token(folder: Path, name: str, text: str, steps: list[dict[str, Any]]) -> pa.DataType:
    """Return the type of tokens of the column `v` of a file."""
    (folder / name).write_text(text)
    spec = JobSpec.model_validate(
        {
            "name": "people", "source": {"kind": "files", "path": name}, "destination": {"table": "crm.people"},
            "transforms": [*steps, {"kind": "mask", "columns": {"v": "tokenise"}}],
        }
    )  # fmt: skip
    columns = source_columns(spec.transforms)
    schema = source_for(spec.source, surroundings(files_root=folder, columns=columns)).plan().schema
    around = around_transforms(secrets=SECRETS, cipher=CIPHER)
    after, _ = schema_after([transform_for(step, around) for step in spec.transforms], schema)
    dtype: pa.DataType = after.field("v").type
    return dtype


FRACTIONS = [["1.5"], ["7", "0.25"], ["1.5e3"], ["1.5", "1.5e+300"], ["12345678901234567890"]]


@pytest.mark.parametrize(
    ("form", "values"),
    [*(("csv", each) for each in FRACTIONS), *(("jsonl", each) for each in [*FRACTIONS, ["1e+100", "1"]])],
)
def test_a_column_of_numbers_with_a_fraction_has_no_tokens_and_the_plan_says_so(
    tmp_path: Path, form: str, values: list[str]
) -> None:
    text = "".join(f'{{"v": {value}}}\n' for value in values) if form == "jsonl" else "\n".join(["v", *values, ""])

    with pytest.raises(ContractViolationError, match=r"column 'v' is (numeric|double precision); .* cast it to string"):
        planned_token(tmp_path, f"a.{form}", text, [])
    assert planned_token(tmp_path, f"a.{form}", text, [{"kind": "clean", "cast": {"v": "string"}}]) == pa.string()


def test_exact_numbers_that_travel_as_text_have_no_tokens_either() -> None:
    number = pa.field("v", pa.string(), metadata={SQL_TYPE: b"numeric"})

    with pytest.raises(ContractViolationError, match="column 'v' is numeric"):
        mask(v="tokenise").schema(pa.schema([number]))


@pytest.mark.parametrize("text", ['{"v": 7}\n', '{"v": "1.5"}\n', '{"v": "x"}\n{"v": 1.5}\n', '{"v": null}\n'])
def test_whole_numbers_and_text_have_tokens(tmp_path: Path, text: str) -> None:
    assert planned_token(tmp_path, "a.jsonl", text, []) == pa.string()
