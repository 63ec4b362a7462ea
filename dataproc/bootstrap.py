"""Puts the pieces together: the only module that knows them all."""

import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from uuid import uuid4

import httpx2
from pydantic import SecretStr

from dataproc.cluster.ray_jobs import RayJobs, dashboard_client
from dataproc.domain.errors import SetupError
from dataproc.domain.job import Claim
from dataproc.domain.spec import JobSpec
from dataproc.notifications.log import EventLog
from dataproc.notifications.webhook import Webhook, demand_url, webhook_client
from dataproc.ports.cipher import Cipher
from dataproc.ports.events import Receiver
from dataproc.ports.pipeline import Engine, Source, Transform
from dataproc.ports.queue import DISPATCH, RunningLimits
from dataproc.ports.secrets import Secrets
from dataproc.ports.store import Connection, Store
from dataproc.ports.throttle import UNLIMITED, Throttle
from dataproc.repositories.migrate import migrate, revisions
from dataproc.repositories.store import PostgresStore
from dataproc.security.ciphers import DataKeyCipher
from dataproc.security.secrets import AwsSecrets, EnvironmentSecrets, FileSecrets
from dataproc.services.attendance import Rhythm
from dataproc.services.deliver import Deliverer
from dataproc.services.dispatch import Dispatcher, Fleet
from dataproc.services.duties import Duty
from dataproc.services.jobs import JobService
from dataproc.services.limits import Limit, NoRowsLimit, limits_of
from dataproc.services.pipeline import Pipeline
from dataproc.services.plan import Planner, PlanService
from dataproc.services.reconcile import Janitor, Reaper
from dataproc.services.reconciliation import ReconciliationService
from dataproc.services.rejects import RejectService
from dataproc.services.runs import RunService
from dataproc.services.sources import SourceService
from dataproc.services.waiting import WaitService
from dataproc.settings import Settings
from dataproc.sources.factory import Surroundings, connector_for, source_for
from dataproc.sources.files.run import SourceRun
from dataproc.sources.lookups import SourceLookups
from dataproc.telemetry.journal import RunJournal
from dataproc.telemetry.logs import configure_logs
from dataproc.transforms.declared import source_columns
from dataproc.transforms.enrich_cache import CachedLookups
from dataproc.transforms.factory import Surroundings as TransformSurroundings
from dataproc.transforms.factory import transform_for
from dataproc.transforms.origins import contract_at_source
from dataproc.warehouse.reject_table import WarehouseRejects
from dataproc.warehouse.throttle import WarehouseThrottle
from dataproc.warehouse.warehouse import PostgresWarehouse


