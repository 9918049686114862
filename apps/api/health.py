"""Whether this process lives, and whether the appliance can serve. Neither needs credentials or is cached."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TypedDict

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.billing.prices.selectors import find_book
from apps.core import clock
from apps.generation.licensed import workers_beyond_licence
from apps.generation.selectors import fresh_workers

log = logging.getLogger(__name__)


class WorkerCheck(TypedDict):
    """The GPU worker with the latest sign of life, of those that the licence covers if there is one."""

    state: str
    device: str
    reason: str
    runtime: str


NO_WORKER: WorkerCheck = {"state": "absent", "device": "", "reason": "", "runtime": ""}


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """This process answers. Touches no database: a restart would not mend one that is down."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when a generation request would be accepted and worked on, else 503; the checks say why."""
    checks: dict[str, object] = {
        "database": "ok",
        "migrations": "unknown",
        "prices": "unknown",
        "gpu_worker": NO_WORKER,
    }
    is_ready = False
    try:
        has_schema = _has_all_migrations()
        checks["migrations"] = "ok" if has_schema else "pending"
        if has_schema:
            # A finding, and no reason to send everybody away: what plans include is served all the same.
            has_prices = find_book(clock.now()) is not None
            checks["prices"] = "ok" if has_prices else "missing: run manage.py bootstrap"
            worker = _worker_check()
            checks["gpu_worker"] = worker
            is_ready = worker["state"] == "ready"
    except DatabaseError:
        log.warning("the database does not answer", exc_info=True)
        checks["database"] = "unavailable"
    return JsonResponse(
        {"status": "ok" if is_ready else "unavailable", "checks": checks},
        status=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _has_all_migrations() -> bool:
    """Whether no migration is missing; reads the database, so it also proves that it answers."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _worker_check() -> WorkerCheck:
    now = clock.now()
    workers = list(fresh_workers(now=now).order_by("-heartbeat_at"))
    if not workers:
        return NO_WORKER
    beyond = workers_beyond_licence(now=now)
    worker = next((each for each in workers if each.name not in beyond), workers[0])
    if worker.name in beyond:
        return {
            "state": "unlicensed",
            "device": worker.device,
            "reason": beyond[worker.name],
            "runtime": worker.runtime,
        }
    return {
        "state": worker.state,
        "device": worker.device,
        "reason": worker.reason,
        "runtime": worker.runtime,
    }
