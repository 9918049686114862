"""Probes: no credentials, no caching, and a dead database is a 503."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from apps.core import clock as core_clock
from apps.generation.models import GpuWorker
from tests.apps.generation.paying import publish_prices
from tests.clocks import FrozenClock

ABSENT = {"state": "absent", "device": "", "reason": "", "runtime": ""}


def make_worker(state: str = "ready") -> GpuWorker:
    now = core_clock.now()
    return GpuWorker.objects.create(
        name="host/cpu",
        host="host",
        pid=1,
        state=state,
        runtime="torch",
        device="cpu",
        reason="no GPU found",
        started_at=now,
        heartbeat_at=now,
    )


@pytest.fixture
def priced(db: None, clock: FrozenClock) -> None:
    """An installation whose `bootstrap` has run."""
    publish_prices()


def test_healthz_needs_no_database() -> None:
    # No `db` fixture: touching the database would raise.
    response = Client().get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


def test_ready(priced: None, clock: FrozenClock) -> None:
    make_worker()

    response = Client().get("/readyz")

    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert response.json() == {
        "status": "ok",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "prices": "ok",
            "gpu_worker": {"state": "ready", "device": "cpu", "reason": "no GPU found", "runtime": "torch"},
        },
    }


@pytest.mark.parametrize(("state", "silent_s"), [("stopped", 0), ("draining", 0), ("ready", 60)])
def test_without_a_live_worker(priced: None, clock: FrozenClock, state: str, silent_s: int) -> None:
    make_worker(state)
    clock.advance(seconds=silent_s)

    response = Client().get("/readyz")

    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "checks": {"database": "ok", "migrations": "ok", "prices": "ok", "gpu_worker": ABSENT},
    }


def test_pending_migrations(db: None, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    make_worker()
    monkeypatch.setattr("apps.api.health.MigrationExecutor.migration_plan", lambda *_: ["one"])

    response = Client().get("/readyz")

    assert response.status_code == 503
    assert response.json()["checks"]["migrations"] == "pending"


def test_database_that_does_not_answer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OperationalError("password=hunter2")

    monkeypatch.setattr("apps.api.health.MigrationExecutor", broken)

    response = Client(raise_request_exception=False).get("/readyz")

    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "checks": {
            "database": "unavailable",
            "migrations": "unknown",
            "prices": "unknown",
            "gpu_worker": ABSENT,
        },
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reading(path: str) -> None:
    assert Client().post(path).status_code == 405
