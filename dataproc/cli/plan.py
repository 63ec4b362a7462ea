"""`dataproc plan`: what a job would do."""

import asyncio

import pyarrow as pa
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from dataproc.bootstrap import open_planner
from dataproc.cli.local import with_embedded
from dataproc.cli.output import Output, shown
from dataproc.cli.show import fact_table
from dataproc.domain.source_columns import type_name
from dataproc.domain.spec import JobSpec
from dataproc.services.plan import JobPlan
from dataproc.settings import Settings


def show_plan(out: Output, spec: JobSpec, settings: Settings) -> None:
    """Plan a job and show the plan."""
    planner = asyncio.run(open_planner(spec, with_embedded(settings)))
    plan = planner.plan()
    out.show(as_document(plan), for_people(plan))


def as_document(plan: JobPlan) -> dict[str, object]:
    """Return a plan for programs."""
    source, target = plan.source, plan.target
    return {
        "source": {
            "units": [{"uri": u.uri, "bytes": u.size, "rows": u.rows, "span": u.span} for u in source.units],
            "bytes": source.size,
            "rows": source.rows,
            "notes": source.notes,
        },
        "choices": plan.choices,
        "schema": columns_of(plan.schema),
        "target": {
            "table": target.table,
            "exists": target.exists,
            "columns": [{"name": name, "type": sql_type} for name, sql_type in target.columns],
            "left_out": target.left_out,
            "statements": target.statements,
            "changes": [
                {"statement": each.statement, "safe": each.unsafe is None, "reason": each.unsafe}
                for each in target.changes
            ],
            "fingerprint": target.fingerprint,
            "accepted": target.accepted,
        },
        "mode": plan.destination.mode,
        "load": target.way,
        "access": {
            "allowed": plan.is_allowed,
            "permissions": [
                {"what": each.what, "granted": each.granted, "advice": each.advice} for each in target.permissions
            ],
        },
        "warnings": plan.warnings,
    }


def columns_of(schema: pa.Schema) -> list[dict[str, str]]:
    """Return names and Arrow types."""
    return [{"name": column.name, "type": type_name(column)} for column in schema]


def for_people(plan: JobPlan) -> Group:
    """Return a plan as people read it."""
    facts = fact_table()
    rows = "not announced by this format" if plan.source.rows is None else f"{plan.source.rows:,}"
    for name, value in (
        ("units", f"{len(plan.source.units):,}"),
        ("bytes", f"{plan.source.size:,}"),
        ("rows", rows),
        ("target", f"{plan.target.table}, {'is there' if plan.target.exists else 'will be made'}"),
        ("mode", plan.destination.mode),
        ("load", plan.target.way),
        ("access", "granted" if plan.is_allowed else "not granted"),
    ):
        facts.add_row(name, shown(value))
    for choice in plan.choices:
        facts.add_row("choice", shown(choice))
    for warning in plan.warnings:
        facts.add_row("warning", shown(warning))
    statements: list[RenderableType] = [shown(f"{statement};") for statement in plan.target.statements]
    changes = [
        shown(f"{each.statement};{f'  -- {each.unsafe}' if each.unsafe else ''}") for each in plan.target.changes
    ]
    return Group(facts, column_table(plan), *statements, *changes)


def column_table(plan: JobPlan) -> Table:
    """Return each column: what the transforms give, and what the target holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("COLUMN", "AFTER THE TRANSFORMS", "IN THE TARGET"):
        table.add_column(heading, overflow="fold")
    in_target = dict(plan.target.columns)
    for column in columns_of(plan.schema):
        table.add_row(shown(column["name"]), shown(column["type"]), in_target.get(column["name"], "-"))
    return table