@dataclass(frozen=True, slots=True)
class Services:
    """What the doors of the control plane need; `store` is closed at the end."""

    jobs: JobService
    waits: WaitService
    sources: SourceService
    reconciliation: ReconciliationService
    rejects: RejectService
    plans: PlanService
    store: Store

    async def check(self) -> str:
        """Return what the metadata database says of itself; refuse one whose schema is older than this program."""
        told = await self.store.check()
        if told.rpartition(" ")[2] in older_schemas():
            raise SetupError(f"the metadata database ({told}) is not up to date; run `python -m jobs.migrate`")
        return told


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a runner needs."""

    runs: RunService
    reaper: Reaper
    jobs: JobService
    store: Store


@dataclass(frozen=True, slots=True)
class Desk:
    """What the dispatcher needs."""

    store: Store
    duties: tuple[Duty, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """The schemas of both databases after a migration."""

    metadata: str
    warehouse: int


def open_store(settings: Settings) -> PostgresStore:
    """Return the metadata database of the settings."""
    return PostgresStore.open(required(settings.metadata_url, "DATAPROC_METADATA_URL"), settings)


def open_warehouse(settings: Settings) -> PostgresWarehouse:
    """Return the warehouse of the settings."""
    return PostgresWarehouse(required(settings.warehouse_url, "DATAPROC_WAREHOUSE_URL"), settings.direct_limit)


def open_services(settings: Settings) -> Services:
    """Return the services of the HTTP API."""
    configure_logs(settings.log_level)
    return services_of(open_store(settings), settings)


def services_of(store: Store, settings: Settings) -> Services:
    """Return the services of the HTTP API on this store; the warehouse is only asked for what is in it."""
    reconciliation = ReconciliationService(store, lambda: open_warehouse(settings))
    sources = SourceService(store, lambda connection: connector_for(surroundings(settings, connection)))
    jobs = JobService(store, uuid4)
    plans = PlanService(lambda spec: open_planner(spec, settings), settings.plan_timeout)
    rejects = RejectService(jobs, lambda: open_rejects(settings))
    return Services(jobs, WaitService(store), sources, reconciliation, rejects, plans, store)


def open_workshop(settings: Settings, engine: Engine) -> Workshop:
    """Return the services of a runner that works with `engine`."""
    configure_logs(settings.log_level)
    store, warehouse = open_store(settings), open_warehouse(settings)

    async def pipeline_for(claim: Claim) -> Pipeline:
        known = await connections_of(store, claim.spec)
        source = open_source(claim.spec, known.get(claim.spec.connection or ""), settings, run_of(claim))
        transforms = open_transforms(claim.spec, known, settings)
        limits: tuple[Limit, ...] = (*limits_of(claim.spec), await no_rows_limit(store, claim))
        hiding = warehouse.hiding(open_cipher(settings), personal=claim.spec.source.personal)
        return Pipeline(source, transforms, claim.spec.destination, limits, engine, hiding)

    journal = RunJournal()
    journal.listen()
    rhythm = Rhythm(settings.lease, settings.heartbeat)
    runs = RunService(store, warehouse, pipeline_for, rhythm, time.monotonic, random.random, journal)
    return Workshop(runs, Reaper(store, warehouse, random.random), JobService(store, uuid4), store)


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Give the duties of a dispatcher: to dispatch, to reap, to sweep, and to deliver."""
    configure_logs(settings.log_level)
    store, warehouse = open_store(settings), open_warehouse(settings)
    fleet = Fleet(settings.slots_per_runner, settings.max_runners)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        client = await stack.enter_async_context(dashboard_client(settings.ray_dashboard_url, settings.ray_token))
        receiver = receiver_of(settings, await stack.enter_async_context(webhook_client()))
        dispatcher = Dispatcher(store, RayJobs(client), fleet, running_limits(settings), uuid4)
        duties = (
            Duty(DISPATCH, dispatcher.dispatch, timedelta(seconds=1)),
            Duty("reap", Reaper(store, warehouse, random.random).reap, timedelta(seconds=1)),
            Duty("sweep", Janitor(store, warehouse).sweep, timedelta(seconds=2)),
            Duty("deliver", Deliverer(store, receiver, random.random).deliver, timedelta(milliseconds=500)),
        )
        yield Desk(store, duties)


def receiver_of(settings: Settings, client: httpx2.AsyncClient) -> Receiver:
    """Return who is told of events."""
    url = settings.events_url
    return EventLog() if url is None else Webhook(client, demand_url(url.get_secret_value()))


def running_limits(settings: Settings) -> RunningLimits:
    """Return how many jobs may run at once."""
    each = (settings.max_running_per_owner, settings.max_running_per_source, settings.max_running_per_target)
    return RunningLimits(settings.max_running, *each)


async def no_rows_limit(store: Store, claim: Claim) -> NoRowsLimit:
    """Return the limit of a job for runs in which no row reaches its target."""
    # Nothing new is what a job that reads only what is new finds most of the time.
    if claim.spec.no_rows == "allow" or (claim.spec.reads_what_is_new and claim.spec.no_rows == "warn"):
        return NoRowsLimit("allow", None)
    async with store.begin() as tables:
        return NoRowsLimit(claim.spec.no_rows, await tables.runs.usual_rows(claim.job_id))


async def open_planner(spec: JobSpec, settings: Settings) -> Planner:
    """Return what plans this job; a job that names a connection needs the metadata database as well."""
    known: Mapping[str, Connection] = {}
    if spec.connections:
        store = open_store(settings)
        try:
            known = await connections_of(store, spec)
        finally:
            await store.close()
    source = open_source(spec, known.get(spec.connection or ""), settings)
    transforms = open_transforms(spec, known, settings)
    warehouse = open_warehouse(settings).hiding(open_cipher(settings), personal=spec.source.personal)
    memory = warehouse.memory(spec.name, spec.destination.table, by_key=spec.destination.is_by_key)
    return Planner(source, transforms, spec.destination, warehouse, memory)


