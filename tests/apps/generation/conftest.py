"""The studio, in frozen time within one transaction, or live with real commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from apps.core import clock as core_clock
from apps.generation import drain, waiting
from gpu_runtime.messages import ImageEngine
from tests.apps.generation.engines import MakePump, TestPump, hasten, terminate_backends
from tests.apps.generation.studio import Studio
from tests.cast import Cast, assemble_cast
from tests.factories import make_checkpoint


@pytest.fixture(scope="session", autouse=True)
def no_session_survives(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Ends what threads have left open, which would keep the test database from being dropped."""
    yield
    # The listening thread then waits for an hour before it connects again, and ends with the process.
    waiting.RECONNECT_S = 3600.0
    with django_db_blocker.unblock():
        terminate_backends()


@pytest.fixture
def studio(cast: Cast) -> Studio:
    """Frozen at noon; rolled back at the end."""
    return _studio(cast)


@pytest.fixture
def live(transactional_db: None) -> Iterator[Studio]:
    """Real time and real commits: what threads, listeners and pumps need."""
    yield _studio(assemble_cast(now=core_clock.now()))
    drain._flag.clear()
    connection.close()


def _studio(cast: Cast) -> Studio:
    return Studio(
        account=cast.account,
        key=cast.key,
        strangers_account=cast.strangers_account,
        strangers_key=cast.strangers_key,
        checkpoint=make_checkpoint(),
    )


@pytest.fixture
def make_pump(live: Studio, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePump]:
    """Pumps that are ended with the test."""
    hasten(monkeypatch)
    settings.RUNTIME = "fake"
    settings.HEARTBEAT_S = 0.05
    made: list[TestPump] = []

    def make(build: Callable[[], ImageEngine] | None = None, *, device: str = "cpu") -> TestPump:
        made.append(TestPump(build, device=device))
        return made[-1]

    yield make
    for pump in made:
        pump.end()
