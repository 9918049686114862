from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_checkpoint


@pytest.fixture(autouse=True)
def at_once(settings: Any) -> None:
    """Requests answer without waiting, but where a test is about waiting."""
    settings.SYNC_WAIT_S = 0.0


@pytest.fixture
def checkpoint(cast: Cast) -> CatalogEntry:
    """A model named `tiny`, also known as `sdxl`."""
    return make_checkpoint("tiny", aliases=["sdxl"])


@pytest.fixture
def ada(cast: Cast, checkpoint: CatalogEntry) -> ApiClient:
    """A client that sends Ada's key."""
    return ApiClient(cast.key_text)


@pytest.fixture
def cleo(cast: Cast, checkpoint: CatalogEntry) -> ApiClient:
    """A client that sends the key of Cleo, a stranger."""
    return ApiClient(cast.strangers_key_text)


@pytest.fixture
def anybody(cast: Cast, checkpoint: CatalogEntry) -> ApiClient:
    """A client without a key."""
    return ApiClient(None)


@pytest.fixture(scope="session", autouse=True)
def watcher_lets_go(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The thread that listens for waiting requests lives as long as its process; its connection must not."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
