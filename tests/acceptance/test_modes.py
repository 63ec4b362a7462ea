"""Through the API and Ray: rows cleaned, checked, compared over the run, masked, and brought in as asked."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.acceptance.installation import Installation, new_table

STEPS = (
    {"kind": "clean", "trim": True},
    {"kind": "validate", "columns": {"id": "int64!", "at": "timestamptz!", "amount": "decimal(12,2) >= 0"}},
    {"kind": "dedupe", "keys": ["id"], "keep": {"latest": "at"}},
    {"kind": "filter", "where": "status <> 'cancelled'"},
    {"kind": "derive", "columns": {"gross": "cast(amount * 1.19 as decimal(12,2))"}},
    {"kind": "mask", "columns": {"card": {"partial": {"keep_last": 4}}}},
)
Order = tuple[int, int, str, str]


def put(installation: Installation, folder: str, files: Sequence[Sequence[Order]]) -> None:
    """Put a file of orders (id, hour, status, amount) for each list."""
    for number, orders in enumerate(files):
        lines = [
            {"id": i, "at": f"2026-01-01T{hour:02}:00:00Z", "status": s, "amount": amount, "card": f"4111 0000 {i:04}"}
            for i, hour, s, amount in orders
        ]
        installation.put(f"{folder}/{number}.jsonl", "\n".join(map(json.dumps, lines)).encode())


def run(installation: Installation, folder: str, table: str, **destination: Any) -> dict[str, Any]:
    """Load a folder through all steps."""
    spec = installation.spec(f"{folder}/*.jsonl", table, transforms=list(STEPS))
    spec["destination"] = {"table": table, **destination}
    job = installation.run(spec)
    assert job["status"] == "COMPLETED", job["error"]
    return job


def test_the_latest_state_of_each_row_is_merged_into_what_is_there(installation: Installation) -> None:
    table = new_table()
    put(
        installation,
        "merge-1",
        [[(1, 8, "new", "10"), (2, 8, "new", "20")], [(1, 9, " paid", "10"), (3, 8, "new", "-1")]],
    )
    put(
        installation,
        "merge-2",
        [[(2, 8, "new", "20"), (4, 8, "new", "40")], [(5, 9, "cancelled", "1"), (5, 8, "new", "1")]],
    )

    first = run(installation, "merge-1", table, mode="merge", keys=["id"])
    second = run(installation, "merge-2", table, mode="merge", keys=["id"])

    accounts = [installation.api.get(f"/jobs/{job['id']}/reconciliation").json()["rows"] for job in (first, second)]
    told = [
        {name: each[name] for name in ("read", "staged", "rejected", "deduplicated", "filtered")} for each in accounts
    ]
    assert told == [
        {"read": 4, "staged": 2, "rejected": 1, "deduplicated": 1, "filtered": 0},
        {"read": 4, "staged": 2, "rejected": 0, "deduplicated": 1, "filtered": 1},
    ]
    assert installation.query(f"SELECT id, status, gross::text, card FROM {table} ORDER BY id") == [
        (1, "paid", "11.90", "**********0001"),
        (2, "new", "23.80", "**********0002"),
        (4, "new", "47.60", "**********0004"),
    ]
    assert installation.left_over() == []


@pytest.mark.parametrize("way", ["swap", "in_place"])
def test_a_table_is_replaced_by_what_the_source_has_now(installation: Installation, way: str) -> None:
    table = new_table()
    put(installation, f"replace-{way}-1", [[(1, 8, "new", "10"), (2, 8, "new", "20")]])
    put(installation, f"replace-{way}-2", [[(3, 8, "new", "30")]])

    for number in (1, 2):
        run(installation, f"replace-{way}-{number}", table, mode="replace", replace=way)

    assert installation.query(f"SELECT id, status FROM {table}") == [(3, "new")]
    assert installation.left_over() == []


def test_every_version_of_a_row_is_kept(installation: Installation) -> None:
    table = new_table()
    put(installation, "scd2-1", [[(1, 8, "new", "10"), (2, 8, "new", "20")]])
    put(installation, "scd2-2", [[(1, 9, "paid", "10"), (2, 8, "new", "20")]])

    for number in (1, 2):
        run(installation, f"scd2-{number}", table, mode="scd2", keys=["id"], versions={"effective": "at"})

    shown = f"SELECT id, status, is_current, valid_to IS NULL FROM {table} ORDER BY id, valid_from"
    assert installation.query(shown) == [
        (1, "new", False, False),
        (1, "paid", True, True),
        (2, "new", True, True),
    ]
