"""Laws of contracts as users write them, and of the page that explains them."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dataproc.domain.contract import Contract
from dataproc.domain.destination import Destination
from dataproc.domain.document import read_spec
from dataproc.domain.errors import InvalidSpecError
from dataproc.transforms.origins import contract_at_source
from dataproc.warehouse.widening import cost_of, widened
from tests.builders import a_spec

PAGE = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text(encoding="utf-8")
JOBS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WIDENED = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\S.*?) \| (\S+) \|$", PAGE, re.MULTILINE)


def destination(**fields: object) -> Destination:
    return Destination.model_validate({"table": "sales.orders", **fields})


def test_one_word_is_the_contract_of_all_columns() -> None:
    assert destination(contract="freeze").terms == Contract(default="freeze")


def test_a_column_has_its_own_contract_or_that_of_all() -> None:
    terms = destination(contract={"default": "evolve", "columns": {"note": "discard_value"}}).terms

    assert (terms.of("note"), terms.of("id")) == ("discard_value", "evolve")
    assert (terms.discards("note"), terms.discards("id")) == (True, False)


def test_without_a_contract_nothing_holds_for_any_column() -> None:
    assert destination().terms.of("id") is None


@pytest.mark.parametrize(
    "contract", ["thaw", {"default": "thaw"}, {"columns": {"id": "thaw"}}, {"columns": {"": "freeze"}}, {"more": 1}]
)
def test_a_contract_that_does_not_exist_is_refused(contract: object) -> None:
    with pytest.raises(ValidationError):
        destination(contract=contract)


@pytest.mark.parametrize("accept", ["yes", "0F3C9A1BE47D2586", "0f3c9a1be47d258", "0f3c9a1be47d25866"])
def test_what_is_accepted_is_a_fingerprint(accept: str) -> None:
    with pytest.raises(ValidationError):
        destination(accept=accept)


def test_a_wrong_contract_is_told_with_its_place() -> None:
    text = 'name: a\nsource: {kind: files, path: "*.csv"}\ndestination: {table: a.b, contract: {default: thaw}}\n'

    with pytest.raises(InvalidSpecError) as raised:
        read_spec(text)

    assert any(problem.pointer.startswith("/destination/contract") for problem in raised.value.problems)


def test_a_source_knows_the_columns_of_a_contract_by_their_names_there() -> None:
    transforms = [
        {"kind": "clean", "rename": {"Amount": "amount"}},
        {"kind": "clean", "rename": {"amount": "total"}, "drop": ["gone"]},
    ]
    columns = {"total": "discard_row", "id": "freeze", "gone": "freeze"}
    spec = a_spec(transforms=transforms, destination=destination(contract={"columns": columns}))

    assert contract_at_source(spec) == Contract(columns={"Amount": "discard_row", "id": "freeze"})


def test_the_page_shows_jobs() -> None:
    assert len(JOBS) == 2


@pytest.mark.parametrize("text", JOBS)
def test_every_job_that_the_page_shows_is_right(text: str) -> None:
    assert read_spec(text).destination.contract


@pytest.mark.parametrize(("before", "source", "becomes", "cost"), WIDENED)
def test_the_page_tells_types_as_they_are_widened(before: str, source: str, becomes: str, cost: str) -> None:
    after = widened(before, source)
    real = None if after is None else cost_of(before, after)

    assert (becomes, cost) == (("-", "-") if real is None else (f"`{after}`", real))


def test_every_line_of_the_table_of_types_is_compared_with_the_code() -> None:
    table = PAGE[PAGE.index("| column | source | becomes | cost |") :].partition("\n\n")[0]

    assert len(WIDENED) == len(table.splitlines()) - 2 > 10