def migrate_all(settings: Settings) -> Versions:
    """Bring both databases to the newest schema; safe to run twice at once, and again."""
    metadata_url = required(settings.metadata_url, "DATAPROC_METADATA_URL")
    warehouse = open_warehouse(settings)
    return Versions(migrate(metadata_url), warehouse.prepare())


@cache
def older_schemas() -> frozenset[str]:
    """Return the revisions that are too old for this program; a newer one is not, for old code runs on new schemas."""
    return frozenset({"missing", *revisions()[:-1]})


def open_source(
    spec: JobSpec, connection: Connection | None, settings: Settings, run: SourceRun | None = None
) -> Source:
    """Return the source of a job, ready to plan and read."""
    columns, contract = source_columns(spec.transforms), contract_at_source(spec)
    around = replace(surroundings(settings, connection), columns=columns, run=run, contract=contract)
    return source_for(spec.source, around)


def open_transforms(spec: JobSpec, known: Mapping[str, Connection], settings: Settings) -> tuple[Transform, ...]:
    """Return the transforms of a job; its lookups are read as sources are."""
    url = settings.warehouse_url.get_secret_value() if settings.warehouse_url else None
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    lookups = SourceLookups(surroundings(settings, None), url, known)
    cached = CachedLookups(lookups, repr((url, settings.files_root, known)), redis_url)
    around = TransformSurroundings(open_secrets(settings), open_cipher(settings), settings.python_modules, cached)
    return tuple(transform_for(each, around) for each in spec.transforms)


def run_of(claim: Claim) -> SourceRun:
    """Return the run for which a source is read."""
    return SourceRun(claim.job_id, claim.run_id, claim.attempt, claim.created_at)


def surroundings(settings: Settings, connection: Connection | None) -> Surroundings:
    """Return what sources are given besides their specification."""
    return Surroundings(
        open_secrets(settings), connection, settings.files_root, python_modules=settings.python_modules, isolated=True,
        throttle=throttle_of(settings), rejected=None if settings.warehouse_url is None else open_rejects(settings),
    )  # fmt: skip


def open_cipher(settings: Settings) -> Cipher:
    """Return what encrypts and decrypts with the keys of this installation."""
    return DataKeyCipher(settings.encryption_keys, open_secrets(settings))


def open_rejects(settings: Settings) -> WarehouseRejects:
    """Return what was set aside of published loads."""
    return WarehouseRejects(required(settings.warehouse_url, "DATAPROC_WAREHOUSE_URL"), open_cipher(settings))


def throttle_of(settings: Settings) -> Throttle:
    """Return the rates that all workers share, which are in the warehouse; without one there are none."""
    url = settings.warehouse_url
    return UNLIMITED if url is None else WarehouseThrottle(url.get_secret_value())


def open_secrets(settings: Settings) -> Secrets:
    """Return the place that keeps the secrets of sources."""
    match settings.secrets:
        case "environment":
            return EnvironmentSecrets()
        case "files" if settings.secrets_dir is not None:
            return FileSecrets(settings.secrets_dir)
        case "files":
            raise SetupError("DATAPROC_SECRETS_DIR is not set: name the folder of the secrets", setting="secrets_dir")
        case "aws":
            return AwsSecrets()


async def connections_of(store: Store, spec: JobSpec) -> Mapping[str, Connection]:
    """Return the registered sources that a job names, by their names."""
    if not spec.connections:
        return {}
    async with store.begin() as tables:
        return {name: await tables.connections.get(name) for name in spec.connections}


def required(url: SecretStr | None, name: str) -> str:
    """Return a URL that must be set here."""
    if url is None:
        raise SetupError(
            f"{name} is not set: write postgresql://user@host/database, or start the embedded server by `dataproc up`",
            setting=name,
        )
    return url.get_secret_value()
