"""Plans: what a job would do, found out without doing it."""

from fastapi import APIRouter, Request

from dataproc.domain.errors import SetupError
from serve_app.dependencies import Plans
from serve_app.description import problems
from serve_app.errors import NotReadyError
from serve_app.plan_schemas import PlanView
from serve_app.routes.jobs import SPEC_BODY, spec_of

router = APIRouter(prefix="/jobs", tags=["plans"])


@router.post("/plan", openapi_extra=SPEC_BODY, responses=problems(404, 413, 422, 503))
async def plan_job(request: Request, plans: Plans) -> PlanView:
    """Tell what a job would read, change and load, and what would fail it; nothing is changed."""
    spec = spec_of(await request.body())
    try:
        return PlanView.of(await plans.plan(spec))
    except SetupError as exc:
        # The caller can do nothing about a warehouse that is not set up.
        raise NotReadyError(str(exc)) from exc
