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
        "schema": columns_of(plan.schema),
        "target": {
            "table": target.table,
            "exists": target.exists,
            "columns": [{"name": name, "type": sql_type} for name, sql_type in target.columns],
            "statements": target.statements,
        },
        "load": target.way,
    }


def columns_of(schema: pa.Schema) -> list[dict[str, str]]:
    """Return names and Arrow types."""
    return [{"name": name, "type": str(schema.field(i).type)} for i, name in enumerate(schema.names)]


def for_people(plan: JobPlan) -> Group:
    """Return a plan as people read it."""
    facts = fact_table()
    rows = "not announced by this format" if plan.source.rows is None else f"{plan.source.rows:,}"
    for name, value in (
        ("units", f"{len(plan.source.units):,}"),
        ("bytes", f"{plan.source.size:,}"),
        ("rows", rows),
        ("target", f"{plan.target.table}, {'is there' if plan.target.exists else 'will be made'}"),
        ("load", plan.target.way),
    ):
        facts.add_row(name, shown(value))
    for note in plan.source.notes:
        facts.add_row("note", shown(note))
    statements: list[RenderableType] = [shown(f"{statement};") for statement in plan.target.statements]
    return Group(facts, column_table(plan), *statements)


def column_table(plan: JobPlan) -> Table:
    """Return each column: what the transforms give, and what the target holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("COLUMN", "AFTER THE TRANSFORMS", "IN THE TARGET"):
        table.add_column(heading, overflow="fold")
    in_target = dict(plan.target.columns)
    for column in columns_of(plan.schema):
        table.add_row(shown(column["name"]), shown(column["type"]), in_target.get(column["name"], "-"))
    return table
