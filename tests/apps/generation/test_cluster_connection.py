"""The pusher of a GPU cluster looks into its queue twenty times a second, and does so on one connection."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from django_q.brokers.orm import ORM

from apps.generation.cluster import keep_connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Connections of this process end with their tasks again."""
    before = dict(connection.settings_dict)
    connection.close()
    yield
    connection.close()
    connection.settings_dict.update(before)


def backend_at_a_look() -> int:
    """The process of PostgreSQL that answers, after a look into the queue as django-q2's."""
    ORM(list_key="gpu:here/cpu").queue_size()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [backend] = cursor.fetchone()
    return int(backend)


def test_looks_share_a_connection() -> None:
    keep_connection()
    assert len({backend_at_a_look() for _ in range(3)}) == 1


def test_by_itself_each_look_has_a_connection_of_its_own() -> None:
    """The control: otherwise there were nothing to keep."""
    assert len({backend_at_a_look() for _ in range(3)}) == 3


def test_a_connection_that_died_is_replaced() -> None:
    keep_connection()
    first = backend_at_a_look()
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [first])

    assert backend_at_a_look() != first
