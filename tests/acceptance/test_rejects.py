"""From rows that were set aside to the warehouse, through the HTTP API and Ray."""

import csv
import io
from typing import Any

from tests.acceptance.installation import Installation, new_table


def amount_of(number: int) -> str:
    """Return the amount of an order: one in ten is less than nothing, and some of these far less."""
    return f"-{number}.50" if number % 10 == 0 else f"{number}.25"


def rules(least: int) -> list[dict[str, Any]]:
    """Return transforms that set aside orders of less than `least`, and those of a customer that has no name."""
    columns = {"id": "int64!", "amount": f"decimal(9,2) >= {least}", "name": "string!"}
    return [{"kind": "validate", "columns": columns}]


def replay(installation: Installation, job: dict[str, Any], spec: dict[str, Any], **which: str) -> dict[str, Any]:
    """Replay what a job has set aside, and wait for the end."""
    body = {name: part for name, part in spec.items() if name != "source"}
    response = installation.api.post(f"/jobs/{job['id']}/rejects/replay", json=body, params=which)
    assert response.status_code == 202, response.text
    done = installation.wait(response.json()["id"])
    assert done["status"] == "COMPLETED", done["error"]
    return done


def test_rows_that_were_set_aside_are_replayed_once_by_corrected_rules(installation: Installation) -> None:
    table = new_table()
    lines = [f"{n},{amount_of(n)},{'' if n == 50 else f'customer {n}'}" for n in range(1, 201)]
    installation.put("rejects/a.csv", "\n".join(["id,amount,name", *lines]).encode())
    first = installation.run(installation.spec("rejects/*.csv", table, transforms=rules(0)))
    path = f"/jobs/{first['id']}/rejects"

    counts = installation.api.get(f"{path}/counts").json()
    page = installation.api.get(path, params={"limit": 5}).json()
    file = list(csv.DictReader(io.StringIO(installation.api.get(path, headers={"Accept": "text/csv"}).text)))
    corrected = installation.spec("", table, transforms=rules(-100))
    second = replay(installation, first, corrected)
    third = replay(installation, first, corrected)
    fourth = replay(installation, second, installation.spec("", table, transforms=rules(-1000)), rule="ge")

    assert first["status"] == "COMPLETED", first["error"]
    assert {(each["rule"], each["rejects"]) for each in counts} == {("ge", 20), ("required", 1)}
    assert (len(page["rejects"]), len(file)) == (5, 21)
    read = [job["progress"]["ingesting"]["rows"] for job in (first, second, third, fourth)]
    loaded = [job["progress"]["loading"]["rows"] for job in (first, second, third, fourth)]
    assert read == [200, 20, 0, 11]
    assert loaded == [180, 9 - 1, 0, 11]
    count = f"SELECT count(*), count(DISTINCT id), min(amount)::text FROM {table}"
    assert installation.query(count) == [(199, 199, "-200.50")]
    assert installation.query(f"SELECT count(*) FROM {table} WHERE id = 50") == [(0,)]
