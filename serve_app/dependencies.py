"""What endpoints are given: services, and who calls."""

from typing import Annotated, cast

from fastapi import Depends, Request

from dataproc.bootstrap import Services
from dataproc.domain.identity import LOCAL, Caller
from dataproc.services.jobs import JobService
from dataproc.services.plan import PlanService
from dataproc.services.reconciliation import ReconciliationService
from dataproc.services.rejects import RejectService
from dataproc.services.sources import SourceService
from dataproc.services.waiting import WaitService


def services_of(request: Request) -> Services:
    """Return the services that the application was started with."""
    return cast("Services", request.app.state.services)


def jobs_of(request: Request) -> JobService:
    """Return the service of jobs."""
    return services_of(request).jobs


def waits_of(request: Request) -> WaitService:
    """Return the service that waits for jobs."""
    return services_of(request).waits


def sources_of(request: Request) -> SourceService:
    """Return the service of registered sources."""
    return services_of(request).sources


def reconciliation_of(request: Request) -> ReconciliationService:
    """Return the service that proves loads complete."""
    return services_of(request).reconciliation


def rejects_of(request: Request) -> RejectService:
    """Return the service of what was set aside."""
    return services_of(request).rejects


def plans_of(request: Request) -> PlanService:
    """Return the service that plans jobs."""
    return services_of(request).plans


def caller_of(_: Request) -> Caller:
    """Return who calls. The one seam for tokens and roles: until they exist, whoever reaches the API is `local`."""
    return LOCAL


Jobs = Annotated[JobService, Depends(jobs_of)]
Waits = Annotated[WaitService, Depends(waits_of)]
Reconciliations = Annotated[ReconciliationService, Depends(reconciliation_of)]
Rejections = Annotated[RejectService, Depends(rejects_of)]
Plans = Annotated[PlanService, Depends(plans_of)]
Sources = Annotated[SourceService, Depends(sources_of)]
By = Annotated[Caller, Depends(caller_of)]
